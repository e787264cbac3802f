package project

import (
	"slices"
	"strings"
)

// workflow checks a workflow's syntax. Nothing of it is kept: workflows are not honoured yet.
func (d *decoder) workflow(v value) {
	for _, stage := range d.known(d.fields(v), "plan", "apply", "policy_check", "import", "state_rm") {
		for _, f := range d.known(d.fields(stage.value), "steps") {
			for _, s := range d.list(f.value) {
				d.step(s)
			}
		}
	}
}

func builtinSteps() []string {
	return []string{"init", "plan", "apply", "show", "policy_check", "import", "state_rm"}
}

// step checks one step: a word, or a mapping with one key.
func (d *decoder) step(v value) {
	own := []string{"run", "env", "multienv"}
	if v.isNull() {
		d.problem(v, "is empty")
		return
	}
	if n := follow(v.node); len(n.Content) == 0 && n.Value != "" {
		d.oneOf(v, append(builtinSteps(), own[1:]...)...)
		return
	}
	n := len(d.problems)
	fields := d.fields(v)
	switch {
	case len(d.problems) > n:
		return
	case len(fields) != 1:
		var names []string
		for _, f := range fields {
			names = append(names, code(f.name))
		}
		d.problem(v, "a step has one key, and this has %d: %s", len(fields), strings.Join(names, ", "))
		return
	}
	f := fields[0]
	switch {
	case f.name == "run":
		d.command(f, "command", "output", "shell", "shellArgs")
	case f.name == "multienv":
		d.command(f, "command", "output", "shell", "shellArgs")
	case f.name == "env":
		d.env(f.value)
	case slices.Contains(builtinSteps(), f.name):
		for _, a := range d.known(d.fields(f.value), "extra_args") {
			d.texts(a.value)
		}
	default:
		d.problem(f.key, "unknown step%s", didYouMean(f.name, append(builtinSteps(), own...)))
	}
}

// command checks "run: text" and "run: {command: text ...}".
func (d *decoder) command(f field, names ...string) {
	if f.isNull() {
		d.problem(f.key, "has no command")
		return
	}
	if n := follow(f.node); len(n.Content) == 0 && n.Value != "" {
		return
	}
	n := len(d.problems)
	has := map[string]field{}
	for _, a := range d.known(d.fields(f.value), names...) {
		has[a.name] = a
		switch a.name {
		case "command", "shell":
			d.text(a.value)
		case "shellArgs":
			d.shellArgs(a.value)
		case "output":
			d.output(f.name, a.value)
		}
	}
	if _, ok := has["command"]; !ok && len(d.problems) == n {
		d.problem(f.value, "has no `command`")
	}
	d.shell(has)
}

// env checks a step that sets a variable to a value or to what a command prints.
func (d *decoder) env(v value) {
	n := len(d.problems)
	has := map[string]field{}
	for _, a := range d.known(d.fields(v), "name", "value", "command", "shell", "shellArgs") {
		has[a.name] = a
		if a.name == "shellArgs" {
			d.shellArgs(a.value)
			continue
		}
		d.text(a.value)
	}
	if len(d.problems) > n {
		return
	}
	_, name := has["name"]
	_, val := has["value"]
	_, cmd := has["command"]
	if !name {
		d.problem(v, "has no `name`")
	}
	if val == cmd {
		d.problem(v, "needs `value` or `command`, and not both")
	}
	d.shell(has)
}

func (d *decoder) shell(has map[string]field) {
	_, cmd := has["command"]
	shell, sh := has["shell"]
	args, ar := has["shellArgs"]
	if sh && !cmd {
		d.problem(shell.key, "goes with `command` only")
	}
	if ar && !sh {
		d.problem(args.key, "goes with `shell` only")
	}
}

// shellArgs is a text or a list of texts.
func (d *decoder) shellArgs(v value) {
	if len(follow(v.node).Content) > 0 {
		d.texts(v)
		return
	}
	d.text(v)
}

// output says what of a command's output is shown: a word, or a list of words and filters.
func (d *decoder) output(step string, v value) {
	words := []string{"show", "hide", "strip_refreshing"}
	if step == "multienv" {
		words = words[:2]
	}
	if step == "multienv" || len(follow(v.node).Content) == 0 {
		d.oneOf(v, words...)
		return
	}
	for _, el := range d.list(v) {
		if len(follow(el.node).Content) == 0 {
			d.oneOf(el, words...)
			continue
		}
		for _, f := range d.known(d.fields(el), "filter_regex") {
			if s, ok := d.text(f.value); ok {
				d.regexp(f.value, s)
			}
		}
	}
}
