package journal

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/vcs"
)

// RunState is running or done.
type RunState string

// The states of a run.
const (
	Running RunState = "running"
	RunDone RunState = "done"
)

// Run is one command on one pull request.
type Run struct {
	// ID is a ULID: newer runs have bigger ids.
	ID string `json:"id"`
	// Event is what led to it; 0 for none.
	Event uint64     `json:"event,omitempty"`
	Pull  vcs.PullID `json:"pull"`
	// Repo is "owner/name" at that time.
	Repo      string `json:"repo"`
	PullTitle string `json:"pull_title,omitempty"`
	PullURL   string `json:"pull_url,omitempty"`
	User      string `json:"user,omitempty"`
	// Command is plan, apply, unlock ...
	Command string `json:"command"`
	// Targeted: it was meant for some of the pull request's projects only.
	Targeted bool `json:"targeted,omitempty"`
	// Line is the command as it was typed.
	Line string `json:"line,omitempty"`
	// Source is push:<sha>, comment:<id>, apply:<run> or unlock.
	Source string `json:"source,omitempty"`
	// Head, Base, Merge and Tree are what it works on; BaseRef is a branch name.
	Head    string    `json:"head,omitempty"`
	Base    string    `json:"base,omitempty"`
	BaseRef string    `json:"base_ref,omitempty"`
	Merge   string    `json:"merge,omitempty"`
	Tree    string    `json:"tree,omitempty"`
	State   RunState  `json:"state"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Summary is the first line of the answer.
	Summary string `json:"summary,omitempty"`
	// CommentAt (the forge's time) and CommentID are the command's own comment.
	CommentAt time.Time `json:"comment_at,omitzero"`
	CommentID int64     `json:"comment_id,omitempty"`
	// Cancels is set on a cancel that was allowed: what was asked for before it, and is meant, does not begin
	// any more.
	Cancels *Target `json:"cancels,omitempty"`
}

// Target is what a command names. What is empty was not given; the zero Target means everything.
type Target struct {
	Dir       string `json:"dir,omitempty"`
	Workspace string `json:"workspace,omitempty"`
	Project   string `json:"project,omitempty"`
}

// JobState is how far a job was carried.
type JobState string

// The states of a job.
const (
	JobQueued     JobState = "queued"
	JobRunning    JobState = "running"
	JobDone       JobState = "done"
	JobWaiting    JobState = "waiting"
	JobSuperseded JobState = "superseded"
	JobSkipped    JobState = "skipped"
)

// Job is one project's part of a run.
type Job struct {
	Run string `json:"run"`
	// N counts the jobs of a run from 1.
	N     int        `json:"n"`
	Job   runner.Job `json:"job"`
	State JobState   `json:"state"`
	// Result is nil until the job is done.
	Result *runner.Summary `json:"result,omitempty"`
	// ResultFile is where the whole result is, when it is not in the job's own directory.
	ResultFile string `json:"result_file,omitempty"`
	// PlanID is the plan that it made or applies.
	PlanID  string    `json:"plan_id,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Waiting is set with JobWaiting.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Digest is the input digest.
	Digest string `json:"digest,omitempty"`
	// Note is for people.
	Note string `json:"note,omitempty"`
}

// Open reports whether the job is still to be carried to its end.
func (j Job) Open() bool { return j.State == JobQueued || j.State == JobRunning }

// Waiting is what a job waits for.
type Waiting struct {
	// Pull holds the lock, or is before us in line.
	Pull  int       `json:"pull"`
	URL   string    `json:"url,omitempty"`
	User  string    `json:"user,omitempty"`
	Since time.Time `json:"since,omitzero"`
	// Ahead is how many others are before us in line.
	Ahead int `json:"ahead,omitempty"`
}

// Filter says which runs are wanted. The zero Filter wants all of them.
type Filter struct {
	// Pull, when not nil, wants those of one pull request.
	Pull *vcs.PullID
	// Running wants those that are not done.
	Running bool
	// Before, when not empty, wants those with smaller ids: older ones.
	Before string
	// Limit is how many at most; 0 means all. Damaged records that come after the last are not looked at.
	Limit int
}

// CreateRun journals a run with its jobs, and binds its event to it, in one transaction. The same run
// may be created again: jobs that are there stay as far as they were carried, and a run that is done
// stays done. An event that led to another run already is an error.
func (j *Journal) CreateRun(ctx context.Context, r Run, jobs []Job) error {
	for _, job := range jobs {
		if job.Run != r.ID {
			return fmt.Errorf("journalling run %s: job %d belongs to run %q", r.ID, job.N, job.Run)
		}
	}
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		if r.Event != 0 {
			if err := bind(tx, r.Event, r.ID); err != nil {
				return none{}, err
			}
		}
		return none{}, createRun(tx, r, jobs)
	})
	if err != nil {
		return fmt.Errorf("journalling run %s: %w", r.ID, err)
	}
	return nil
}

func createRun(tx *bbolt.Tx, r Run, jobs []Job) error {
	if old, ok := before[Run](tx, bucketRuns, []byte(r.ID)); !ok || old.Pull != r.Pull || old.State != RunDone {
		if err := putRun(tx, r); err != nil {
			return err
		}
	}
	for _, job := range jobs {
		if in(tx, bucketJobs).Get(jobKey(job.Run, job.N)) != nil {
			continue
		}
		if err := putJob(tx, job); err != nil {
			return err
		}
	}
	return nil
}

func bind(tx *bbolt.Tx, seq uint64, run string) error {
	ev, err := must[Event](tx, bucketEvents, seqKey(seq))
	switch {
	case err != nil:
		return err
	case ev.Run == run:
		return nil
	case ev.Run != "":
		return fmt.Errorf("event %d led to run %s already", seq, ev.Run)
	}
	ev.Run = run
	return putEvent(tx, ev)
}

// PutRun writes a run's record anew. Its pull request can't change.
func (j *Journal) PutRun(ctx context.Context, r Run) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) { return none{}, putRun(tx, r) })
	if err != nil {
		return fmt.Errorf("journalling run %s: %w", r.ID, err)
	}
	return nil
}

// putRun writes a run and keeps its indexes.
func putRun(tx *bbolt.Tx, r Run) error {
	if _, err := ulid.ParseStrict(r.ID); err != nil {
		return fmt.Errorf("%q is not a run id: %w", r.ID, err)
	}
	if old, ok := before[Run](tx, bucketRuns, []byte(r.ID)); ok && old.Pull != r.Pull {
		return fmt.Errorf("it belongs to %s, not to %s", old.Pull, r.Pull)
	}
	if err := put(tx, bucketRuns, []byte(r.ID), r); err != nil {
		return err
	}
	if err := index(tx, bucketRunsByPull, append(pullKey(r.Pull), r.ID...), true); err != nil {
		return err
	}
	return index(tx, bucketRunsRunning, []byte(r.ID), r.State == Running)
}

// EndRun marks a run done. A run that is done already stays as it is.
func (j *Journal) EndRun(ctx context.Context, id, summary string, at time.Time) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		r, err := must[Run](tx, bucketRuns, []byte(id))
		if err != nil || r.State == RunDone {
			return none{}, err
		}
		r.State, r.Summary, r.Ended = RunDone, summary, at
		return none{}, putRun(tx, r)
	})
	if err != nil {
		return fmt.Errorf("ending run %s: %w", id, err)
	}
	return nil
}

// Run reads one run.
func (j *Journal) Run(ctx context.Context, id string) (Run, bool, error) {
	return lookup[Run](ctx, j, bucketRuns, []byte(id))
}

// RunOf reads the run that an event led to. Of a damaged one it answers the id, true and the
// *DamagedError.
func (j *Journal) RunOf(ctx context.Context, event uint64) (Run, bool, error) {
	type found struct {
		run Run
		ok  bool
	}
	f, err := view(ctx, j, func(tx *bbolt.Tx) (found, error) {
		ev, ok, err := get[Event](tx, bucketEvents, seqKey(event))
		if err != nil || !ok || ev.Run == "" {
			return found{}, err
		}
		r, err := named[Run](tx, bucketRuns, []byte(ev.Run))
		r.ID = ev.Run
		return found{r, true}, err
	})
	return f.run, f.ok, err
}

// Runs lists runs, newest first.
func (j *Journal) Runs(ctx context.Context, f Filter) ([]Run, error) {
	bucket, prefix := bucketRuns, []byte{}
	switch {
	case f.Pull != nil:
		bucket, prefix = bucketRunsByPull, pullKey(*f.Pull)
	case f.Running:
		bucket = bucketRunsRunning
	}
	return view(ctx, j, func(tx *bbolt.Tx) ([]Run, error) {
		var out gathered[Run]
		c := in(tx, bucket).Cursor()
		for k := start(c, prefix, f.Before); bytes.HasPrefix(k, prefix) && k != nil; k, _ = c.Prev() {
			r, err := named[Run](tx, bucketRuns, k[len(prefix):])
			if err == nil && f.Running && r.State != Running {
				continue
			}
			if err := out.add(r, err); err != nil {
				return nil, err
			}
			if f.Limit > 0 && len(out.all) == f.Limit {
				break
			}
		}
		return out.answer()
	})
}

// start moves the cursor to the last run that is wanted.
func start(c *bbolt.Cursor, prefix []byte, before string) []byte {
	if before == "" {
		return lastWith(c, prefix)
	}
	return justBefore(c, append(bytes.Clone(prefix), before...))
}

// PutJob writes a job of a run that is there.
func (j *Journal) PutJob(ctx context.Context, job Job) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		if in(tx, bucketRuns).Get([]byte(job.Run)) == nil {
			return none{}, fmt.Errorf("run %q: %w", job.Run, ErrUnknown)
		}
		return none{}, putJob(tx, job)
	})
	if err != nil {
		return fmt.Errorf("journalling job %s/%d: %w", job.Run, job.N, err)
	}
	return nil
}

func putJob(tx *bbolt.Tx, job Job) error {
	if job.N < 1 {
		return fmt.Errorf("job %d: jobs are counted from 1", job.N)
	}
	return put(tx, bucketJobs, jobKey(job.Run, job.N), job)
}

// Jobs lists the jobs of a run, in their order. What is not the id of a run has none.
func (j *Journal) Jobs(ctx context.Context, run string) ([]Job, error) {
	if _, err := ulid.ParseStrict(run); err != nil { // the beginning of an id would be that of many runs
		return nil, nil
	}
	return view(ctx, j, func(tx *bbolt.Tx) ([]Job, error) {
		return list[Job](tx, bucketJobs, []byte(run))
	})
}
