package terraform

import "strings"

// NeedsInit reports that a command failed with one of the errors by which terraform asks for init.
func NeedsInit(log string) bool {
	for line := range strings.SplitSeq(Clean(log), "\n") {
		summary, ok := strings.CutPrefix(line, "Error: ")
		if !ok {
			continue
		}
		for _, start := range []string{
			"Backend initialization required", "Module not installed", "Module source has changed",
			"Module version requirements have changed", "Inconsistent dependency lock file",
			"Required plugins are not installed", "HCP Terraform initialization required",
			"Cloud backend initialization required",
		} {
			if strings.HasPrefix(summary, start) {
				return true
			}
		}
	}
	return false
}
