package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/runner/smalldisk"
	"github.com/tidegate/tidegate/runner/terraform"
)

// An apply that finds no room before its terraform is there was not started, and that is known although nothing can be
// written.
func TestAnApplyThatFindsNoRoomIsNotStarted(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	plan := s.plan("1").PlanFile
	s.started()
	for name, options := range map[string]string{"no bytes": "size=16k", "no files": "size=1m,nr_inodes=2"} {
		disk := smalldisk.New(t, filepath.Join(s.base, name), options)
		if name == "no bytes" {
			disk.Fill(0)
		} else if err := os.Mkdir(filepath.Join(disk.Dir, "filling"), 0o700); err != nil {
			t.Fatal(err)
		}
		job := s.next(name, Apply)
		job.PlanFile, job.Dir = plan, filepath.Join(disk.Dir, "1")
		if got, err := New(s.cfg).Run(t.Context(), job); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: Run = %s, %v, want %v", name, got.End, err, syscall.ENOSPC)
		}
		if got, err := New(s.cfg).Recover(t.Context(), job); err != nil || got.End != NotStarted {
			t.Errorf("%s: Recover = %s, %v, want it not started", name, got.End, err)
		}
	}
	if calls := s.started(); len(calls) > 0 {
		t.Errorf("these were started: %q", calls)
	}
}

// That a step was not started has to be made final, which takes a file: until there is room for it, nothing is said.
func TestNotStartedIsNotSaidBeforeItIsFinal(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": localBackend})
	disk := smalldisk.New(t, filepath.Join(s.base, "small"), "size=1m,nr_inodes=6")
	job := s.next("2", Apply)
	job.PlanFile, job.Dir = filepath.Join(s.base, "none"), filepath.Join(disk.Dir, "1")
	onlySpec(t, job)
	full := filepath.Join(disk.Dir, "full")
	if err := os.MkdirAll(filepath.Join(full, "up"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := New(s.cfg).Recover(t.Context(), job); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Recover on a full disk = %s, %v, want %v", got.End, err, syscall.ENOSPC)
	}
	if err := os.RemoveAll(full); err != nil {
		t.Fatal(err)
	}
	if got, err := New(s.cfg).Recover(t.Context(), job); err != nil || got.End != NotStarted {
		t.Errorf("Recover with room again = %s, %v, want it not started", got.End, err)
	}
}

// A state that terraform could not store is the only copy: an apply has not ended before it is kept, and is found again.
func TestAStateWaitsForRoomToBeKept(t *testing.T) {
	t.Parallel()
	var disk smalldisk.Disk
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			disk.Fill(0)
			w.WriteHeader(http.StatusInsufficientStorage)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(backend.Close)
	s := newSite(t, map[string]string{"main.tf": `
terraform {
  backend "http" {
    address   = "` + backend.URL + `/state"
    retry_max = 0
  }
}
resource "terraform_data" "a" {
  input = format("%020000d", 1)
}
`})
	disk = smalldisk.New(t, filepath.Join(s.base, "small"), "size=1m")
	job := s.next("2", Apply)
	job.PlanFile, job.Dir = s.plan("1").PlanFile, filepath.Join(disk.Dir, "1")
	if got, err := New(s.cfg).Run(t.Context(), job); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Run = %s, %+v, %v, want %v", got.End, got.Failure, err, syscall.ENOSPC)
	}
	if got, err := New(s.cfg).Recover(t.Context(), job); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Recover on a full disk = %s, %v, want %v", got.End, err, syscall.ENOSPC)
	}
	disk.Free()
	got, err := New(s.cfg).Recover(t.Context(), job)
	if err != nil || got.End != PartlyApplied || got.ErroredState == "" {
		t.Fatalf("Recover with room again = %s, state %q, %v", got.End, got.ErroredState, err)
	}
	if kept, err := os.ReadFile(got.ErroredState); err != nil || !strings.Contains(string(kept), "terraform_data") {
		t.Errorf("the state that was kept: %v\n%s", err, kept)
	}
}

// What an apply has done is told even if there is no room to keep it: the step's own marks say it again.
func TestAnApplyIsToldThoughItsResultFindsNoRoom(t *testing.T) {
	t.Parallel()
	var disk smalldisk.Disk
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		disk.Fill(0)
	}))
	t.Cleanup(backend.Close)
	s := newSite(t, map[string]string{"main.tf": `
terraform {
  backend "http" {
    address = "` + backend.URL + `/state"
  }
}
resource "terraform_data" "a" {
  count = 60
}
`})
	disk = smalldisk.New(t, filepath.Join(s.base, "small"), "size=1m")
	job := s.next("2", Apply)
	job.PlanFile, job.Dir = s.plan("1").PlanFile, filepath.Join(disk.Dir, "1")
	if got, err := New(s.cfg).Run(t.Context(), job); err != nil || got.End != Succeeded {
		t.Errorf("Run = %s, %+v, %v, want %s", got.End, got.Failure, err, Succeeded)
	}
	if _, err := LoadResult(job.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadResult = %v, want the result to have found no room", err)
	}
	if got, err := New(s.cfg).Recover(t.Context(), job); err != nil || got.End != Succeeded {
		t.Errorf("Recover = %s, %+v, %v, want %s", got.End, got.Failure, err, Succeeded)
	}
}

// An interrupt takes a file, for which there may be no room: who hears it now is told all the same, and who does not is asked again.
func TestAnInterruptOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, watched := range map[string]bool{"while its supervisor lives": true, "when nobody watches": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, said, _ := newSlowSite(t)
			disk := smalldisk.New(t, filepath.Join(s.base, "small"), "size=4m,nr_inodes=40")
			job := s.next("2", Apply)
			job.PlanFile, job.Dir = s.plan("1").PlanFile, filepath.Join(disk.Dir, "1")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			answers := s.begin(ctx, job)
			waitForLine(t, said, "begun")
			full := filepath.Join(disk.Dir, "full")
			var err error
			for err == nil {
				full = filepath.Join(full, "x")
				err = os.MkdirAll(full, 0o700)
			}
			want := Interrupted
			if !watched {
				mark, one := s.watchers(filepath.Join(job.Dir, "1-apply"))
				s.kill9(one, mark.Supervisor)
				want = Unknown
			}
			cancel()
			if !watched {
				if err := os.RemoveAll(filepath.Join(disk.Dir, "full")); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.soon(answers); got.err != nil || got.result.End != want {
				t.Errorf("Run = %s, %v, want %s", got.result.End, got.err, want)
			}
		})
	}
}

// That a disk is full is said when it is, and terraform's own words stay.
func TestTheWordsForAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	disk := smalldisk.New(t, filepath.Join(s.base, "small"), "size=1m")
	w := &work{cfg: s.cfg, job: Job{Dir: filepath.Join(s.base, "data")}}
	exit := terraform.Exit{Started: true, Known: true, Code: 1}
	lock := &StateLock{ID: "7"}
	own := &Failure{Summary: "Failed to write", Text: "Error: Failed to write\n\nwrite x: no\nspace left on device", Lock: lock}
	other := &Failure{Summary: "local-exec provisioner error", Text: "Error: local-exec provisioner error"}
	if got := w.why("plan", exit, "", own); got != own {
		t.Errorf("with room: %+v, want terraform's own words", got)
	}
	w.job.Dir = disk.Dir
	if got := w.why("plan", exit, "alert: no space left on device", other); got != other {
		t.Errorf("words of a provisioner: %+v, want terraform's own", got)
	}
	got := w.why("plan", exit, "", own)
	if got.Summary != "no space left on device" || !strings.Contains(got.Text, "Who runs this server") || !strings.HasSuffix(got.Text, own.Text) || got.Lock != lock {
		t.Errorf("without room: %+v, want both", got)
	}
}

// What terraform says of a disk that is full is known as that.
func TestAPlanOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	disk := smalldisk.New(t, s.cfg.Data, "size=4m")
	s.write(map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {\n  input = filebase64(\"noise\")\n}\n"})
	noise := make([]byte, 300<<10) // what a plan file can't make smaller
	_, _ = rand.Read(noise)
	if err := os.WriteFile(filepath.Join(s.job.Checkout, "noise"), noise, 0o600); err != nil {
		t.Fatal(err)
	}
	said, word := s.fifo("said"), s.fifo("word")
	s.stub("plan", "echo begun >'"+said.Name()+"'; read word <'"+word.Name()+"'")
	answers := s.begin(t.Context(), s.next("1", Plan))
	waitForLine(t, said, "begun")
	disk.Fill(200 << 10)
	if _, err := word.WriteString("go-on\n"); err != nil {
		t.Fatal(err)
	}
	got := s.soon(answers)
	if got.err != nil || got.result.End != Failed || got.result.Failure.Summary != "no space left on device" {
		t.Fatalf("Run = %s, %+v, %v", got.result.End, got.result.Failure, got.err)
	}
	if text := got.result.Failure.Text; !strings.Contains(text, "Who runs this server") || !terraform.OutOfDisk(text) {
		t.Errorf("text = %q, want ours and what was printed, if there was room for it", text)
	}
}
