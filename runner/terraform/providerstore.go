package terraform

import "log/slog"

// ProviderStore keeps unpacked provider packages for all jobs.
type ProviderStore struct {
	Dir     string
	Environ []string
	Log     *slog.Logger
}
