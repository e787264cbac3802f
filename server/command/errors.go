package command

import (
	"strings"
	"unicode/utf8"
)

// Error is a command that can't be carried out as it is written. All texts are plain: they quote what
// was typed and have to be escaped for where they go. None of them ends in a line break.
type Error struct {
	// Headline is what is wrong, in one short line without a full stop.
	Headline string
	// Detail says what to do about it, in whole sentences.
	Detail string
	// Usage is how the command is written; "" where that does not help.
	Usage string
	// Suggestion is the command that was probably meant, as it can be typed; "" is none.
	Suggestion string
}

// Error is everything in one line, for logs.
func (e *Error) Error() string {
	s := e.Headline
	if e.Detail != "" {
		s += ". " + e.Detail
	}
	if e.Suggestion != "" {
		s += " Did you mean: " + e.Suggestion
	}
	return s
}

// Usage is how a command is written, in one line.
func Usage(n Name) string {
	switch n {
	case NamePlan, NameCancel, NameForceUnlock, NameStatePush:
		return string(n) + " [-d DIR] [-w WORKSPACE] | " + string(n) + " -p PROJECT"
	case NameApply:
		return "apply [-d DIR] [-w WORKSPACE] | apply -p PROJECT [" + noMerge + " | " + mergeMethod + " METHOD]"
	case NameUnlock:
		return "unlock"
	default:
		return strings.Join(names(), " | ")
	}
}

// HelpRow is one line of the help.
type HelpRow struct{ Command, What string }

// Help is what can be typed, in the order in which people need it.
func Help() []HelpRow {
	return []HelpRow{
		{"plan", "plan every project that this pull request touches"},
		{"plan -d DIR", "plan the projects of one directory, touched or not"},
		{"plan -d DIR -w WORKSPACE", "plan one directory in one workspace"},
		{"plan -p PROJECT", "plan the project of that name"},
		{"apply", "apply every plan, if all of them are ready"},
		{"apply -d DIR, -w WORKSPACE, -p PROJECT", "apply what is named, as with plan"},
		{"apply " + noMerge, "apply, and do not merge the pull request after it"},
		{"cancel", "stop what runs here and drop what waits; -d DIR, -w WORKSPACE, -p PROJECT as with plan"},
		{"unlock", "give up this pull request's locks and plans"},
		{"force-unlock -d DIR", "break the lock of a state that a dead terraform has left"},
		{"state push -d DIR", "store the state that an apply could not store"},
		{"help", "this list"},
	}
}

func tooMany(found []reading) *Error {
	e := &Error{
		Headline: "One command for each comment",
		Detail:   "Nothing was done. Write each command as a comment of its own.",
	}
	plans, applies := false, false
	for _, r := range found {
		plans = plans || r.cmd != nil && r.cmd.Name == NamePlan
		applies = applies || r.cmd != nil && r.cmd.Name == NameApply
	}
	if plans && applies {
		e.Headline = "plan and apply do not go together in one comment"
		e.Detail = "Nothing was done. Plan first, read the plan, and then apply it in a comment of its own."
	}
	return e
}

// unknownCommand: with a near name, the suggestion is the whole line as it was meant.
func unknownCommand(typed string, near Name, rest lexed, line string) *Error {
	e := &Error{
		Headline: show(typed) + " is not a command",
		Detail:   "These are: " + strings.Join(names(), ", ") + ".",
		Usage:    Usage(NameHelp),
	}
	if near == "" {
		return e
	}
	e.Usage, e.Suggestion = Usage(near), string(near)
	if cmd, wrong := parseArgs(near, rest, line); wrong == nil {
		e.Suggestion = Hint(*cmd)
	}
	return e
}

func unexpected(n Name, typed string) *Error {
	e := &Error{Headline: string(n) + " does not take " + show(typed), Detail: "A target is named with a flag.", Usage: Usage(n)}
	switch {
	case Name(lower(typed)).known():
		e.Detail = "One command for each comment."
	case !n.targets() || n.forOne():
		e.Detail, e.Suggestion = "It takes nothing after it.", string(n)
	default:
		if dir, why := cleanDir(typed); why == "" && !strings.ContainsFunc(typed, isSpecial) {
			e.Suggestion = Hint(Command{Name: n, Dir: dir})
		}
	}
	return e
}

func noFlags(n Name, typed string) *Error {
	e := &Error{Headline: string(n) + " does not take " + show(typed), Detail: "It takes nothing after it.", Usage: Usage(n), Suggestion: string(n)}
	if n == NameUnlock {
		e.Detail = "It gives up all locks and plans of the pull request, never some of them."
	}
	return e
}

func unknownFlag(n Name, typed string) *Error {
	e := &Error{Headline: show(typed) + " is not a flag of " + string(n), Detail: "The flags are -d DIR, -w WORKSPACE and -p PROJECT.", Usage: Usage(n)}
	if n == NameApply {
		e.Detail = "The flags are -d DIR, -w WORKSPACE, -p PROJECT, " + noMerge + " and " + mergeMethod + " METHOD."
	}
	// Everything is near to a flag of one letter.
	if near, ok := nearest(lower(typed), flagNames(n), 2); ok && (len(typed) > 3 || lower(typed) == near) {
		e.Detail += " Perhaps " + near + " was meant."
	}
	return e
}

func later(n Name, s spelled) *Error {
	if s.flag == flagRest {
		return &Error{
			Headline: "Arguments after -- are not supported yet",
			Detail:   "Nothing was done. What a project always needs can stand in its .tf and .tfvars files.",
			Usage:    Usage(n),
		}
	}
	return &Error{Headline: s.name + " is not supported yet", Detail: "Nothing was done. Write the command without it.", Usage: Usage(n)}
}

func wrongDash(a args) *Error {
	e := &Error{
		Headline: "The dash before " + show(strings.TrimLeft(a.typo, "-")) + " is no hyphen",
		Detail:   "What was typed has " + show(string(a.dash)) + ", which some keyboards make of hyphens. The flag is " + a.typo + ".",
		Usage:    Usage(a.cmd.Name), Suggestion: Hint(a.cmd),
	}
	if a.help || a.cmd.Project != "" && (a.cmd.Dir != "" || a.cmd.Workspace != "") {
		e.Suggestion = ""
	}
	return e
}

func fancyQuotes(n Name, s spelled, straight string) *Error {
	e := &Error{
		Headline: "The quotes around " + show(straight) + " are no straight ones",
		Detail:   "Some keyboards make such quotes of straight ones, and they would be a part of the name. Without spaces in it a name needs no quotes.",
		Usage:    Usage(n),
	}
	a := args{cmd: Command{Name: n}}
	s.value = straight
	if wrong := a.set(s); wrong == nil {
		e.Suggestion = Hint(a.cmd)
	}
	return e
}

func notClosed(n Name, l lexed) *Error {
	if l.open == openEscape {
		return &Error{Headline: "The line ends in a backslash", Detail: "A backslash takes the next character as it is. Leave it out.", Usage: Usage(n)}
	}
	return &Error{Headline: "A quote is not closed", Detail: "The " + l.open + " needs another one. Without spaces in it a name needs no quotes.", Usage: Usage(n)}
}

// mostShown is how many characters of somebody's text an error repeats.
const mostShown = 60

// show quotes what somebody typed.
func show(s string) string {
	if utf8.RuneCountInString(s) > mostShown {
		s = string([]rune(s)[:mostShown]) + "..."
	}
	return `"` + strings.Map(func(r rune) rune {
		if isUnprintable(r) {
			return utf8.RuneError
		}
		return r
	}, s) + `"`
}

// nearest answers the word that is at most so many typing mistakes away, the first of the nearest ones.
func nearest(typed string, words []string, most int) (string, bool) {
	best, at := "", most+1
	for _, w := range words {
		if len(typed) > len(w)+2*most {
			continue
		}
		if d := distance(typed, w); d < at {
			best, at = w, d
		}
	}
	return best, best != ""
}

// distance counts typing mistakes: a letter too many, too few, a wrong one, two exchanged.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			wrong := 1
			if x[i-1] == y[j-1] {
				wrong = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+wrong)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
