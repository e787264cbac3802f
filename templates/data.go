// Package templates writes what people read: comments on pull requests and pages.
//
// It has plain data of its own and knows nothing of forges, runs or terraform. Every string in that
// data is hostile. Start with Plan.
package templates

import "time"

// Footer is what every comment ends with. What is empty is left out.
type Footer struct {
	HeadSHA, HeadURL          string
	BaseRef, BaseSHA, BaseURL string
	// Tool is "terraform 1.11.4".
	Tool   string
	Took   time.Duration
	LogURL string
	// Ran: something ran, so that there is a log at LogURL.
	Ran bool
	// Now is when it is written.
	Now time.Time
	// Marker is the complete HTML comment at the end.
	Marker string
}

// Changes counts what would be done, or was. Its fields are those of the runner's, so that one converts
// into the other.
type Changes struct {
	Import  int
	Add     int
	Change  int
	Replace int
	Destroy int
	Forget  int
	Move    int
	Outputs bool
	Known   bool
}

// String is "1 add, 2 destroy".
func (c Changes) String() string { return c.words(plain) }

// The states of a job, as they stand in comments.
const (
	StateReady         = "ready"
	StateNoChanges     = "no changes"
	StateFailed        = "failed"
	StateWaiting       = "waiting"
	StateCancelled     = "cancelled"
	StateApplied       = "applied"
	StatePartlyApplied = "partly applied"
	StateNotStarted    = "not started"
	StateInterrupted   = "interrupted"
	StateUnknown       = "unknown"
)

// Job is one project in an answer.
type Job struct {
	// Label is its name or its directory; Workspace is empty for the default one.
	Label, Workspace string
	State            string
	Changes          Changes
	Dangers          []Danger
	Waiting          *Holder
	// Text is terraform's plan.
	Text  string
	Error *Failure
	// Lock is set when it failed because its state is locked.
	Lock   *StateLock
	LogURL string
	// LogCut says why its log has not all that was printed, in our words.
	LogCut string
	// Flags name it in a command ("-d dns").
	Flags string
	// Done is what an apply did.
	Done []Done
	// Evidence is what is known of an apply that nobody saw the end of.
	Evidence []string
	// Kept: its lock stays even without changes, because an apply may have changed it.
	Kept bool
	// Again: it is planned again by itself.
	Again bool
	// Killed: it was ended by SIGKILL, so that its state may not have all that was done.
	Killed bool
	// PlanKept: it is an apply that did not get the lock of its state, or a plan for which there was no room. The plan from before
	// can be applied later.
	PlanKept bool
	// NoRoom: nothing was begun, because the server's disk is nearly full.
	NoRoom bool
	// Unstored: terraform could not store its state, which is kept here.
	Unstored bool
	// LocalState: its state would lie in the checkout.
	LocalState bool
}

// Danger is a resource that would be destroyed or replaced.
type Danger struct {
	Address string
	// Action is "replace" or "destroy".
	Action   string
	ForcedBy []string
}

// Holder is who a job waits for.
type Holder struct {
	Ref, URL, User string
	Since          time.Time
	Ahead          int
}

// Hold is one part of a circle: Waiter waits for the lock on Label, which Holder has.
type Hold struct {
	Label          string
	Holder, Waiter Holder
}

// Failure is why something failed.
type Failure struct{ Summary, Text string }

// Done is one resource of an apply. Outcome is "done", "half done" (destroyed, and not created again),
// "failed" or "not reached".
type Done struct{ Address, Action, Outcome string }

// Plan is the answer to a plan.
type Plan struct {
	Jobs         []Job
	Notes        []string
	CommentLimit int
	Footer
}

// Apply is the answer to an apply.
type Apply struct {
	Jobs         []Job
	Notes        []string
	CommentLimit int
	Footer
}

// Problem is one thing that is wrong with a configuration file. Text is ours; what it quotes of the
// file stands between backticks, and holds none itself.
type Problem struct{ Where, URL, Key, Text string }

// Problems is the answer when the configuration can't be used.
type Problems struct {
	Command, File string
	Rows          []Problem
	Footer
}

// Conflict is the answer when the merge has conflicts.
type Conflict struct {
	Command, BaseRef string
	Files            []string
	Footer
}

// NothingTouched is the answer when no project is touched.
type NothingTouched struct {
	Files int
	Flags string
	Footer
}

// TargetUnknown is the answer to a command for what is not there.
type TargetUnknown struct {
	// Headline is what is wrong, Detail what to do about it.
	Command, Headline, Detail string
	// There is what could be named instead with Flag; More is how many are left out.
	There      []string
	More       int
	Flag       string
	Suggestion string
	Footer
}

// Refused is one project that is not applied.
type Refused struct {
	Label, Workspace, Flags, State, Why string
	// Waiting is set when it waits for a lock, in the place of State and Why.
	Waiting *Holder
	// Moved are sentences of ours in which foreign text stands between backticks.
	Moved []string
}

// ApplyRefused is the answer when nothing is applied.
type ApplyRefused struct {
	Rows []Refused
	Footer
}

// Unlocked is the answer to an unlock.
type Unlocked struct {
	Labels []string
	Plans  int
	Left   int
	// Note is what is kept all the same, in a sentence of ours.
	Note string
	Footer
}

// UnlockRefused is the answer while an apply runs, or what mends a state.
type UnlockRefused struct {
	// Pushes: a state is being stored; Breaks: the lock of one is being broken.
	Pushes, Breaks bool
	Footer
}

// HelpRow is one line of the help.
type HelpRow struct{ Command, What string }

// Help is the answer to help.
type Help struct {
	Executable string
	Rows       []HelpRow
	Footer
}

// Wrong is the answer to a command that can't be read.
type Wrong struct {
	Headline, Detail, Usage, Suggestion string
	Footer
}

// Refusal is a plain no.
type Refusal struct {
	Headline string
	Body     []string
	Footer
}

// Internal is the answer when it was our fault.
type Internal struct {
	Run string
	Footer
}

// Progress is the comment of a run that takes long.
type Progress struct {
	Command     string
	Done, Total int
	Footer
}

// Notice tells what nobody asked for.
type Notice struct {
	Headline string
	Body     []string
	Footer
}
