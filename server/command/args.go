package command

import (
	"slices"
	"strings"
	"unicode"
)

// flag is what a word with hyphens before it is.
type flag int

const (
	flagNone flag = iota
	flagDir
	flagWorkspace
	flagProject
	flagHelp
	flagNoMerge
	flagMethod
	flagLater // known to users of Atlantis, not here
	flagRest  // "--"
)

// spelled is a token read as a flag.
type spelled struct {
	flag flag
	// name is how it should be written: "-d".
	name string
	// value is what follows the first "=".
	value    string
	hasValue bool
	// quoted: some of the value was in quotes or escaped, so it is meant as it stands.
	quoted bool
	// dash is the typographic dash that was typed in place of "-" or "--"; 0 is none.
	dash rune
}

func flagOf(name string) flag {
	switch name {
	case "-d", "--dir":
		return flagDir
	case "-w", "--workspace":
		return flagWorkspace
	case "-p", "--project":
		return flagProject
	case "-h", "--help":
		return flagHelp
	case noMerge:
		return flagNoMerge
	case mergeMethod:
		return flagMethod
	case "--verbose":
		return flagLater
	case "--":
		return flagRest
	default:
		return flagNone
	}
}

// How an apply is told about merging.
const (
	noMerge     = "--auto-merge-disabled"
	mergeMethod = "--auto-merge-method"
)

func flagNames(n Name) []string {
	names := []string{"-d", "-w", "-p", "--dir", "--workspace", "--project"}
	if n == NameApply {
		names = append(names, noMerge, mergeMethod)
	}
	return names
}

// spell reads a token as a flag. ok is false for what does not look like one.
func spell(t token) (s spelled, ok bool) {
	body := strings.TrimLeftFunc(t.text, isDash)
	dashes := t.text[:len(t.text)-len(body)]
	if t.lead || dashes == "" {
		return s, false
	}
	s.name, s.value, s.hasValue = strings.Cut(t.text, "=")
	s.quoted = t.quoted
	if fancy := strings.Trim(dashes, "-"); fancy != "" {
		s.dash = []rune(fancy)[0]
		word := strings.TrimLeftFunc(s.name, isDash)
		if s.name = "--" + word; len(word) == 1 {
			s.name = "-" + word
		}
		s.flag = flagOf(s.name)
		// "plan —nice work" is talk.
		return s, s.flag != flagNone && s.flag != flagRest
	}
	s.flag = flagOf(s.name)
	first := []rune(body + " ")[0]
	return s, s.flag == flagRest || len(dashes) <= 2 && (unicode.IsLetter(first) || unicode.IsDigit(first))
}

// isDash reports the hyphen and what phones and word processors make of it.
func isDash(r rune) bool {
	return r == '\u2212' || unicode.Is(unicode.Pd, r)
}

// isFancyQuote reports what phones and word processors make of quotes.
func isFancyQuote(r rune) bool {
	return strings.ContainsRune("\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb", r)
}

// onlyFlags reports whether what follows a command's word looks like flags and their values and nothing
// else.
func onlyFlags(l lexed) bool {
	value := false // whether the token may be the value of the flag before it
	for i, t := range l.tokens {
		s, ok := spell(t)
		switch {
		case ok:
			value = !s.hasValue && s.flag != flagRest
		case !value:
			return false
		default:
			value = false
		}
		// An apostrophe inside a word opens no quote that anybody meant.
		if i == len(l.tokens)-1 && l.open != "" && !t.lead && !s.hasValue {
			return false
		}
	}
	return true
}

// args collects what the flags of a line say.
type args struct {
	cmd  Command
	seen map[flag]bool
	help bool
	dash rune
	typo string // the flag with the typographic dash, as it should be
}

// parseArgs reads what follows a command's word.
func parseArgs(n Name, l lexed, line string) (*Command, *Error) {
	a := args{cmd: Command{Name: n, Line: line}, seen: map[flag]bool{}}
	if l.open != "" {
		return nil, notClosed(n, l)
	}
	for rest := l.tokens; len(rest) > 0; {
		used, err := a.next(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[used:]
	}
	switch {
	case a.dash != 0:
		return nil, wrongDash(a)
	case a.help:
		return &Command{Name: NameHelp, Line: line}, nil
	case a.cmd.Project != "" && (a.cmd.Dir != "" || a.cmd.Workspace != ""):
		return nil, &Error{
			Headline: "-p stands alone",
			Detail:   "A project's name says its directory and workspace already. Leave out -d and -w, or -p.",
			Usage:    Usage(n), Suggestion: Hint(Command{Name: n, Project: a.cmd.Project}),
		}
	case a.cmd.NoMerge && a.cmd.MergeMethod != "":
		a.cmd.MergeMethod = ""
		return nil, &Error{
			Headline: noMerge + " and " + mergeMethod + " do not go together",
			Detail:   "One says not to merge, the other how.",
			Usage:    Usage(n), Suggestion: Hint(a.cmd),
		}
	case n.forOne() && !a.cmd.Targeted():
		return nil, &Error{
			Headline: string(n) + " is for one project",
			Detail:   "Say which one with -d DIR, -w WORKSPACE or -p PROJECT.",
			Usage:    Usage(n),
		}
	default:
		return &a.cmd, nil
	}
}

// next reads one flag with its value and answers how many tokens that took.
func (a *args) next(rest []token) (int, *Error) {
	n := a.cmd.Name
	s, ok := spell(rest[0])
	if !ok {
		return 0, unexpected(n, rest[0].text)
	}
	if s.dash != 0 && a.dash == 0 {
		a.dash, a.typo = s.dash, s.name
	}
	switch {
	case s.flag == flagHelp:
		a.help = true
		return 1, nil
	case !n.targets():
		return 0, noFlags(n, s.name)
	case s.flag == flagNone, n != NameApply && (s.flag == flagNoMerge || s.flag == flagMethod):
		return 0, unknownFlag(n, s.name)
	case s.flag == flagLater, s.flag == flagRest:
		return 0, later(n, s)
	case a.seen[s.flag]:
		return 0, &Error{
			Headline: s.name + " is given twice",
			Detail:   "One comment is for one target, or for all. Write one comment for each.",
			Usage:    Usage(n),
		}
	}
	a.seen[s.flag] = true
	used := 1
	if s.flag == flagNoMerge {
		return used, a.setNoMerge(s)
	}
	if !s.hasValue {
		if len(rest) == 1 || looksLikeFlag(rest[1]) {
			return 0, &Error{
				Headline: s.name + " needs a value",
				Detail:   "Say what it is for. A value that begins with a hyphen is written as " + s.name + "=VALUE.",
				Usage:    Usage(n),
			}
		}
		s.value, s.quoted, used = rest[1].text, rest[1].quoted, 2
	}
	return used, a.set(s)
}

func looksLikeFlag(t token) bool {
	return !t.lead && strings.HasPrefix(t.text, "-") && t.text != "-"
}

func (a *args) setNoMerge(s spelled) *Error {
	a.cmd.NoMerge = true
	if !s.hasValue {
		return nil
	}
	return &Error{Headline: noMerge + " takes no value", Detail: "It is there, or it is not.", Usage: Usage(a.cmd.Name)}
}

func (a *args) set(s spelled) *Error {
	if straight := strings.TrimFunc(s.value, isFancyQuote); straight != s.value && !s.quoted {
		return fancyQuotes(a.cmd.Name, s, straight)
	}
	var why string
	switch s.flag {
	case flagDir:
		a.cmd.Dir, why = cleanDir(s.value)
	case flagWorkspace:
		a.cmd.Workspace, why = s.value, badWorkspace(s.value)
	case flagMethod:
		if a.cmd.MergeMethod = lower(s.value); !slices.Contains(MergeMethods(), a.cmd.MergeMethod) {
			why = "is none"
		}
	default:
		a.cmd.Project, why = s.value, badProject(s.value)
	}
	if why == "" {
		return nil
	}
	return &Error{Headline: s.name + " " + show(s.value) + " " + why, Detail: ruleOf(s.flag), Usage: Usage(a.cmd.Name)}
}
