package project

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/bmatcuk/doublestar/v4"
	version "github.com/hashicorp/go-version"
	"github.com/moby/patternmatcher"
)

const (
	// mostProjects is how many projects a repository can have, patterns expanded.
	mostProjects = 10_000
	// mostPattern is how long a pattern or regular expression may be, in bytes: what it compiles to is a
	// multiple of that.
	mostPattern = 1_000
	// mostAlternatives is how many patterns without braces a pattern can stand for: each may be tried.
	mostAlternatives = 1_000
)

// project reads one element of "projects".
func (d *decoder) project(item value) {
	if item.isNull() {
		d.problem(item, "is empty")
		return
	}
	n := len(d.problems)
	fields := d.fields(item)
	if len(fields) == 0 && len(d.problems) > n {
		return
	}
	fields = d.known(fields,
		"name", "dir", "branch", "workspace", "workflow", "terraform_distribution", "terraform_version", "autoplan",
		"plan_requirements", "apply_requirements", "import_requirements", "depends_on", "execution_order_group",
		"delete_source_branch_on_merge", "repo_locking", "repo_locks", "policy_check", "custom_policy_check",
		"silence_pr_comments")
	e := entry{item: item, Project: Project{Workspace: DefaultWorkspace, Autoplan: true, Configured: true, Line: item.line()}}
	var dir value
	for _, f := range fields {
		switch f.name {
		case "dir":
			dir = f.value
			e.Dir = d.dir(f.value)
		case "name":
			e.name = f.value
			e.Name = d.name(f.value)
		case "workspace":
			e.Workspace = d.workspace(f.value)
		case "autoplan":
			d.autoplan(f.value, &e.Project)
		case "terraform_distribution":
			e.Distribution, _ = d.oneOf(f.value, "terraform", "opentofu")
		case "terraform_version":
			e.TerraformVersion = d.version(f.value)
		case "apply_requirements":
			e.ApplyRequirements = d.requirements(f, &e.Project)
		case "delete_source_branch_on_merge":
			e.DeleteBranch = d.choice(f.value)
		default:
			if !d.plainProject(f) {
				e.Unsupported = append(e.Unsupported, notYet(f))
			}
		}
	}
	if dir.node == nil {
		d.problem(item, "has no `dir`")
		return
	}
	d.add(e, dir)
}

// add keeps a project, or what a pattern in its place stands for.
func (d *decoder) add(e entry, dir value) {
	d.found = append(d.found, e)
	expanded := []Project{e.Project}
	if strings.ContainsAny(e.Dir, "*?[") {
		if e.name.node != nil {
			d.problem(e.name, "a name is for one project, and %s is a pattern", code(e.Dir))
		}
		e.Unsupported = append(e.Unsupported, fmt.Sprintf("a pattern in `dir` (line %d) is not supported yet", dir.line()))
		expanded = expanded[:0]
		for _, match := range d.ix.projectDirs() {
			if ok, err := doublestar.Match(e.Dir, match); err == nil && ok {
				p := e.Project
				p.Dir = match
				expanded = append(expanded, p)
			}
		}
	}
	if len(expanded) == 0 {
		d.cfg.Unsupported = append(d.cfg.Unsupported, e.Unsupported...)
	}
	if len(d.cfg.Projects)+len(expanded) > mostProjects {
		if len(d.cfg.Projects) <= mostProjects {
			d.problem(e.item, "there are more than %d projects", mostProjects)
		}
		return
	}
	d.cfg.Projects = append(d.cfg.Projects, expanded...)
}

// plainProject checks a key of a project that is not honoured, and reports whether nothing needs to be
// done to honour it.
func (d *decoder) plainProject(f field) bool {
	switch f.name {
	case "branch":
		d.branch(f.value)
		return false
	case "workflow":
		name, ok := d.text(f.value)
		return !ok || name == "default"
	case "plan_requirements":
		return len(d.requirementWords(f.value)) == 0
	case "import_requirements": // nothing is imported here
		d.requirementWords(f.value)
		return true
	case "depends_on":
		return len(d.texts(f.value)) == 0
	case "execution_order_group":
		n, ok := d.integer(f.value)
		return !ok || n == 0
	case "repo_locking":
		on, ok := d.boolean(f.value)
		return !ok || on
	case "repo_locks":
		return d.repoLocks(f.value)
	case "silence_pr_comments":
		return d.silence(f.value)
	default: // policy_check, custom_policy_check
		on, ok := d.boolean(f.value)
		return !ok || !on
	}
}

// dir answers a cleaned directory or pattern, "" after a problem.
func (d *decoder) dir(v value) string {
	s, ok := d.text(v)
	if !ok {
		return ""
	}
	dir := path.Clean(strings.TrimLeft(s, "/"))
	switch {
	case s == "":
		d.problem(v, "is empty. The repository's root is `.`")
	case strings.ContainsFunc(s, isUnprintable):
		d.problem(v, "%s has control characters", code(s))
	case dir == ".." || strings.HasPrefix(dir, "../"):
		d.problem(v, "%s leaves the repository", code(s))
	case slices.Contains(strings.Split(s, "/"), ".."):
		d.problem(v, "%s has `..` in it. Write %s", code(s), code(dir))
	case strings.ContainsAny(s, "*?[") && (!doublestar.ValidatePattern(s) || len(s) > mostPattern):
		d.problem(v, "%s is not a pattern", code(s))
	case alternativesOf(s) > mostAlternatives:
		d.problem(v, "%s stands for more than %d patterns", code(s), mostAlternatives)
	default:
		return dir
	}
	return ""
}

// alternativesOf answers for how many patterns without braces a pattern stands, or more; not far beyond
// mostAlternatives.
func alternativesOf(s string) int {
	product, commas := 1, []int(nil)
	for i := 0; i < len(s) && product <= mostAlternatives; i++ {
		switch last := len(commas) - 1; {
		case s[i] == '\\':
			i++
		case s[i] == '{':
			commas = append(commas, 0)
		case s[i] == ',' && last >= 0:
			commas[last]++
		case s[i] == '}' && last >= 0:
			product *= commas[last] + 1
			commas = commas[:last]
		}
	}
	return product
}

// name: by Atlantis's rule what needs no escaping in a URL, and slashes.
func (d *decoder) name(v value) string {
	s, ok := d.text(v)
	switch {
	case !ok:
	case s == "":
		d.problem(v, "is empty")
	case url.QueryEscape(strings.ReplaceAll(s, "/", "")) != strings.ReplaceAll(s, "/", ""):
		d.problem(v, "%s has something else than letters, digits and `-_.~/` in it", code(s))
	default:
		return s
	}
	return ""
}

func (d *decoder) workspace(v value) string {
	s, ok := d.text(v)
	if !ok {
		return DefaultWorkspace
	}
	if !validWorkspace(s) {
		d.problem(v, "%s is not a workspace: one word without `/`, `\\`, `..`, `$`, and no `-` or `~` in front", code(s))
		return DefaultWorkspace
	}
	return s
}

func validWorkspace(s string) bool {
	return s != "" && s != "." && s[0] != '-' && s[0] != '~' && !strings.Contains(s, "..") &&
		!strings.ContainsAny(s, `/\$`) && !strings.ContainsFunc(s, isUnprintable) && !strings.ContainsFunc(s, unicode.IsSpace)
}

func (d *decoder) autoplan(v value, p *Project) {
	for _, f := range d.known(d.fields(v), "enabled", "when_modified") {
		switch f.name {
		case "enabled":
			if on, ok := d.boolean(f.value); ok {
				p.Autoplan = on
			}
		case "when_modified":
			p.WhenModified = []string{}
			for _, el := range d.list(f.value) {
				if s, ok := d.text(el); ok && d.pattern(el, s) {
					p.WhenModified = append(p.WhenModified, s)
				}
			}
		}
	}
}

// pattern checks one element of when_modified.
func (d *decoder) pattern(v value, s string) bool {
	if len(s) > mostPattern {
		d.problem(v, "is longer than %d bytes", mostPattern)
		return false
	}
	if strings.ContainsFunc(s, isUnprintable) {
		d.problem(v, "%s has control characters", code(s))
		return false
	}
	if s = strings.TrimSpace(s); s == "" {
		d.problem(v, "is empty")
		return false
	}
	_, err := patternmatcher.MatchesOrParentMatches("a", []string{s})
	if err != nil {
		d.problem(v, "%s is not a pattern", code(s))
		return false
	}
	if strings.Contains(s, "{") {
		d.cfg.Notes = append(d.cfg.Notes, fmt.Sprintf("%s (line %d): braces stand for themselves in these patterns; write one pattern for each", code(s), v.line()))
	}
	return true
}

// version: an exact one, as it is written in full.
func (d *decoder) version(v value) string {
	s, ok := d.text(v)
	if !ok {
		return ""
	}
	got, err := version.NewVersion(strings.TrimSpace(s))
	if err != nil || got.Metadata() != "" || len(s) > 50 {
		d.problem(v, "%s is not an exact version like `1.11.4`", code(s))
		return ""
	}
	return got.String()
}

// requirements reads apply_requirements. An empty list would take away what the server requires, and that
// is not for a pull request to decide.
func (d *decoder) requirements(f field, p *Project) []string {
	n := len(d.problems)
	words := d.requirementWords(f.value)
	if len(words) == 0 && len(d.problems) == n {
		p.Unsupported = append(p.Unsupported, fmt.Sprintf("an empty %s (line %d) is not supported yet", code(f.name), f.key.line()))
	}
	return words
}

func (d *decoder) requirementWords(v value) []string {
	var out []string
	for _, el := range d.list(v) {
		if s, ok := d.oneOf(el, Requirements()...); ok && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (d *decoder) branch(v value) {
	s, ok := d.text(v)
	if !ok {
		return
	}
	if len(s) < 2 || s[0] != '/' || s[len(s)-1] != '/' {
		d.problem(v, "%s has to be a regular expression between slashes, like `/main/`", code(s))
		return
	}
	d.regexp(v, s[1:len(s)-1])
}

func (d *decoder) regexp(v value, s string) {
	if len(s) > mostPattern {
		d.problem(v, "is longer than %d bytes", mostPattern)
		return
	}
	if _, err := regexp.Compile(s); err != nil {
		d.problem(v, "%s is not a regular expression", code(s))
	}
}

// unambiguous checks that every project can be told from every other one.
func (d *decoder) unambiguous() {
	names, places := map[string]int{}, map[string]entry{}
	for _, e := range d.found {
		if e.Name != "" {
			if first, twice := names[e.Name]; twice {
				d.problem(e.name, "%s is already the name of the project in line %d", code(e.Name), first)
			} else {
				names[e.Name] = e.Line
			}
		}
		if e.Dir == "" {
			continue // has a problem of its own
		}
		place := e.Dir + "\x00" + e.Workspace
		first, twice := places[place]
		switch {
		case !twice:
			places[place] = e
		case e.name.node == nil:
			d.problem(e.item, "has the directory and workspace of the project in line %d. Give each a `name`", first.Line)
		case first.name.node == nil:
			d.problem(first.item, "has the directory and workspace of the project in line %d. Give each a `name`", e.Line)
			places[place] = e
		}
	}
}
