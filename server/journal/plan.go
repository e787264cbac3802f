package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/vcs"
)

// PlanState is what a stored plan is still good for.
type PlanState string

// The states of a plan.
const (
	PlanReady      PlanState = "ready"
	PlanNoChanges  PlanState = "no changes"
	PlanApplied    PlanState = "applied"
	PlanDiscarded  PlanState = "discarded"
	PlanSuperseded PlanState = "superseded"
	PlanStale      PlanState = "stale"
)

// Open reports whether something can still become of the plan. Once it can't, it never can again.
func (s PlanState) Open() bool { return s == PlanReady || s == PlanNoChanges }

// ErrPlanOver says that a plan that was applied, discarded, superseded or is stale is never ready again.
var ErrPlanOver = errors.New("the plan is over")

// Plan is a stored plan of one project of one pull request, with what it was made from.
type Plan struct {
	// Format is of this record; set by PutPlan.
	Format int `json:"format"`
	// ID is "<run>/<n>".
	ID      string         `json:"id"`
	Pull    vcs.PullID     `json:"pull"`
	Project runner.Project `json:"project"`
	State   PlanState      `json:"state"`
	// Run and N name the job that made it.
	Run string `json:"run"`
	N   int    `json:"n"`
	// File is the stored plan file, absolute, with its SHA-256.
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	// Digest is the input digest: what freshness is judged by.
	Digest string `json:"digest,omitempty"`
	// Head, Base and Tree are for people.
	Head string      `json:"head,omitempty"`
	Base string      `json:"base,omitempty"`
	Tree string      `json:"tree,omitempty"`
	Tool runner.Tool `json:"tool"`
	// Checkout and TFData are the absolute directories that it was made in.
	Checkout string `json:"checkout,omitempty"`
	TFData   string `json:"tf_data,omitempty"`
	// CheckoutID is of the files in Checkout; empty in plans of older versions.
	CheckoutID string `json:"checkout_id,omitempty"`
	// LocalState: the project's state lies inside the checkout.
	LocalState   bool      `json:"local_state,omitempty"`
	Requirements []string  `json:"requirements,omitempty"`
	Made         time.Time `json:"made"`
	// Report is the comment that it stood in, and ReportedAt the forge's time of that; 0: none yet.
	Report     int64          `json:"report,omitempty"`
	ReportedAt time.Time      `json:"reported_at,omitzero"`
	Changes    runner.Changes `json:"changes"`
	// By, Why and Changed tell of the last change of State.
	By      string    `json:"by,omitempty"`
	Why     string    `json:"why,omitempty"`
	Changed time.Time `json:"changed,omitzero"`
}

// planFormat is the newest format of a Plan that is read.
const planFormat = 1

// format lets a plan of a newer Tidegate be refused before anything is made of it.
func (p Plan) format() (is, known int) { return p.Format, planFormat }

// PutPlan makes p the current plan of its project. The one before is superseded in the same
// transaction; if something came of it already, it keeps saying what. A plan that is over is not put
// again: everything stays as it is.
func (j *Journal) PutPlan(ctx context.Context, p Plan) error {
	p.Format = planFormat
	if p.ID != fmt.Sprintf("%s/%d", p.Run, p.N) {
		return fmt.Errorf("journalling plan %q: it belongs to job %s/%d", p.ID, p.Run, p.N)
	}
	if !utf8.ValidString(p.Project.Dir + p.Project.Workspace + p.Project.Name) {
		return fmt.Errorf("journalling plan %s: the project's names are not UTF-8", p.ID)
	}
	now := time.Now().UTC()
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		if old, ok := before[Plan](tx, bucketPlans, []byte(p.ID)); ok && !old.State.Open() {
			return none{}, nil // the job was carried out once more after a crash
		}
		current := append(pullKey(p.Pull), projectKey(p.Project)...)
		if id := in(tx, bucketPlansCurrent).Get(current); id != nil && string(id) != p.ID {
			if err := supersede(tx, bytes.Clone(id), p.ID, now); err != nil {
				return none{}, err
			}
		}
		if err := put(tx, bucketPlans, []byte(p.ID), p); err != nil {
			return none{}, err
		}
		return none{}, in(tx, bucketPlansCurrent).Put(current, []byte(p.ID))
	})
	if err != nil {
		return fmt.Errorf("journalling plan %s: %w", p.ID, err)
	}
	return nil
}

func supersede(tx *bbolt.Tx, id []byte, by string, now time.Time) error {
	old, ok := before[Plan](tx, bucketPlans, id)
	if !ok || !old.State.Open() {
		return nil
	}
	old.State, old.By, old.Why, old.Changed = PlanSuperseded, "", "planned again as "+by, now
	return put(tx, bucketPlans, id, old)
}

// Plans lists the current plan of each project of a pull request, whatever its state, in the order of
// the projects.
func (j *Journal) Plans(ctx context.Context, pull vcs.PullID) ([]Plan, error) {
	return view(ctx, j, func(tx *bbolt.Tx) ([]Plan, error) {
		var out gathered[Plan]
		prefix := pullKey(pull)
		c := in(tx, bucketPlansCurrent).Cursor()
		for k, id := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, id = c.Next() {
			if err := out.add(named[Plan](tx, bucketPlans, id)); err != nil {
				return nil, err
			}
		}
		return out.answer()
	})
}

// Plan reads one plan, whether it is the current one of its project or not.
func (j *Journal) Plan(ctx context.Context, id string) (Plan, bool, error) {
	return lookup[Plan](ctx, j, bucketPlans, []byte(id))
}

// SetPlanState changes what a plan is good for. ErrPlanOver when it should be ready again.
func (j *Journal) SetPlanState(ctx context.Context, id string, state PlanState, by, why string) error {
	now := time.Now().UTC()
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		p, err := must[Plan](tx, bucketPlans, []byte(id))
		if err != nil {
			return none{}, err
		}
		if state.Open() && !p.State.Open() {
			return none{}, fmt.Errorf("it is %s: %w", p.State, ErrPlanOver)
		}
		p.State, p.By, p.Why, p.Changed = state, by, why, now
		return none{}, put(tx, bucketPlans, []byte(id), p)
	})
	if err != nil {
		return fmt.Errorf("marking plan %s as %s: %w", id, state, err)
	}
	return nil
}

// ReportPlans stamps every plan of a run with the comment it stood in, all or none. at is the forge's
// time of that comment. A damaged plan, which can't be applied, is passed over.
func (j *Journal) ReportPlans(ctx context.Context, run string, comment int64, at time.Time) error {
	_, err := write(ctx, j, func(tx *bbolt.Tx) (none, error) {
		plans, err := list[Plan](tx, bucketPlans, []byte(run+"/"))
		if err != nil && !Damaged(err) {
			return none{}, err
		}
		for _, p := range plans {
			p.Report, p.ReportedAt = comment, at
			if err := put(tx, bucketPlans, []byte(p.ID), p); err != nil {
				return none{}, err
			}
		}
		return none{}, nil
	})
	if err != nil {
		return fmt.Errorf("stamping the plans of run %s: %w", run, err)
	}
	return nil
}
