package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// prepareProviders makes sure that what the project needs is in the store of providers.
func (w *work) prepareProviders(ctx context.Context) (*step, error) { return nil, nil }

// jobCLIConfig writes the job's CLI configuration.
func (w *work) jobCLIConfig() error { return nil }

// longHash hashes parts so that no two lists of parts hash the same text.
func longHash(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
