package terraform

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// What terraform 1.11.4 printed, on S3 and on the http backend.
const (
	lockedS3 = `
Error: Error acquiring the state lock

Error message: operation error S3: PutObject, https response error
StatusCode: 412, RequestID: , HostID: , api error PreconditionFailed: At least
one of the pre-conditions you specified did not hold
Lock Info:
  ID:        6ac32374-a9fa-96f0-cc9a-e5b4b0c5c1d4
  Path:      states/network
  Operation: OperationTypeApply
  Who:       root@vm
  Version:   1.11.4
  Created:   2026-11-24 11:12:41.405577489 +0000 UTC
  Info:      


Terraform acquires a state lock to protect the state from being written
by multiple users at the same time. Please resolve the issue above and try
again. For most commands, you can disable locking with the "-lock=false"
flag, but this is not recommended.
`
	lockedHTTP = `
╷
│ Error: Error acquiring the state lock
│ 
│ Error message: HTTP remote state already locked:
│ ID=c7a894b7-d4d0-d360-88e3-78a9f7205952
│ Lock Info:
│   ID:        e8a04de8-2682-06cf-744e-6b885dbf5b10
│   Path:      
│   Operation: OperationTypePlan
│   Who:       root@vm
│   Version:   1.11.4
│   Created:   2026-11-24 11:12:43.405577489 +0000 UTC
│   Info:      
╵
`
)

func TestStateLock(t *testing.T) {
	t.Parallel()
	s3 := &StateLock{
		ID: "6ac32374-a9fa-96f0-cc9a-e5b4b0c5c1d4", Path: "states/network", Operation: "OperationTypeApply", Who: "root@vm",
		Version: "1.11.4", Created: time.Date(2026, 11, 24, 11, 12, 41, 405577489, time.UTC),
	}
	asked := &StateLock{
		ID: "e8a04de8-2682-06cf-744e-6b885dbf5b10", Operation: "OperationTypePlan", Who: "root@vm", Version: "1.11.4",
		Created: time.Date(2026, 11, 24, 11, 12, 43, 405577489, time.UTC),
	}
	for name, test := range map[string]struct {
		log  string
		want *StateLock
	}{
		"s3":                  {lockedS3, s3},
		"http":                {lockedHTTP, &StateLock{ID: "c7a894b7-d4d0-d360-88e3-78a9f7205952"}},
		"http of its own":     {strings.Replace(lockedHTTP, "c7a894b7-d4d0-d360-88e3-78a9f7205952", asked.ID, 1), asked},
		"http without an id":  {strings.Replace(lockedHTTP, ":\n│ ID=c7a894b7-d4d0-d360-88e3-78a9f7205952", ", failed to unmarshal body", 1), &StateLock{}},
		"a time that is none": {strings.Replace(lockedS3, "2026-11-24 11", "yesterday", 1), &StateLock{ID: s3.ID, Path: s3.Path, Operation: s3.Operation, Who: s3.Who, Version: s3.Version}},
		"a line in between":   {strings.Replace(lockedS3, "states/network", "states/network\n  Who:       me@here", 1), &StateLock{}},
		"a lock in the lock":  {strings.Replace(lockedS3, "  Info:      \n", "  Info:      Lock Info:\n  ID: x\n", 1), &StateLock{}},
		"cut off":             {lockedS3[:strings.Index(lockedS3, "  Who:")], &StateLock{}},
		"nothing of a lock":   {"Error: Error acquiring the state lock\n\nError message: 2 errors occurred\n", &StateLock{}},
		"another error":       {strings.Replace(lockedS3, "Error: Error acquiring", "Error: Error releasing", 1), nil},
		"after another error": {"Error: Invalid reference\n\n  on main.tf line 1\n" + lockedS3, nil},
		"no error":            {"Lock Info:\n  ID: x\n", nil},
		"long words are bounded": {strings.Replace(lockedS3, "root@vm", strings.Repeat("ü", 300), 1), &StateLock{
			ID: s3.ID, Path: s3.Path, Operation: s3.Operation, Who: strings.Repeat("ü", maxLockWord/2), Version: s3.Version, Created: s3.Created,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, ErrorText(test.log, "").Lock); diff != "" {
				t.Errorf("ErrorText(%q).Lock (-want +got):\n%s", test.log, diff)
			}
		})
	}
}

func TestStateLockOfAnApply(t *testing.T) {
	t.Parallel()
	log := &ApplyLog{}
	log.Add(`{"@level":"error","@message":"Error: Error acquiring the state lock","type":"diagnostic","diagnostic":{"severity":"error",` +
		`"summary":"Error acquiring the state lock","detail":"Error message: denied\nLock Info:\n  ID:        7\n  Path:      p\n  Operation: OperationTypePlan\n  Who:       a@b\n  Version:   1.11.4\n  Created:   2026-11-24 11:12:41 +0000 UTC\n  Info:      \n\n\nTerraform acquires"}}`)
	want := &StateLock{ID: "7", Path: "p", Operation: "OperationTypePlan", Who: "a@b", Version: "1.11.4", Created: time.Date(2026, 11, 24, 11, 12, 41, 0, time.UTC)}
	if diff := cmp.Diff(want, log.Failure().Lock); diff != "" {
		t.Errorf("Failure().Lock (-want +got):\n%s", diff)
	}
}

func TestCanForce(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"6ac32374-a9fa-96f0-cc9a-e5b4b0c5c1d4": true,
		"1732443161405577":                     true,
		"acme/network":                         true,
		"":                                     false,
		"-lock=false":                          false,
		"a b":                                  false,
		"a\nb":                                 false,
		"$(id)":                                false,
		"ü":                                    false,
		strings.Repeat("a", maxLockWord):       false,
	} {
		if got := (&StateLock{ID: id}).CanForce(); got != want {
			t.Errorf("CanForce(%q) = %v, want %v", id, got, want)
		}
	}
	if (*StateLock)(nil).CanForce() {
		t.Error("no lock can be forced")
	}
}

func FuzzStateLock(f *testing.F) {
	f.Add(lockedS3)
	f.Add(lockedHTTP)
	f.Fuzz(func(t *testing.T, log string) {
		lock := ErrorText(log, "").Lock
		if lock == nil {
			return
		}
		for _, word := range []string{lock.ID, lock.Path, lock.Operation, lock.Who, lock.Version} {
			if len(word) > maxLockWord || !utf8.ValidString(word) || strings.ContainsAny(word, "\n\x1b") {
				t.Errorf("a word of the lock is %q", word)
			}
		}
		if lock.CanForce() && (lock.ID[0] == '-' || strings.ContainsAny(lock.ID, " \t\"'`$;&|<>")) {
			t.Errorf("the id %q may be named", lock.ID)
		}
	})
}
