package supervisor

import (
	"bytes"
	"sync"
)

// interruptWords are what terraform and tofu print, in all their formats, as soon as they were
// interrupted.
const interruptWords = "Interrupt received"

// ear listens for interruptWords in the output.
type ear struct {
	mu   sync.Mutex
	end  []byte // of what was heard last: the words may come in pieces
	said bool
}

func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.said {
		return len(p), nil
	}
	const overlap = len(interruptWords) - 1
	seam := append(e.end, p[:min(len(p), overlap)]...)
	e.said = bytes.Contains(seam, []byte(interruptWords)) || bytes.Contains(p, []byte(interruptWords))
	last := p
	if len(p) < overlap {
		last = seam
	}
	e.end = bytes.Clone(last[max(0, len(last)-overlap):])
	return len(p), nil
}

func (e *ear) heard() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.said
}
