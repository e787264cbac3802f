package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strconv"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/e2e/internal/httpstate"
	"github.com/tidegate/tidegate/e2e/internal/s3state"
)

// states is where a story's projects keep their state: servers of terraform's http and s3 backends.
type states struct {
	httpstate.Server
	http *httptest.Server

	objects s3state.Server
	s3      *httptest.Server
}

func newStates() *states {
	s := &states{}
	s.http, s.s3 = httptest.NewServer(&s.Server), httptest.NewServer(&s.objects)
	return s
}

func (s *states) close() {
	s.http.Close()
	s.s3.Close()
}

// object [put] BUCKET/KEY FILE: what the s3 backend has there.
func cmdObject(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "object [put] BUCKET/KEY FILE"); err != nil {
		return err
	}
	if args[0] == "put" {
		w.states.objects.Put(args[1], []byte(ts.ReadFile(args[2])))
		return nil
	}
	raw := w.states.objects.Object(args[0])
	if raw == nil {
		return errors.New("there is no such object")
	}
	return os.WriteFile(ts.MkAbs(args[1]), raw, 0o600)
}

// state get NAME FILE, state lock NAME FILE, state seize NAME FILE, state free NAME, state refuse NAME STATUS, state asked
// NAME N: what the http backend has.
func cmdState(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "state get|lock|seize|free|refuse|asked NAME [FILE|STATUS|N]"); err != nil {
		return err
	}
	name := args[1]
	if args[0] == "free" {
		return w.states.SetLock(name, httpstate.Lock{})
	}
	if err := need(args, 3, "state "+args[0]+" NAME FILE"); err != nil {
		return err
	}
	switch args[0] {
	case "get":
		raw := w.states.State(name)
		if raw == nil {
			return errors.New("there is no state")
		}
		return os.WriteFile(ts.MkAbs(args[2]), raw, 0o600)
	case "lock":
		l, held := w.states.Lock(name)
		if !held {
			return errors.New("the state is not locked")
		}
		raw, err := json.Marshal(l)
		if err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[2]), raw, 0o600)
	case "seize":
		var l httpstate.Lock
		if err := json.Unmarshal([]byte(ts.ReadFile(args[2])), &l); err != nil {
			return err
		}
		return w.states.SetLock(name, l)
	case "asked":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		before := w.states.Denied(name)
		return w.until("somebody to ask for the lock", func() (bool, error) {
			got := w.states.Denied(name) - before
			return got >= n, fmt.Errorf("it was asked for %d times", got)
		})
	case "refuse":
		status, err := strconv.Atoi(args[2])
		w.states.Refuse(name, status)
		return err
	default:
		return fmt.Errorf("there is no state %s", args[0])
	}
}

// stopAll is the end of the machine: the server, its supervisors and all that they run die at once. Nobody
// is to see another's end, so all are halted first.
func (w *world) stopAll() error {
	if err := w.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	halted := map[int]bool{}
	for more := true; more; {
		more = false
		found, err := processesOf(w.data)
		if err != nil {
			return err
		}
		for _, f := range found {
			var pid int
			if _, err := fmt.Sscan(f, &pid); err != nil {
				return err
			}
			if !halted[pid] && syscall.Kill(pid, syscall.SIGSTOP) == nil {
				halted[pid], more = true, true
			}
		}
	}
	for pid := range halted {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return w.stop(syscall.SIGKILL)
}
