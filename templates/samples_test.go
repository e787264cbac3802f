package templates_test

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/templates"
)

func footer(command, source string) templates.Footer {
	return templates.Footer{
		HeadSHA: "a1b2c3d4e5", HeadURL: "https://forge.example/c/a1b2c3d", BaseRef: "main", BaseSHA: "9f8e7d6c5b", BaseURL: "https://forge.example/c/9f8e7d6",
		Now: time.Date(2026, 11, 23, 11, 0, 0, 0, time.UTC), Tool: "terraform 1.11.4", Took: 8 * time.Second, LogURL: "https://tg.example/runs/01K9", Ran: command != "cancel",
		Marker: "<!-- tidegate:1 server=tidegate run=01K9 command=" + command + " source=" + source + " part=1/1 mac=00112233445566778899aabbccddeeff -->",
	}
}

const networkPlan = `  # terraform_data.gateway will be created
  + resource "terraform_data" "gateway" {
      + id    = (known after apply)
      + input = "small"
    }

  # terraform_data.subnet will be updated in-place
  ~ resource "terraform_data" "subnet" {
      ~ input = "private-a" -> "public-a"
    }

Plan: 1 to add, 1 to change, 0 to destroy.`

func known(c templates.Changes) templates.Changes {
	c.Known = true
	return c
}

func link(job string) string { return "https://tg.example/runs/01K9#" + job }

func files(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("network/f%02d.tf", i))
	}
	return out
}

// samples are the comments that have a golden, by name.
func samples() map[string]string {
	nine := time.Date(2026, 11, 23, 9, 12, 0, 0, time.UTC)
	ready := func(label string, c templates.Changes) templates.Job {
		return templates.Job{Label: label, State: templates.StateReady, Changes: known(c), LogURL: link(label), Flags: "-d " + label, Text: networkPlan}
	}
	waiting := templates.Job{
		Label: "network", State: templates.StateWaiting, LogURL: link("network"),
		Waiting: &templates.Holder{Ref: "#118", URL: "https://forge.example/pull/118", User: "ana", Since: nine, Ahead: 2},
	}
	our, their := templates.Holder{Ref: "#117", URL: "https://forge.example/pull/117"}, templates.Holder{Ref: "#118", URL: "https://forge.example/pull/118"}
	circle := templates.CircleNote([]templates.Hold{{Label: "dns", Holder: our, Waiter: their}, {Label: "network", Holder: their, Waiter: our}})
	failed := templates.Job{
		Label: "billing", State: templates.StateFailed, LogURL: link("billing"),
		Error: &templates.Failure{Summary: "Reference to undeclared resource", Text: "Error: Reference to undeclared resource\n  on billing/main.tf line 12, in resource \"aws_sns_topic_policy\" \"t\":\nA managed resource has not been declared in the root module."},
	}
	locked := failed
	locked.Label, locked.Flags, locked.Error = "dns", "-d dns", &templates.Failure{Summary: "Error acquiring the state lock", Text: "Error: Error acquiring the state lock\n\nError message: the state is already locked"}
	locked.Lock = &templates.StateLock{ID: "6ac32374-a9fa", Who: "ana@laptop", Operation: "OperationTypeApply", Since: nine, Waited: 30 * time.Second}
	locked.Lock.Forcible = true
	keeps := func(j templates.Job) templates.Job {
		j.PlanKept = true
		return j
	}
	lockedByUs := locked
	ours := *locked.Lock
	ours.Left = true
	lockedByUs.Lock = &ours
	lockedBySome := locked
	lockedBySome.Label, lockedBySome.Flags, lockedBySome.Lock = "vpn", "-d vpn", &templates.StateLock{ID: "7", Waited: 30 * time.Second}
	db := ready("db/prod", templates.Changes{Change: 2, Replace: 1, Destroy: 1})
	db.Dangers = []templates.Danger{
		{Address: "aws_db_instance.main", Action: "replace", ForcedBy: []string{"engine_version"}},
		{Address: "aws_db_parameter_group.pg14", Action: "destroy"},
	}
	var queue []templates.Danger
	for i := range 7 {
		queue = append(queue, templates.Danger{Address: fmt.Sprintf("aws_sqs_queue.jobs[%d]", i), Action: "destroy"})
	}
	manyDestroys := ready("queue", templates.Changes{Destroy: 7})
	manyDestroys.Dangers = queue
	clean := func(label string) templates.Job {
		return templates.Job{Label: label, State: templates.StateNoChanges, Changes: known(templates.Changes{}), LogURL: link(label)}
	}
	vpn := waiting
	vpn.Label, vpn.Workspace = "vpn", "prod"
	vpn.Waiting = &templates.Holder{Ref: "#121", URL: "https://forge.example/pull/121", User: "raj", Since: nine.Add(-32 * time.Minute), Ahead: 2}
	next := waiting
	next.Waiting = &templates.Holder{Ref: "#118", URL: "https://forge.example/pull/118", User: "ana", Since: nine}
	dns := ready("dns", templates.Changes{Add: 1, Destroy: 1})
	dns.Dangers = []templates.Danger{{Address: "aws_route53_record.old_api", Action: "destroy"}}
	twenty := []templates.Job{ready("api", templates.Changes{Add: 1, Change: 3}), failed, next, db, clean("audit"), manyDestroys, vpn, dns}
	for _, label := range []string{"cdn", "ci", "dns/internal", "iam", "logs"} {
		twenty = append(twenty, clean(label))
	}
	for _, label := range []string{"cache", "events", "mail", "search", "users", "video", "web"} {
		twenty = append(twenty, ready(label, templates.Changes{Add: 1}))
	}
	local := ready("loose", templates.Changes{Add: 1})
	local.LocalState = true
	unknown := templates.Job{Label: "gen", State: templates.StateReady, LogURL: link("gen"), Text: "encrypted"}
	outputs := ready("outs", templates.Changes{Outputs: true})
	moved := ready("moved", templates.Changes{Move: 2})
	moved.Text = "  # terraform_data.old has moved to terraform_data.new\n    resource \"terraform_data\" \"new\" {\n        id = \"7\"\n    }\n\nPlan: 0 to add, 0 to change, 0 to destroy."
	big := func(label string, lines int) templates.Job {
		j := ready(label, templates.Changes{Add: lines / 4})
		j.Text = strings.Repeat("  # r[0] will be created\n  + resource \"r\" \"r\" {\n      + id = (known after apply)\n    }\n", lines/4) + "\nPlan: many to add, 0 to change, 0 to destroy."
		return j
	}
	other := templates.Job{
		Label: "cdn", State: templates.StateWaiting, LogURL: link("cdn"),
		Waiting: &templates.Holder{Ref: "#121", URL: "https://forge.example/pull/121", User: "raj", Since: nine.Add(-30 * time.Hour)},
	}
	crowd := func(n, lines int) []templates.Job {
		var out []templates.Job
		for i := range n {
			out = append(out, big(fmt.Sprintf("p%03d", i), lines))
		}
		return out
	}
	applied := func(label string, c templates.Changes) templates.Job {
		return templates.Job{Label: label, State: templates.StateApplied, Changes: known(c), LogURL: link(label)}
	}
	half := templates.Job{
		Label: "network", State: templates.StatePartlyApplied, Changes: known(templates.Changes{Change: 1, Destroy: 1}), LogURL: link("network"), Flags: "-d network",
		Error: &templates.Failure{Summary: "local-exec provisioner error", Text: "Error: local-exec provisioner error\n  on network/main.tf line 11, in resource \"terraform_data\" \"gateway\":\nError running command: exit status 1. Output: quota exceeded"},
		Done: []templates.Done{
			{Address: "terraform_data.old", Action: "delete", Outcome: "done"},
			{Address: "terraform_data.subnet", Action: "update", Outcome: "done"},
			{Address: "terraform_data.gateway", Action: "replace", Outcome: "half done"},
		},
	}
	logCut := ready("dns", templates.Changes{Add: 1})
	logCut.LogCut = "terraform plan printed more than the 16384 KiB that are kept: the middle is left out"
	applyLogCut := applied("dns", templates.Changes{Add: 1})
	applyLogCut.LogCut = "terraform apply printed more than could be written: no space left on device"
	lost := templates.Job{Label: "dns", State: templates.StateUnknown, LogURL: link("dns"), Flags: "-d dns", Evidence: []string{"the state's serial is 9, it was 3", "terraform's state lock is held"}}
	again := lost
	again.Again = true
	glimpsed := again
	glimpsed.Changes = known(templates.Changes{Add: 1})
	glimpsed.Done = []templates.Done{
		{Address: "terraform_data.gateway", Action: "create", Outcome: "done"},
		{Address: "terraform_data.cluster", Action: "replace", Outcome: "half done"},
		{Address: "terraform_data.migration", Action: "create", Outcome: "failed"},
		{Address: "terraform_data.routes", Action: "update"},
		{Address: "terraform_data.moved", Action: "move"},
	}
	crowded := func(kept bool) templates.Job {
		full := &templates.Failure{Summary: "the server's disk is full", Text: "The disk has 3 MiB left. Who runs this server can free some of it or give it more. Then comment again."}
		return templates.Job{Label: "dns", Flags: "-d dns", State: templates.StateFailed, LogURL: link("dns"), Error: full, NoRoom: true, PlanKept: kept}
	}
	keptClean := clean("dns")
	keptClean.Kept = true
	homeless := half
	homeless.Unstored = true
	homeless.Error = &templates.Failure{Summary: "Failed to save state", Text: "Error: Failed to save state\n\nError saving state: HTTP error: 403"}
	homeless.Evidence = []string{"terraform could not store the state and left it in errored.tfstate; a copy is kept"}
	mended := func(push bool, state string, err *templates.Failure) string {
		j := templates.Job{Label: "dns", Flags: "-d dns", State: state, LogURL: link("dns"), Error: err}
		return templates.Mended{Push: push, Job: j, LockID: "6ac32374-a9fa", CommentLimit: 60_000, Footer: footer("state-push", "comment:7")}.Render()
	}
	stopped := half
	stopped.State, stopped.Error = templates.StateInterrupted, nil
	stopped.Evidence = []string{"terraform was interrupted and ended with exit code 1"}
	timed := stopped
	timed.Error = &templates.Failure{
		Summary: "stopped after 45 minutes by --apply-timeout",
		Text:    "Stopped after 45 minutes by --apply-timeout. It was interrupted once, and stopped by itself.\n\nThe last lines of its log:\nterraform_data.gateway: Still creating... [44m50s elapsed]",
	}
	starved := stopped
	starved.Killed = true
	starved.Error = &templates.Failure{
		Summary: "terraform was killed, most likely for want of memory",
		Text:    "Terraform was killed, most likely for want of memory. terraform apply was ended by SIGKILL, and nobody here has sent it.",
	}
	later := templates.Job{Label: "api", State: templates.StateNotStarted, LogURL: link("api"), Flags: "-d api", Error: &templates.Failure{Summary: "its plan is gone", Text: "its plan is gone; plan it again"}}
	plan := func(jobs ...templates.Job) string {
		return templates.Plan{Jobs: jobs, CommentLimit: 60_000, Footer: footer("plan", "push:a1b2c3d")}.Render()
	}
	apply := func(jobs ...templates.Job) string {
		return templates.Apply{Jobs: jobs, CommentLimit: 60_000, Footer: footer("apply", "comment:7")}.Render()
	}
	f := footer("plan", "comment:7")
	unsupported := func(label string) templates.Job {
		return templates.Job{Label: label, State: templates.StateFailed, LogURL: link(label), Flags: "-d " + label, Error: &templates.Failure{
			Summary: "configuration that is not supported yet", Text: "`workflows` (line 5) is not supported yet\nNothing was run with it.",
		}}
	}
	none := f // of an answer for which nothing ran
	none.Ran = false
	return map[string]string{
		"plan_one":            plan(ready("network", templates.Changes{Add: 1, Change: 1})),
		"plan_many":           plan(twenty...),
		"plan_none":           plan(clean("dns"), clean("network")),
		"plan_one_none":       plan(clean("dns")),
		"plan_failed":         plan(failed),
		"plan_no_room":        plan(crowded(false)),
		"plan_no_room_kept":   plan(crowded(true), failed),
		"plan_locked":         plan(locked),
		"plan_locked_more":    plan(locked, lockedBySome, failed, ready("network", templates.Changes{Add: 1})),
		"apply_locked_left":   apply(keeps(lockedByUs)),
		"plan_released":       templates.Plan{Jobs: []templates.Job{ready("dns", templates.Changes{Add: 1})}, Notes: []string{templates.ReleasedNote("dns", "6ac32374-a9fa", "https://tg.example/runs/01K8")}, CommentLimit: 60_000, Footer: footer("plan", "apply:01K8")}.Render(),
		"apply_locked":        apply(keeps(locked)),
		"plan_waiting":        plan(waiting),
		"plan_destroy":        plan(db),
		"plan_local":          plan(local),
		"plan_unknown":        plan(unknown),
		"plan_outputs":        plan(outputs),
		"plan_cancelled":      plan(templates.Job{Label: "dns", State: templates.StateCancelled}),
		"plan_cut":            plan(ready("small", templates.Changes{Add: 1}), big("big", 4000)),
		"plan_log_cut":        plan(logCut),
		"apply_log_cut":       apply(applied("cdn", templates.Changes{Add: 1}), applyLogCut),
		"plan_cut_more":       plan(append(crowd(40, 400), failed)...),
		"plan_left_out":       plan(append(crowd(120, 400), failed)...),
		"plan_moved":          plan(moved),
		"plan_waiting_many":   plan(waiting, vpn, other, ready("api", templates.Changes{Import: 1, Forget: 1}), failed),
		"plan_circle":         templates.Plan{Jobs: []templates.Job{waiting}, Notes: []string{circle}, CommentLimit: 60_000, Footer: f}.Render(),
		"apply_one":           apply(applied("network", templates.Changes{Add: 1, Change: 1})),
		"apply_merging":       templates.Apply{Jobs: []templates.Job{applied("network", templates.Changes{Add: 1})}, Notes: []string{templates.MergingNote("main")}, CommentLimit: 60_000, Footer: footer("apply", "comment:7")}.Render(),
		"apply_unmerged":      templates.Apply{Jobs: []templates.Job{applied("network", templates.Changes{Add: 1})}, Notes: []string{templates.UnmergedNote("`dns` is not planned and applied; comment `plan`")}, CommentLimit: 60_000, Footer: footer("apply", "comment:7")}.Render(),
		"not_merged":          templates.Notice{Headline: "Everything is applied, but this is not merged", Body: []string{templates.NotMergedNote("the status `ci/lint` is missing, and `main` takes nothing without it")}, Footer: none}.Render(),
		"apply_partly":        apply(half, later, applied("dns", templates.Changes{Add: 1})),
		"apply_unknown":       apply(lost),
		"apply_glimpsed":      apply(glimpsed, applied("api", templates.Changes{Add: 1})),
		"apply_unstored":      apply(homeless),
		"force_unlock":        mended(false, templates.StateApplied, nil),
		"force_unlock_not":    mended(false, templates.StateFailed, &templates.Failure{Summary: "Failed to unlock state", Text: "Error: Failed to unlock state\n\nlock ID does not match"}),
		"force_unlock_late":   mended(false, templates.StateNotStarted, &templates.Failure{Summary: "locked by #118", Text: "locked by #118"}),
		"state_push":          mended(true, templates.StateApplied, nil),
		"state_push_not":      mended(true, templates.StateFailed, &templates.Failure{Summary: "Failed to write state", Text: "Error: Failed to write state\n\ncannot import state with serial 3 over newer state with serial 4"}),
		"state_push_lost":     mended(true, templates.StateUnknown, nil),
		"apply_again":         apply(again),
		"plan_submodules":     templates.Plan{Jobs: []templates.Job{keptClean}, Notes: []string{templates.SubmodulesNote([]string{"network/vendor", "a`b", "c", "d", "e", "f", "g"})}, CommentLimit: 60_000, Footer: footer("plan", "comment:7")}.Render(),
		"plan_left":           templates.Plan{Jobs: []templates.Job{keptClean}, Notes: []string{templates.LeftNote("https://tg.example/runs/01K8")}, CommentLimit: 60_000, Footer: footer("plan", "apply:01K8")}.Render(),
		"plan_kept":           plan(ready("network", templates.Changes{Add: 1}), keptClean, clean("audit")),
		"apply_interrupted":   apply(stopped),
		"apply_timeout":       apply(timed),
		"apply_killed":        apply(starved),
		"apply_kept":          apply(half, templates.Job{Label: "api", State: templates.StateNotStarted, LogURL: link("api"), Flags: "-d api"}),
		"apply_refused":       templates.ApplyRefused{Rows: []templates.Refused{{Label: "network", State: "stale", Why: "what it was made from has changed since; plan it again", Moved: []string{"files in `network` changed", "`terraform 1.11.3` became `terraform 1.11.4`"}}, {Label: "dns", Flags: "-d dns"}}, Footer: none}.Render(),
		"apply_refused_wait":  templates.ApplyRefused{Rows: []templates.Refused{{Label: "network", Waiting: waiting.Waiting}}, Footer: none}.Render(),
		"apply_refused_waits": templates.ApplyRefused{Rows: []templates.Refused{{Label: "network", Waiting: waiting.Waiting}, {Label: "dns", Flags: "-d dns"}}, Footer: none}.Render(),
		"plan_unsupported":    plan(unsupported("api"), unsupported("network"), ready("dns", templates.Changes{Add: 1})),
		"apply_refused_one":   templates.ApplyRefused{Rows: []templates.Refused{{Label: "network", State: "not approved", Why: "it needs an approving review"}}, Footer: none}.Render(),
		"config":              templates.Problems{Command: "Plan", File: "atlantis.yaml", Rows: []templates.Problem{{Where: "line 7, column 5", URL: "https://forge.example/b/a1b2c3d/atlantis.yaml#L7", Key: "projects[1].worklfow", Text: "unknown key. Did you mean `workflow`?"}, {Where: "line 12, column 10", URL: "https://forge.example/b/a1b2c3d/atlantis.yaml#L12", Key: "projects[2].dir", Text: "`../other` leaves the repository"}, {Where: "line 15, column 7", URL: "https://forge.example/b/a1b2c3d/atlantis.yaml#L15", Key: "projects[3].name", Text: "`api` is already the name of the project in line 4"}}, Footer: none}.Render(),
		"conflict_many":       templates.Conflict{Command: "Plan", BaseRef: "main", Files: files(55), Footer: none}.Render(),
		"conflict":            templates.Conflict{Command: "Plan", BaseRef: "main", Files: []string{"network/main.tf", "dns/main.tf"}, Footer: none}.Render(),
		"nothing":             templates.NothingTouched{Files: 3, Flags: "-d network", Footer: none}.Render(),
		"nothing_one":         templates.NothingTouched{Files: 1, Footer: none}.Render(),
		"target":              templates.TargetUnknown{Command: "Plan", Headline: "there is no project in `netwrk`", There: []string{"network", "dns"}, More: 3, Flag: "-d", Suggestion: "network", Footer: none}.Render(),
		"unlocked":            templates.Unlocked{Labels: []string{"dns", "network"}, Plans: 2, Footer: none}.Render(),
		"unlocked_nothing":    templates.Unlocked{Footer: none}.Render(),
		"unlocked_waiting":    templates.Unlocked{Left: 1, Footer: none}.Render(),
		"cancelled": templates.Cancelled{
			Jobs: []templates.CancelledJob{
				{Label: "network", Apply: true, What: templates.CancelStopped},
				{Label: "api", Workspace: "prod", Apply: true, What: templates.CancelNotBegun},
				{Label: "dns", Apply: true, What: templates.CancelLate, State: templates.StateApplied},
			},
			Commands: []templates.CancelledCommand{{Line: "plan -d dns", User: "raj"}, {}}, Footer: footer("cancel", "comment:8"),
		}.Render(),
		"cancelled_plan": templates.Cancelled{Jobs: []templates.CancelledJob{{Label: "dns", What: templates.CancelStopped}, {Label: "network", What: templates.CancelStopped}}, Footer: footer("cancel", "comment:8")}.Render(),
		"cancelled_kept": templates.Cancelled{
			Jobs: []templates.CancelledJob{{Label: "net", What: templates.CancelStopped}}, Target: "-p net",
			Kept: []templates.CancelledCommand{{Line: "apply", User: "raj"}, {}}, Footer: footer("cancel", "comment:8"),
		}.Render(),
		"cancelled_never":      templates.Cancelled{Jobs: []templates.CancelledJob{{Label: "dns", Apply: true, What: templates.CancelNever}}, Footer: footer("cancel", "comment:8")}.Render(),
		"cancelled_late":       templates.Cancelled{Jobs: []templates.CancelledJob{{Label: "dns", Apply: true, What: templates.CancelLate, State: templates.StateApplied}}, Footer: footer("cancel", "comment:8")}.Render(),
		"cancelled_nothing":    templates.Cancelled{Newest: "apply", NewestURL: "https://tg.example/runs/01K8", NewestAgo: 8 * time.Second, Footer: footer("cancel", "comment:8")}.Render(),
		"cancelled_target":     templates.Cancelled{Target: "-p net", Footer: footer("cancel", "comment:8")}.Render(),
		"apply_cancelled":      apply(templates.Job{Label: "dns", State: templates.StateCancelled, Flags: "-d dns"}),
		"apply_cancelled_more": apply(stopped, templates.Job{Label: "api", State: templates.StateCancelled, Flags: "-d api"}),
		"unlock_refused":       templates.UnlockRefused{Footer: none}.Render(),
		"unlock_refused_push":  templates.UnlockRefused{Pushes: true, Footer: none}.Render(),
		"unlock_refused_break": templates.UnlockRefused{Breaks: true, Footer: none}.Render(),
		"help":                 templates.Help{Executable: "tidegate", Rows: []templates.HelpRow{{Command: "plan [-d DIR]", What: "plans"}, {Command: "apply", What: "applies"}}, Footer: none}.Render(),
		"wrong":                templates.Wrong{Headline: "There is no command aply", Detail: "Write help to see them all.", Usage: "apply [-d DIR]", Suggestion: "apply", Footer: none}.Render(),
		"refusal":              templates.Refusal{Headline: "Apply not run: it needs write permission on the repository", Body: []string{"Ask somebody who may write to this repository to comment."}, Footer: none}.Render(),
		"internal":             templates.Internal{Run: "01K9", Footer: f}.Render(),
		"progress":             templates.Progress{Command: "plan", Done: 3, Total: 20, Footer: f}.Render(),
		"notice":               templates.Notice{Headline: "The lock on `dns` was released by `ops`", Body: []string{"Comment `plan` to plan again."}, Footer: templates.Footer{Marker: f.Marker}}.Render(),
	}
}
