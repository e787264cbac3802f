// Package command reads what a comment on a pull request asks for.
//
// It is a pure function of the text: it knows no forge, no project and no user, and it answers in one of
// three ways. A comment is a command, or a wrong command that deserves an answer, or talk, which is none
// of our business. Because people write "plan looks good" under pull requests, and an apply can't be
// taken back, a comment is a command only if every line of it that is not empty is one; quotes, lists,
// fenced and indented code never are.
//
// Start with [Parse]. [Hint] writes what Parse reads.
package command

import (
	"strings"
	"unicode/utf8"
)

// Name is a command's word.
type Name string

// The commands.
const (
	NamePlan   Name = "plan"
	NameApply  Name = "apply"
	NameUnlock Name = "unlock"
	NameCancel Name = "cancel"
	NameHelp   Name = "help"
	// NameForceUnlock and NameStatePush are terraform's own words for what they do.
	NameForceUnlock Name = "force-unlock"
	NameStatePush   Name = "state push"
)

// mostText is the longest comment, in bytes, that is looked at.
const mostText = 8 << 10

// Command is what a comment asks for.
type Command struct {
	Name Name
	// Dir is cleaned and relative to the repository's root, "." for the root itself; "" was not given.
	Dir string
	// Workspace is "" when it was not given.
	Workspace string
	// Project is a project's name. It never comes together with Dir or Workspace.
	Project string
	// NoMerge: the pull request is not merged by this apply, whatever is set. It never comes together with MergeMethod.
	NoMerge bool
	// MergeMethod is how this apply merges, if it does: one of MergeMethods; "" was not given.
	MergeMethod string
	// Line is the line as it was typed, for quoting it, without the spaces and backticks around it.
	Line string
}

// Targeted reports whether the command names what it is for.
func (c Command) Targeted() bool { return c.Dir != "" || c.Workspace != "" || c.Project != "" }

// Words are what wakes us, besides a command's own name.
type Words struct {
	// Executable is the first word of "tidegate plan". "" is "tidegate".
	Executable string
	// Mention is the name of the bot's user without the @. "" is nobody.
	Mention string
	// NoSlash is for forges where lines that start with a slash are the forge's own (GitLab).
	NoSlash bool
}

// Parse answers what a comment's text asks for. Talk is (nil, nil). A wrong command that was surely meant
// for us is (nil, *Error).
func Parse(text string, w Words) (*Command, error) {
	if len(text) > mostText || !utf8.ValidString(text) {
		return nil, nil
	}
	if w.Executable == "" {
		w.Executable = "tidegate"
	}
	var found []reading
	for _, line := range strings.FieldsFunc(text, isLineBreak) {
		if strings.TrimFunc(line, isBlank) == "" {
			continue
		}
		r := read(line, w)
		if r.talk() {
			return nil, nil
		}
		found = append(found, r)
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		return nil, tooMany(found)
	case found[0].wrong != nil:
		return nil, found[0].wrong
	default:
		return found[0].cmd, nil
	}
}

// isLineBreak: what any renderer may show as a new line is one.
func isLineBreak(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', '\u0085', '\u2028', '\u2029':
		return true
	default:
		return false
	}
}

// reading is what one line says: a command, a wrong one, or neither.
type reading struct {
	cmd   *Command
	wrong *Error
}

func (r reading) talk() bool { return r.cmd == nil && r.wrong == nil }

// read reads one line that is not blank.
func read(line string, w Words) reading {
	if isCode(line) {
		return reading{}
	}
	line = unquote(strings.TrimFunc(line, isBlank))
	l := lex(line).joined()
	if len(l.tokens) == 0 || l.tokens[0].quoted {
		return reading{}
	}
	first := lower(l.tokens[0].text)
	switch {
	case first == lower(w.Executable), w.Mention != "" && first == "@"+lower(w.Mention):
		return called(l.rest().joined(), line)
	case !strings.HasPrefix(first, "/"):
		return bare(Name(first), l, line)
	case w.NoSlash:
		return reading{}
	case first == "/"+lower(w.Executable):
		return called(l.rest().joined(), line)
	default:
		return slashed(Name(first[1:]), l, line)
	}
}

// bare reads a line without a wake word. It is a command if it is exactly one, and worth an answer if
// nothing but flags follows the word; anything else is people talking.
func bare(n Name, l lexed, line string) reading {
	if !n.known() {
		return reading{}
	}
	cmd, wrong := parseArgs(n, l.rest(), line)
	if wrong != nil && !onlyFlags(l.rest()) {
		return reading{}
	}
	return reading{cmd: cmd, wrong: wrong}
}

// slashed reads "/plan". Other bots have slash words too ("/hold", "/lock"), so only what is next to
// certainly ours is answered.
func slashed(n Name, l lexed, line string) reading {
	if n.known() {
		cmd, wrong := parseArgs(n, l.rest(), line)
		return reading{cmd: cmd, wrong: wrong}
	}
	word := strings.Trim(string(n), "abcdefghijklmnopqrstuvwxyz") == ""
	if near, ok := nearest(string(n), names(), 1); ok && word && len(n) >= 4 && onlyFlags(l.rest()) {
		return reading{wrong: unknownCommand(string(n), Name(near), l.rest(), line)}
	}
	return reading{}
}

// called reads what follows a wake word: whatever it is, it was meant for us.
func called(l lexed, line string) reading {
	if len(l.tokens) == 0 {
		if l.open != "" {
			return reading{wrong: notClosed(NameHelp, l)}
		}
		return reading{cmd: &Command{Name: NameHelp, Line: line}}
	}
	word := lower(l.tokens[0].text)
	n := Name(word)
	switch {
	case word == "-h" || word == "--help", n == NameHelp && onlyNames(l.rest()):
		return reading{cmd: &Command{Name: NameHelp, Line: line}}
	case n.known():
		cmd, wrong := parseArgs(n, l.rest(), line)
		return reading{cmd: cmd, wrong: wrong}
	case isLater(word):
		return reading{wrong: &Error{
			Headline: show(word) + " is not supported yet",
			Detail:   "Nothing was done. These commands are there: " + strings.Join(names(), ", ") + ".",
			Usage:    Usage(NameHelp),
		}}
	}
	near, _ := nearest(word, names(), 2)
	return reading{wrong: unknownCommand(l.tokens[0].text, Name(near), l.rest(), line)}
}

// onlyNames: "help plan" asks for help, too.
func onlyNames(l lexed) bool {
	for _, t := range l.tokens {
		if !Name(lower(t.text)).known() {
			return false
		}
	}
	return l.open == ""
}

// MergeMethods are what MergeMethod can be. Not every forge has all of them.
func MergeMethods() []string { return []string{"merge", "rebase", "squash"} }

// targets: it takes the flags that name what it is for.
func (n Name) targets() bool { return n == NamePlan || n == NameApply || n == NameCancel || n.forOne() }

// forOne: it is for one project, which has to be named.
func (n Name) forOne() bool { return n == NameForceUnlock || n == NameStatePush }

func (n Name) known() bool {
	switch n {
	case NamePlan, NameApply, NameCancel, NameUnlock, NameForceUnlock, NameStatePush, NameHelp:
		return true
	default:
		return false
	}
}

func names() []string {
	return []string{
		string(NamePlan), string(NameApply), string(NameCancel), string(NameUnlock), string(NameForceUnlock), string(NameStatePush), string(NameHelp),
	}
}

// isLater reports commands that users of Atlantis know and that are not here.
func isLater(word string) bool {
	switch word {
	case "version", "import", "state", "approve_policies":
		return true
	default:
		return false
	}
}
