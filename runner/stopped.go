package runner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/runner/terraform"
)

// errPlanTime is why a plan is interrupted.
var errPlanTime = errors.New("the time for a plan is over")

// lastLines is how much of a log stands in the failure of who was stopped.
const lastLines = 20

// mostStarts is how often a plan is started whose supervisor is killed each time.
const mostStarts = 3

// planInTime is plan, within the time that a plan may take. One that nobody saw the end of is made once more: it has changed nothing.
func (w *work) planInTime(ctx context.Context) (Result, error) {
	timed, end := w.inTime(ctx)
	defer end()
	result, err := w.plan(timed)
	for n := 1; errors.Is(err, ErrNotRun) && timed.Err() == nil && n < mostStarts; n++ {
		w.cfg.Log.WarnContext(ctx, "making a plan once more", "job", w.job.ID, "error", err)
		if err = w.afresh(); err == nil {
			result, err = w.plan(timed)
		}
	}
	switch lost := errors.Is(err, ErrNotRun); {
	case err != nil && !lost, err == nil && result.End != Cancelled:
		return result, err
	case errors.Is(context.Cause(timed), errPlanTime):
		return w.outOfTime(result), nil
	case lost && ctx.Err() != nil:
		return w.stopped(&step{failure: cancelledFailure(), cancelled: true}, false), nil
	case lost && !errors.Is(err, terraform.ErrNotStarted):
		return w.lost(), nil
	}
	return result, err
}

func (w *work) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	if w.cfg.PlanTimeout <= 0 {
		return ctx, func() {}
	}
	since := w.job.Since
	if since.IsZero() {
		since = w.started
	}
	return context.WithDeadlineCause(ctx, since.Add(w.cfg.PlanTimeout), errPlanTime)
}

// afresh makes the job ready for one more start of a plan. What the last one noted of its locks stays.
func (w *work) afresh() error {
	w.close()
	w.started = time.Now().UTC()
	if err := w.clear(); err != nil {
		return err
	}
	return w.sign()
}

// outOfTime is the result of a plan that took too long.
func (w *work) outOfTime(stopped Result) Result {
	result := w.result(Failed)
	result.LocalState, result.LogCut = stopped.LocalState, stopped.LogCut
	result.Failure = stopFailure(fmt.Sprintf("stopped after %s by --plan-timeout", timeWords(w.cfg.PlanTimeout)),
		"Nothing was changed.", w.lastLog())
	return result
}

// lost is the result of a plan that nobody saw the end of, however often it was started.
func (w *work) lost() Result {
	result := w.result(Failed)
	result.Failure = stopFailure("what watches terraform was killed", fmt.Sprintf("This happened each of the %d times that the plan was made. "+
		"Nobody here does that: most likely the memory of the machine or of the container was used up. Nothing was changed.", mostStarts), w.lastLog())
	return result
}

// lastLog is the log of the last process; its last lines are only an addition.
func (w *work) lastLog() string {
	steps, err := stepDirs(w.job.Dir)
	if err != nil || len(steps) == 0 {
		return ""
	}
	log, _ := terraform.ReadLog(steps[len(steps)-1], maxLog)
	return log
}

// why is the failure of a process: what ended it from outside, where something did, before terraform's words.
func (w *work) why(name string, exit terraform.Exit, raw string, own *Failure) *Failure {
	switch {
	case exit.Timeout > 0:
		return stopFailure(fmt.Sprintf("stopped after %s by --apply-timeout", timeWords(exit.Timeout)), stopWords(exit), raw)
	case exit.Starved():
		return stopFailure("terraform was killed, most likely for want of memory", "terraform "+name+" was ended by SIGKILL, "+
			"and nobody here has sent it: most likely the memory of the machine or of the container was used up. "+
			"Give it more memory, let fewer jobs run at once (--jobs), or make this project smaller.", raw)
	case exit.Known && exit.Code != 0 && terraform.OutOfMemory(raw):
		return stopFailure("terraform ran out of memory", "terraform "+name+" or a provider got no more memory from the system. "+
			"Give it more (--job-memory, if that is set, or the machine's), or make this project smaller.", raw)
	case exit.Known && exit.Code != 0 && own != nil && terraform.OutOfDisk(own.Summary+"\n"+own.Text) && w.isFull():
		failure := *own
		failure.Summary = "no space left on device"
		failure.Text = "terraform " + name + " could not write a file, because the disk of the server's data directory is full. " +
			"Who runs this server can free some of it or give it more. Then comment again.\n\n" + own.Text
		return &failure
	case own != nil && w.doubtsHost(name, terraform.Clean(raw)):
		failure := *own
		failure.Text = "The ssh host of a module is not known here, so it was not spoken to. Who runs this server can add its key to " +
			"/etc/ssh/ssh_known_hosts or the file of --ssh-known-hosts" + unread(name) + ". Then comment again.\n\n" + own.Text
		return &failure
	case own != nil && w.wantsCredential(name, terraform.Clean(raw)):
		failure := *own
		failure.Text = "A module is in a private repository of this forge, and terraform has no credential for it. " +
			"Who runs this server can offer its own (--write-git-creds). Then comment again.\n\n" + own.Text
		return &failure
	case own != nil && w.usedBadCredential(name, terraform.Clean(raw)):
		failure := *own
		failure.Text = "The forge did not take the credential that terraform was offered for a module: it was revoked, or has ended. " +
			"Who runs this server can give it another one. Then comment again.\n\n" + own.Text
		return &failure
	}
	return own
}

// isFull reports that the disk of the job is full, or nearly so: what terraform could not write, it may have removed. That an error
// has the words for it does not tell: a provider may have them from elsewhere.
func (w *work) isFull() bool { return isFull(w.cfg.Data) || isFull(w.job.Dir) }

func isFull(dir string) bool {
	const fewBytes, fewFiles = 64 << 20, 64
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return false
	}
	free := uint64(disk.Bavail) * uint64(disk.Bsize) //nolint:unconvert // the types differ by system
	return free < fewBytes || disk.Files > 0 && disk.Ffree < fewFiles
}

func stopWords(exit terraform.Exit) string {
	if exit.Killed {
		return "It did not heed the interrupt, and was killed: what it has done last may be missing in its state."
	}
	return "It was interrupted once, and stopped by itself."
}

func stopFailure(summary, words, log string) *Failure {
	text := summary + ". " + words
	if last := terraform.Tail(log, lastLines); last != "" {
		text += "\n\nThe last lines of its log:\n" + last
	}
	return &Failure{Summary: summary, Text: strings.ToUpper(text[:1]) + text[1:]}
}

// timeWords is a time for people: "45 minutes", "2 hours", "1m30s".
func timeWords(d time.Duration) string {
	for _, u := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		switch n := d / u.of; {
		case d%u.of != 0:
		case n == 1:
			return "1 " + u.name
		default:
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return d.String()
}
