// Package command reads what a comment on a pull request asks for.
package command

import "errors"

// Name is a command's word.
type Name string

// The commands.
const (
	Plan   Name = "plan"
	Apply  Name = "apply"
	Unlock Name = "unlock"
	Help   Name = "help"
)

// Command is what a comment asks for.
type Command struct {
	Name      Name
	Dir       string
	Workspace string
	Project   string
	Line      string
}

// Targeted reports whether flags name something.
func (c Command) Targeted() bool { return c.Dir != "" || c.Workspace != "" || c.Project != "" }

// Words are the words that wake us.
type Words struct {
	Executable string
	Mention    string
	NoSlash    bool
}

// Error is a command that can't be carried out as it is written.
type Error struct{ Headline, Detail, Usage, Suggestion string }

func (e *Error) Error() string { return e.Headline }

// Parse answers what a comment's text asks for.
func Parse(string, Words) (*Command, error) { return nil, errors.New("not built yet") }

// Usage is how a command is written.
func Usage(Name) string { return "" }

// HelpRow is one command for the help text.
type HelpRow struct{ Command, What string }

// Rows are all commands.
func Rows() []HelpRow { return nil }

// Hint writes a command.
func Hint(c Command) string { return string(c.Name) }

// Quote writes one word.
func Quote(s string) string { return s }
