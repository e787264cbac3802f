package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// faults RATE [SEED] [KIND,...]: from now on so many of a hundred calls of the bot, and of the webhooks, go
// wrong. faults off ends it.
func cmdFaults(_ *testscript.TestScript, w *world, args []string) error {
	const usage = "faults RATE [SEED] [KIND,...] | faults off"
	if err := need(args, 1, usage); err != nil {
		return err
	}
	if args[0] == "off" {
		w.forge.SetFaults(devforge.Faults{})
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
	w.forge.SetFaults(plan)
	return nil
}
