package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

// The files that configure a repository, the first one that is there.
const (
	ownFile      = "tidegate.yaml"
	atlantisFile = "atlantis.yaml"
)

// Load reads a repository's configuration: tidegate.yaml, else atlantis.yaml, else nothing. Mistakes in it
// are a [*ProblemsError] that has all of them.
//
// The whole repository format of Atlantis, versions 2 and 3, is checked. Keys that are known and not
// honoured yet are accepted where honouring them comes to what is done anyway (parallel_plan: true, repo_locks in mode on_plan, workflow: default ...), or where they say nothing to
// this server (emoji_reaction, allowed_regexp_prefixes, import_requirements). Anything else that is asked
// for stands in Unsupported, of the project or, for keys at the top level, of the whole configuration,
// because each of those keys would change how every project runs.
func Load(ctx context.Context, t Tree) (Config, error) {
	name, note, err := configFile(t)
	if err != nil || name == "" {
		return Config{}, err
	}
	content, err := t.ReadFile(ctx, name)
	if err != nil {
		if ctx.Err() == nil && (t.Link(name) || errors.Is(err, fs.ErrNotExist)) {
			return Config{}, &ProblemsError{File: name, Problems: []Problem{{File: name, Text: "is not a file of this repository"}}}
		}
		return Config{}, fmt.Errorf("reading %s: %w", name, err)
	}
	c, err := parse(newIndex(t), name, content)
	if err != nil {
		return Config{}, err
	}
	if note != "" {
		c.Notes = append(c.Notes, note)
	}
	return c, nil
}

// configFile answers which file is read, "" for none.
func configFile(t Tree) (name, note string, err error) {
	has := func(name string) bool {
		_, ok := t.Hash(name)
		return ok
	}
	misnamed := func(name, right string) error {
		return &ProblemsError{File: name, Problems: []Problem{{File: name, Text: "is not read. Rename it to " + code(right)}}}
	}
	switch {
	case has("tidegate.yml"):
		return "", "", misnamed("tidegate.yml", ownFile)
	case has(ownFile) && has(atlantisFile):
		return ownFile, code(atlantisFile) + " is not read, because there is a " + code(ownFile), nil
	case has(ownFile):
		return ownFile, "", nil
	case has("atlantis.yml"):
		return "", "", misnamed("atlantis.yml", atlantisFile)
	case has(atlantisFile):
		return atlantisFile, "", nil
	default:
		return "", "", nil
	}
}

// parse reads a configuration.
func parse(ix *index, name string, content []byte) (Config, error) {
	d := decoder{reader: reader{file: name}, ix: ix, cfg: Config{Path: name}}
	root := d.parse(content)
	if len(d.problems) == 0 {
		d.config(value{node: root})
		d.unambiguous()
	}
	if err := d.err(); err != nil {
		return Config{}, err
	}
	return d.cfg, nil
}

// decoder makes a Config of a document.
type decoder struct {
	reader
	ix  *index
	cfg Config
	// found are the projects with where they stand, before patterns are expanded.
	found []entry
}

// entry is a project as it stands in the file.
type entry struct {
	Project
	item value
	name value
}

func (d *decoder) config(root value) {
	fields := d.known(d.fields(root),
		"version", "projects", "workflows", "policies", "automerge", "parallel_plan", "parallel_apply",
		"delete_source_branch_on_merge", "autodiscover", "repo_locks", "emoji_reaction",
		"allowed_regexp_prefixes", "abort_on_execution_order_fail", "silence_pr_comments")
	hasVersion := false
	for _, f := range fields {
		switch f.name {
		case "version":
			hasVersion = true
			if n, ok := d.integer(f.value); ok && n != 2 && n != 3 {
				d.problem(f.value, "%d is not a version of this format. Write `version: 3`", n)
			}
		case "projects":
			for _, item := range d.list(f.value) {
				d.project(item)
			}
		case "automerge":
			d.cfg.Automerge = d.choice(f.value)
		case "delete_source_branch_on_merge":
			d.cfg.DeleteBranch = d.choice(f.value)
		default:
			if !d.plain(f) {
				d.cfg.Unsupported = append(d.cfg.Unsupported, notYet(f))
			}
		}
	}
	if n := root.node; !hasVersion && (n == nil || follow(n).Kind == yaml.MappingNode || root.isNull()) {
		d.problems = append(d.problems, Problem{File: d.file, Line: 1, Column: 1, Key: "version", Text: "is missing. Write `version: 3`"})
	}
	for _, f := range fields {
		if f.name == "autodiscover" && !d.autodiscover(f.value) {
			d.cfg.Unsupported = append(d.cfg.Unsupported, notYet(f))
		}
	}
}

// plain checks a key of the top level that is not honoured, and reports whether nothing needs to be done
// to honour it.
func (d *decoder) plain(f field) bool {
	switch f.name {
	case "abort_on_execution_order_fail":
		on, ok := d.boolean(f.value)
		return !on || !ok
	case "parallel_plan", "parallel_apply":
		on, ok := d.boolean(f.value)
		return on || !ok
	case "repo_locks":
		return d.repoLocks(f.value)
	case "silence_pr_comments":
		return d.silence(f.value)
	case "emoji_reaction":
		d.text(f.value)
		return true
	case "allowed_regexp_prefixes":
		d.texts(f.value)
		return true
	case "workflows":
		for _, w := range d.fields(f.value) {
			d.workflow(w.value)
		}
		return f.empty()
	case "autodiscover":
		return true // looked at when the projects are known
	default: // policies: whatever is in it, it is not for the repository to say
		return f.empty()
	}
}

// autodiscover: without a mode, or with "auto", projects are looked for exactly if none is configured.
// With configured ones that is the same as "disabled".
func (d *decoder) autodiscover(v value) bool {
	same := true
	for _, f := range d.known(d.fields(v), "mode", "ignore_paths") {
		switch f.name {
		case "mode":
			mode, ok := d.oneOf(f.value, "auto", "enabled", "disabled")
			if ok && mode != "auto" && (mode != "disabled" || len(d.found) == 0) {
				same = false
			}
		case "ignore_paths":
			if paths := d.texts(f.value); len(paths) > 0 {
				same = false
			}
		}
	}
	return same
}

// choice answers yes or no, nil after a problem.
func (d *decoder) choice(v value) *bool {
	if on, ok := d.boolean(v); ok {
		return &on
	}
	return nil
}

func (d *decoder) repoLocks(v value) bool {
	same := true
	for _, f := range d.known(d.fields(v), "mode") {
		mode, ok := d.oneOf(f.value, "disabled", "on_plan", "on_apply")
		same = !ok || mode == "on_plan"
	}
	return same
}

func (d *decoder) silence(v value) bool {
	some := false
	for _, el := range d.list(v) {
		_, ok := d.oneOf(el, "plan", "apply")
		some = some || ok
	}
	return !some
}

func notYet(f field) string {
	return fmt.Sprintf("%s (line %d) is not supported yet", code(f.name), f.key.line())
}
