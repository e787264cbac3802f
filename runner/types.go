package runner

import (
	"time"

	"github.com/tidegate/tidegate/runner/gitcredential"
	"github.com/tidegate/tidegate/runner/terraform"
)

// Action is what a job does.
type Action string

// The actions.
const (
	Plan  Action = "plan"
	Apply Action = "apply"
	// ForceUnlock breaks the lock of a state, StatePush stores one that an apply could not store.
	ForceUnlock Action = "force-unlock"
	StatePush   Action = "state push"
)

// Project is what is planned and applied: a directory, a workspace and, for projects that have one,
// a name.
type Project struct {
	// Dir is relative to the repository's root, cleaned, with forward slashes; "." is the root.
	Dir       string `json:"dir"`
	Workspace string `json:"workspace"`
	Name      string `json:"name,omitempty"`
}

// Job is one project's part of a run, with everything that is needed to carry it out.
type Job struct {
	// ID is unique among all jobs ever: "<run>/<n>".
	ID     string `json:"id"`
	Action Action `json:"action"`
	// Dir is the job's own directory for marks, logs and results; made by Run.
	Dir string `json:"dir"`
	// Checkout is the absolute root of the files; Project.Dir is below it.
	Checkout string  `json:"checkout"`
	Project  Project `json:"project"`
	Tool     Tool    `json:"tool"`
	// DataDir is the absolute TF_DATA_DIR.
	DataDir string `json:"data_dir"`
	// StateDir, when set, is where the local state of a project without backend is kept.
	StateDir string `json:"state_dir,omitempty"`
	// PlanFile is the plan to apply, absolute, checked by the caller. Empty for plans.
	PlanFile string `json:"plan_file,omitempty"`
	// LockID is the lock to break, StateFile the absolute path of the state to store.
	LockID    string `json:"lock_id,omitempty"`
	StateFile string `json:"state_file,omitempty"`
	// Release is a lock of the state that is broken before it is planned: ReleaseOf, a job that is dead,
	// has left it.
	Release   string `json:"release,omitempty"`
	ReleaseOf string `json:"release_of,omitempty"`
	// Forge is where the repository is. Its credential, if there is one, is git's while a plan fetches modules, and in nothing else. It is not kept.
	Forge *Forge `json:"-"`
	// Since is when the time that a plan may take began. Zero: when Run did. It is not kept: who begins once more has all of it.
	Since time.Time `json:"-"`
}

// End is how a job ended.
type End string

// The ends a job's processes can come to.
const (
	Succeeded End = "succeeded"
	// Failed: terraform or the user's files said no.
	Failed End = "failed"
	// Errored: our fault.
	Errored End = "errored"
	// Cancelled: stopped before it changed anything.
	Cancelled End = "cancelled"
	// Interrupted: stopped in the middle.
	Interrupted End = "interrupted"
	// PartlyApplied: an apply that failed after it changed something.
	PartlyApplied End = "partly applied"
	// NotStarted: provably nothing was executed.
	NotStarted End = "not started"
	// Unknown: it was started, and nobody saw how it ended.
	Unknown End = "unknown"
)

// Forge is a forge that modules may be on.
type Forge = gitcredential.Forge

// The facts that come from the terraform room keep its types.
type (
	// Tool is one terraform or tofu binary.
	Tool = terraform.Tool
	// Changes counts what a plan would do, or what an apply did.
	Changes = terraform.Changes
	// Resource is one resource's part of a plan or of an apply.
	Resource = terraform.Resource
	// Failure is why a job failed, in terraform's words.
	Failure = terraform.Failure
	// StateLock is terraform's own lock of a state.
	StateLock = terraform.StateLock
)

// The outcomes of a resource in an apply.
const (
	Done       = terraform.Done
	DidFail    = terraform.DidFail
	HalfDone   = terraform.HalfDone
	NotReached = terraform.NotReached
)

// Summary is the part of a Result that is small enough to be kept in records.
type Summary struct {
	End     End       `json:"end"`
	Changes Changes   `json:"changes"`
	Failure *Failure  `json:"failure,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
	// Evidence is what is known of a job whose End is Unknown or Interrupted, for people.
	Evidence []string `json:"evidence,omitempty"`
	// Released is the lock that was broken before it was planned.
	Released string `json:"released,omitempty"`
	// Killed: an apply was ended by SIGKILL. What it did last may be missing in its state.
	Killed bool `json:"killed,omitempty"`
}

// Result is what a job produced. It is kept as result.json in the job's directory.
type Result struct {
	Format int `json:"format"`
	Summary
	// Resources is in the order of addresses: what a plan would do; for an apply, what became of each.
	Resources []Resource `json:"resources,omitempty"`
	// Text is terraform's own words for people: the plan, without legend and refresh lines. At most 512 KiB.
	Text string `json:"text,omitempty"`
	// PlanFile is the plan file that was made, absolute, with its SHA-256. Empty when there is none.
	PlanFile   string `json:"plan_file,omitempty"`
	PlanSHA256 string `json:"plan_sha256,omitempty"`
	// LocalState: the state of this project lies inside the checkout (no backend block).
	LocalState bool `json:"local_state,omitempty"`
	// LogCut says, for people, why the logs have not all that was printed. Empty when they have.
	LogCut string `json:"log_cut,omitempty"`
	// ErroredState is the saved copy of errored.tfstate, when terraform left one.
	ErroredState string `json:"errored_state,omitempty"`
}
