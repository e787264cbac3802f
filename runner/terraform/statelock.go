package terraform

import (
	"strings"
	"time"
)

// StateLock is terraform's own lock of a state, as the terraform that did not get it told of it. What
// is not known of it is zero.
type StateLock struct {
	ID string `json:"id,omitempty"`
	// Operation is terraform's word for what holds it: OperationTypeApply, OperationTypePlan ...
	Operation string `json:"operation,omitempty"`
	// Who is user@host.
	Who     string    `json:"who,omitempty"`
	Version string    `json:"version,omitempty"`
	Path    string    `json:"path,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Waited is how long terraform waited for it.
	Waited time.Duration `json:"waited,omitempty"`
	// Forcible: it can be broken with `terraform force-unlock`.
	Forcible bool `json:"forcible,omitempty"`
	// Left is the job of ours that has left it and is dead; "" when that is not certain.
	Left string `json:"left,omitempty"`
}

const (
	lockSummary = "Error acquiring the state lock"
	// maxLockWord bounds one value of a lock.
	maxLockWord = 256
)

// lockOf reads from a failure who holds the state. Nil: that is not why it failed.
//
// terraform's http backend fills in the lock that was asked for where others show the one that is held
// (https://github.com/opentofu/opentofu/issues/2004): only the id in the message is the holder's then.
func lockOf(f Failure) *StateLock {
	if f.Summary != lockSummary {
		return nil
	}
	message, info, found := strings.Cut(f.Text, "Lock Info:\n")
	if !found || strings.Contains(info, "Lock Info:") { // who holds it may have put a second one into the first
		return &StateLock{}
	}
	lock, ok := lockInfo(info)
	if !ok {
		return &StateLock{}
	}
	words := strings.Join(strings.Fields(message), " ") // it is wrapped
	_, after, isHTTP := strings.Cut(words, "HTTP remote state already locked")
	if !isHTTP {
		return &lock
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(after, ": ID="), " ")
	if id != "" && id == lock.ID {
		return &lock
	}
	if !strings.HasPrefix(after, ": ID=") {
		id = ""
	}
	return &StateLock{ID: limitWord(id)}
}

// lockInfo reads the lines that terraform writes of a lock, all of them and in their order: whatever
// stands otherwise is not from terraform.
func lockInfo(info string) (StateLock, bool) {
	var lock StateLock
	var created string
	lines := strings.Split(info, "\n")
	for i, field := range []struct {
		name string
		to   *string
	}{
		{"ID", &lock.ID},
		{"Path", &lock.Path},
		{"Operation", &lock.Operation},
		{"Who", &lock.Who},
		{"Version", &lock.Version},
		{"Created", &created},
	} {
		if i >= len(lines) {
			return StateLock{}, false
		}
		value, ok := strings.CutPrefix(lines[i], "  "+field.name+":")
		if !ok {
			return StateLock{}, false
		}
		*field.to = limitWord(strings.TrimSpace(value))
	}
	created, _, _ = strings.Cut(created, " m=")
	// What can't be read as a time is not known.
	lock.Created, _ = time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", created)
	lock.Created = lock.Created.UTC()
	return lock, true
}

func limitWord(s string) string {
	if len(s) <= maxLockWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxLockWord], "")
}

// CanForce reports whether the lock can be named to `terraform force-unlock`. An id that could be taken
// for an option, or for anything but an id, can't.
func (l *StateLock) CanForce() bool {
	if l == nil || l.ID == "" || len(l.ID) >= maxLockWord {
		return false
	}
	const also = "._/:+=@-"
	for i, r := range l.ID {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune(also, r)) {
			return false
		}
	}
	return true
}
