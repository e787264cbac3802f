package terraform

// Terraform and OpenTofu are the distributions that a project can ask for.
const (
	Terraform = "terraform"
	OpenTofu  = "opentofu"
)

// Tool is one terraform or tofu binary.
type Tool struct {
	// Distribution is "terraform" or "opentofu".
	Distribution string `json:"distribution"`
	Version      string `json:"version"`
	Path         string `json:"path"`
}

// String is "terraform 1.11.4".
func (t Tool) String() string { return t.Distribution + " " + t.Version }
