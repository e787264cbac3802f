package dispatch

import (
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/server/command"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/vcs"
)

// askKind is what an event asks for.
type askKind int

const (
	askNothing askKind = iota
	askPlan
	askApply
	askUnlock
	askMend // a state: force-unlock, state push
	askCancel
	askHelp
	askWrong  // a command that can't be read
	askClosed // clean up
)

// Names of what a run does, as they stand in records and markers.
const (
	cmdPlan    = "plan"
	cmdApply   = "apply"
	cmdUnlock  = "unlock"
	cmdCancel  = "cancel"
	cmdHelp    = "help"
	cmdClose   = "close"
	cmdRelease = "release"

	cmdForceUnlock = string(command.NameForceUnlock)
	cmdStatePush   = string(command.NameStatePush)
)

// ask is what an event asks for, read from the event alone.
type ask struct {
	kind  askKind
	name  string // for records
	cmd   command.Command
	wrong *command.Error
	user  string
	// comment is nil unless a person asked in one.
	comment *vcs.Comment
	// source says what caused it: push:<sha>, comment:<id>, apply:<run>, unlock.
	source string
	// auto: nobody typed it.
	auto bool
	// turn are the projects a waiter is called for; nil otherwise.
	turn []runner.Project
	// left are the projects of an apply whose end is not known; nil otherwise.
	left []runner.Project
	// why there is nothing to do, for askNothing.
	why string
}

func (a ask) plans() bool { return a.kind == askPlan }

// push: an autoplan that stands for the head as it is, as each later one does.
func (a ask) push() bool { return a.plans() && a.auto && a.turn == nil && a.left == nil }

// changes: what it runs changes something that can't be taken back. It is neither cut nor run twice.
func (a ask) changes() bool { return a.kind == askApply || a.kind == askMend }

// acts: it changes something by itself, without a job.
func (a ask) acts() bool { return a.kind == askUnlock || a.kind == askCancel }

// needsOpen: there is nothing to do for it once the pull request is closed.
func (a ask) needsOpen() bool { return a.kind == askPlan || a.kind == askApply }

// mends is the action of a job that mends a state.
func (a ask) mends() runner.Action {
	if a.name == cmdStatePush {
		return runner.StatePush
	}
	return runner.ForceUnlock
}

// rank is how soon its jobs get a slot.
func (a ask) rank() rank {
	switch {
	case a.changes():
		return rankApply
	case a.push():
		return rankAutoplan
	default:
		return rankCommand
	}
}

// read answers what an event asks for. It makes no requests.
func (e *Engine) read(ev journal.Event) ask {
	if in := ev.Internal; in != nil {
		a := ask{kind: askPlan, name: cmdPlan, user: in.User, source: in.Cause, auto: true}
		if in.Kind == kindLeft {
			a.left = in.Projects
		} else {
			a.turn = in.Projects
		}
		return a
	}
	switch ev.Event.Kind {
	case vcs.PullOpened, vcs.PullPushed, vcs.PullReady, vcs.PullRetargeted:
		return ask{kind: askPlan, name: cmdPlan, user: ev.Event.Sender, source: "push:" + short(ev.Event.Head), auto: true}
	case vcs.PullClosed:
		return ask{kind: askClosed, name: cmdClose, user: ev.Event.Sender, source: "close", auto: true}
	case vcs.Commented:
		return e.readComment(ev)
	default:
		return ask{why: fmt.Sprintf("an event of kind %q asks for nothing", ev.Event.Kind)}
	}
}

func (e *Engine) readComment(ev journal.Event) ask {
	c := ev.Event.Comment
	if c == nil {
		return ask{why: "a comment event without a comment"}
	}
	if _, ours := e.sign.find(ev.Event.PullID(), c.Body); ours {
		return ask{why: "our own comment"}
	}
	words := command.Words{Executable: e.Options.Executable}
	if f, ok := e.Forges[ev.Event.Repo.ID.Forge]; ok {
		site := f.Site()
		words.Mention, words.NoSlash = site.Account, site.NoSlashCommands
	}
	cmd, err := command.Parse(c.Body, words)
	a := ask{name: cmdHelp, user: c.Author, comment: c, source: "comment:" + strconv.FormatInt(c.ID, 10)}
	switch {
	case err != nil:
		a.kind, a.wrong = askWrong, wrong(err)
		return a
	case cmd == nil:
		return ask{why: "talk"}
	}
	a.cmd, a.name = *cmd, string(cmd.Name)
	switch a.name {
	case cmdPlan:
		a.kind = askPlan
	case cmdApply:
		a.kind = askApply
	case cmdUnlock:
		a.kind = askUnlock
	case cmdCancel:
		a.kind = askCancel
	case cmdForceUnlock, cmdStatePush:
		a.kind = askMend
	default:
		a.kind = askHelp
	}
	return a
}

// short is a commit's first seven characters.
func short(sha string) string {
	if len(sha) > 7 {
		return sha[:7]
	}
	return sha
}
