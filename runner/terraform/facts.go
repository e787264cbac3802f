package terraform

// Changes counts what a plan would do, or what an apply did. A replacement counts once, as Replace.
type Changes struct {
	Import  int `json:"import,omitempty"`
	Add     int `json:"add,omitempty"`
	Change  int `json:"change,omitempty"`
	Replace int `json:"replace,omitempty"`
	Destroy int `json:"destroy,omitempty"`
	Forget  int `json:"forget,omitempty"`
	// Outputs reports changed output values.
	Outputs bool `json:"outputs,omitempty"`
	// Known is false when the plan has no facts that can be read (an encrypted plan, a cloud plan).
	Known bool `json:"known"`
}

// Empty reports whether it is known that nothing changes.
func (c Changes) Empty() bool {
	return c.Known && !c.Outputs && c.Import+c.Add+c.Change+c.Replace+c.Destroy+c.Forget == 0
}

// Resource is one resource's part of a plan or of an apply.
type Resource struct {
	Address string `json:"address"`
	// Action is one of: create, update, replace, delete, import, forget, read.
	Action string `json:"action"`
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
}

