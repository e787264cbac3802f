package terraform

import "strings"

// Changes counts what a plan would do, or what an apply did. A replacement counts once, as Replace.
type Changes struct {
	Import  int `json:"import,omitempty"`
	Add     int `json:"add,omitempty"`
	Change  int `json:"change,omitempty"`
	Replace int `json:"replace,omitempty"`
	Destroy int `json:"destroy,omitempty"`
	Forget  int `json:"forget,omitempty"`
	// Move counts objects that only get another address. Applying them writes the state, so a plan
	// with nothing else is not without changes.
	Move int `json:"move,omitempty"`
	// Outputs reports changed output values.
	Outputs bool `json:"outputs,omitempty"`
	// Known is false when the plan has no facts that can be read (an encrypted plan, a cloud plan).
	Known bool `json:"known"`
}

// Empty reports whether it is known that nothing changes.
func (c Changes) Empty() bool {
	return c.Known && !c.Outputs && c.Import+c.Add+c.Change+c.Replace+c.Destroy+c.Forget+c.Move == 0
}

// The actions of a Resource.
const (
	Create  = "create"
	Update  = "update"
	Replace = "replace"
	Delete  = "delete"
	Import  = "import"
	Forget  = "forget"
	Read    = "read"
	Move    = "move"
)

// Resource is one resource's part of a plan or of an apply.
type Resource struct {
	Address string `json:"address"`
	// Action is one of: create, update, replace, delete, import, forget, read, move.
	Action string `json:"action"`
	// Imported is set where the object is imported first, whatever the action is.
	Imported bool `json:"imported,omitempty"`
	// ForcedBy names the attributes that force a replacement, where terraform says so.
	ForcedBy []string `json:"forced_by,omitempty"`
	// Outcome is set for an apply: done, failed, half done (destroyed, not created again), not reached.
	Outcome string `json:"outcome,omitempty"`
	// Deposed is the key of a deposed object.
	Deposed string `json:"deposed,omitempty"`
}

// The outcomes of a resource in an apply.
const (
	Done       = "done"
	DidFail    = "failed"
	HalfDone   = "half done"
	NotReached = "not reached"
)

// Failure is why a job failed, in terraform's words.
type Failure struct {
	// Summary is one line ("Reference to undeclared resource").
	Summary string `json:"summary"`
	// Text is the whole message, without colours and boxes. At most 16 KiB.
	Text string `json:"text"`
	// Lock is set when it failed because somebody else has locked the state.
	Lock *StateLock `json:"lock,omitempty"`
}

// count adds one resource to the counts.
func (c *Changes) count(r Resource) {
	if r.Imported {
		c.Import++
	}
	switch r.Action {
	case Create:
		c.Add++
	case Update:
		c.Change++
	case Replace:
		c.Replace++
	case Delete:
		c.Destroy++
	case Forget:
		c.Forget++
	case Move:
		c.Move++
	}
}

// Count counts resources, all of them taken as done.
func Count(resources []Resource) Changes {
	c := Changes{Known: true}
	for _, r := range resources {
		c.count(r)
	}
	return c
}

func compareResources(a, b Resource) int {
	if n := strings.Compare(a.Address, b.Address); n != 0 {
		return n
	}
	return strings.Compare(a.Deposed, b.Deposed)
}
