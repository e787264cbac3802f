package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// TestFaults tells one story once for every fault of a forge: whatever it does, each command gets its one
// answer, and the statuses are right in the end.
func TestFaults(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("testdata", "faults.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	p, dir := params(t), t.TempDir()
	for name, faults := range faultMatrix() {
		file := filepath.Join(dir, name+".txtar")
		story := strings.ReplaceAll(string(raw), "@FAULTS@", faults)
		if err := os.WriteFile(file, []byte(story), 0o600); err != nil {
			t.Fatal(err)
		}
		p.Files = append(p.Files, file)
	}
	slices.Sort(p.Files)
	testscript.Run(t, p)
}

// faultMatrix is every fault of a call alone, every one of a webhook alone, and all at once.
func faultMatrix() map[string]string {
	all := map[string]string{"everything-1": "30% 1", "everything-2": "30% 2"}
	for i, kind := range devforge.FaultKinds() {
		rate := "30%"
		if kind == devforge.FaultDrop || kind == devforge.FaultDuplicate || kind == devforge.FaultReorder {
			rate = "60%"
		}
		all[string(kind)] = fmt.Sprintf("%s %d %s", rate, i, kind)
	}
	return all
}

// faults RATE [SEED] [KIND,...]: from now on so many of a hundred calls of the bot, and of the webhooks, go
// wrong. faults off ends it.
func cmdFaults(_ *testscript.TestScript, w *world, args []string) error {
	const usage = "faults RATE [SEED] [KIND,...] | faults off"
	if err := need(args, 1, usage); err != nil {
		return err
	}
	if args[0] == "off" {
		w.dev.SetFaults(devforge.Faults{})
		return nil
	}
	plan := devforge.Faults{User: bot, Seed: 1, Late: 300 * time.Millisecond, RetryAfter: time.Second}
	rate, err := strconv.ParseFloat(strings.TrimSuffix(args[0], "%"), 64)
	if err != nil {
		return fmt.Errorf("usage: %s: %w", usage, err)
	}
	plan.Rate = rate / 100
	if len(args) > 1 {
		if plan.Seed, err = strconv.ParseUint(args[1], 10, 64); err != nil {
			return fmt.Errorf("usage: %s: %w", usage, err)
		}
	}
	if len(args) > 2 {
		for k := range strings.SplitSeq(args[2], ",") {
			if !slices.Contains(devforge.FaultKinds(), devforge.Fault(k)) {
				return fmt.Errorf("there is no fault %q among %q", k, devforge.FaultKinds())
			}
			plan.Kinds = append(plan.Kinds, devforge.Fault(k))
		}
	}
	w.dev.SetFaults(plan)
	return nil
}

// lock N: locks the conversation, so that only those may comment who may write.
func cmdLock(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "lock N"); err != nil {
		return err
	}
	_, err := w.api(ana, http.MethodPut, repoPath("/issues/%s/lock", args[0]), map[string]string{}, nil)
	return err
}

// permit USER read|write: what the user may do from now on.
func cmdPermit(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "permit USER read|write"); err != nil {
		return err
	}
	return w.dev.SetPermission(owner, name, args[0], args[1])
}

// run N FILE: the page of the newest run on pull request N, when it has ended.
func cmdRun(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "run N FILE"); err != nil {
		return err
	}
	if err := w.idle(); err != nil {
		return err
	}
	_, index, err := w.get("/")
	if err != nil {
		return err
	}
	mark, _ := w.forge.references()
	for row := range strings.SplitSeq(index, "<tr>") {
		link := runLink.FindString(row)
		if strings.Contains(row, " "+mark+args[0]+"</a>") && link != "" {
			return cmdGet(ts, w, []string{link, args[1]})
		}
	}
	return fmt.Errorf("no run on #%s stands on the page", args[0])
}

var runLink = regexp.MustCompile(`/runs/[0-9A-Z]+`)

// calls UNCHANGED MAX: waits until the bot's calls have been answered so many times more with "not modified", and
// sees that at most MAX were answered otherwise since the last time that a story looked.
func cmdCalls(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "calls UNCHANGED MAX"); err != nil {
		return err
	}
	var want, most int
	if _, err := fmt.Sscan(strings.Join(args, " "), &want, &most); err != nil {
		return err
	}
	before, unchanged := w.counted, w.unchanged
	err := w.until("calls that are answered with nothing new", func() (bool, error) {
		w.counted, w.unchanged = w.dev.Calls(bot)
		return w.unchanged >= unchanged+want, fmt.Errorf("%d counted, %d not", w.counted-before, w.unchanged-unchanged)
	})
	if n := w.counted - before; err == nil && n > most {
		return fmt.Errorf("%d calls were counted, want at most %d", n, most)
	}
	return err
}
