package main

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	planRun  = "01AAAAAAAAAAAAAAAAAAAAAAAA"
	applyRun = "01BBBBBBBBBBBBBBBBBBBBBBBB"
)

func answer(run, source, first string) comment {
	c := comment{Body: fmt.Sprintf("### %s\n\n<!-- tidegate:1 server=tidegate run=%s command=x source=%s part=1/1 mac=0 -->", first, run, source)}
	c.User.Login = bot
	return c
}

// refusal is what is said of an apply that was to be followed by a merge.
func refusal(id int64, run string) comment {
	c := answer("merge_1_"+run, "merge", strings.TrimPrefix(notMerged, "### "))
	c.ID = id
	return c
}

// kept is a world in which all was as promised: a plan, an apply that was followed by a merge, and another pull request that
// stayed open.
func kept() facts {
	f := facts{
		asked: []asked{{pull: 1, id: 7, text: "apply"}},
		pulls: []int{1, 2},
		ended: map[int]string{1: "merged", 2: "open"}, held: map[string]int{"p3": 2},
		killed: map[string]bool{},
		claims: []claim{{pull: 1, run: applyRun, project: "p1", word: "applied, 1 add", resource: "a_p1", began: 1, there: true}},
		comments: map[int][]comment{
			1: {answer(planRun, "push:a", "Plan for `p1`: 1 add"), answer(applyRun, "comment:7", "Apply for `p1`: applied, 1 add\n\nNothing is left to apply: "+mergedNext+".")},
			2: {answer("01CCCCCCCCCCCCCCCCCCCCCCCC", "push:b", "Plan for `p3`: 1 add")},
		},
		statuses: map[int][]status{1: {{"success", "tidegate/plan", ""}, {"pending", "tidegate/plan", "planning"}}},
		merges: []merge{{
			pull: 1, sha: "c1", promised: true, last: 12, status: 200,
			statuses: []status{{"success", "tidegate/apply", ""}, {"success", "tidegate/plan", ""}, {"pending", "tidegate/plan", ""}},
		}},
		ledger:   []line{{"begin", "a_p1", jobs(applyRun)[0]}, {"end", "a_p1", jobs(applyRun)[0]}},
		states:   map[string][]byte{"p0": nil, "p1": []byte(`{"serial":1}`)},
		branches: map[int]string{1: "a", 2: "b"},
	}
	f.stood = maps.Clone(f.comments)
	return f
}

// Each kind of violation is reported, and a world without one has none.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*facts)
		want  string
	}{
		"nothing":                 {func(*facts) {}, ""},
		"a person could not work": {func(f *facts) { f.trouble = []string{"no push"} }, "no push"},
		"no answer":               {func(f *facts) { f.comments[1] = f.comments[1][:1]; f.ledger = nil }, `"apply" on #1 .* has 0 answers`},
		"two answers": {func(f *facts) {
			f.comments[1] = append(f.comments[1], answer("01DDDDDDDDDDDDDDDDDDDDDDDD", "comment:7", "Apply not run: too old"))
		}, `"apply" on #1 .* has 2 answers`},
		"two answers of a run": {func(f *facts) {
			f.comments[1] = append(f.comments[1], answer(planRun, "push:a", "Plan for `p1`: 1 add"))
		}, "two answers of run " + planRun},
		"a fault of ours": {func(f *facts) {
			f.comments[1][0].Body = strings.Replace(f.comments[1][0].Body, "1 add", "failed, `internal error`", 1)
		}, "ended with an internal error"},
		"a fault of ours in a plan whose supervisor was killed": {func(f *facts) {
			f.killed[planRun] = true
			f.comments[1][0].Body = strings.Replace(f.comments[1][0].Body, "1 add", "failed, `internal error`", 1)
		}, "ended with an internal error"},
		"no answer, but a comment": {func(f *facts) {
			c := comment{Body: "### Running: apply"}
			c.User.Login = bot
			f.comments[1] = append(f.comments[1], c)
		}, "#1 has a comment that is no answer: ### Running: apply"},
		"an apply that ran twice": {func(f *facts) {
			f.ledger = append(f.ledger, f.ledger[0])
		}, "began a_p1 2 times"},
		"an apply that was done twice, by two jobs": {func(f *facts) {
			f.ledger = append(f.ledger, line{"end", "a_p1", jobs(planRun)[0]})
		}, "a_p1 was made 2 times"},
		"an apply of which nobody tells": {func(f *facts) {
			f.ledger = append(f.ledger, line{"begin", "b_p2", "0123456789ab"})
		}, "b_p2 was begun by the job in 0123456789ab, of which no answer tells"},
		"applied, and it was not":     {func(f *facts) { f.claims[0].began = 0 }, "it began 0 times"},
		"applied, and no state knows": {func(f *facts) { f.claims[0].there = false }, "in the state: false"},
		"not started, and it was":     {func(f *facts) { f.claims[0].word = "not started" }, `"not started"; it began 1 times`},
		"cancelled, and it had begun": {func(f *facts) { f.claims[0].word = "cancelled" }, `"cancelled"; it began 1 times`},
		"nothing said of a push": {func(f *facts) {
			f.stood[2], f.held = nil, nil
		}, "#2 was open for long, and no answer tells of a plan"},
		"unknown, and nobody was killed": {func(f *facts) { f.claims[0].word = "unknown" }, "nobody killed who watched it"},
		"a lock that is missing":         {func(f *facts) { f.held = nil }, "#2 needs p3, which is locked by #0"},
		"a lock of another":              {func(f *facts) { f.held["p3"] = 1 }, "#2 needs p3, which is locked by #1"},
		"a lock too many":                {func(f *facts) { f.held["p5"] = 2 }, "#2 holds p5, for which no answer"},
		"two holders": {func(f *facts) {
			f.ended[1], f.merges = "open", nil
			f.stood[1] = append(f.stood[1], answer("01DDDDDDDDDDDDDDDDDDDDDDDD", "push:c", "Plan for `p3`: 1 add"))
			f.held["p1"] = 1
		}, "#1 and #2 both were told that they hold p3"},
		"work":                      {func(f *facts) { f.left.Owed = 1 }, "there is still work"},
		"a lock when all is closed": {func(f *facts) { f.left.Locks = 1 }, "there is still work, a lock or a waiter"},
		"a process":                 {func(f *facts) { f.processes = []string{"77 terraform"} }, "a process is left: 77 terraform"},
		"a checkout":                {func(f *facts) { f.checkouts = []string{"x"} }, "a checkout is left: x"},
		"a locked state":            {func(f *facts) { f.stateLocks = []string{"p0"} }, "a state is locked: p0"},
		"a torn state":              {func(f *facts) { f.states["p1"] = []byte("{") }, "the state of p1 can't be read"},
		"a pending plan":            {func(f *facts) { f.statuses[1] = f.statuses[1][1:] }, "#1: the status tidegate/plan is pending"},
		"a pending apply": {func(f *facts) {
			f.statuses[1] = []status{{"pending", "tidegate/apply", "applying p1"}}
		}, "#1: the status tidegate/apply is pending"},
		"a merge before its answer":    {func(f *facts) { f.merges[0].promised = false }, "#1 was merged before an answer"},
		"a merge of whatever there is": {func(f *facts) { f.merges[0].sha = "" }, "#1 was merged at whatever commit"},
		"a merge of what is not applied": {func(f *facts) {
			f.merges[0].undone = undone("p1", "p1/a_p1.tf\np1/later_p1.tf\n", []byte(`{"resources":[{"name":"a_p1","instances":[{}]}]}`), f.ledger)
		}, "#1 was merged at c1, and later_p1 is not applied in p1"},
		"a merge before the status of the apply": {func(f *facts) { f.merges[0].statuses = f.merges[0].statuses[1:] }, "#1 was merged when its status tidegate/apply was no success"},
		"a merge before the status of the plan": {func(f *facts) {
			f.merges[0].statuses = slices.Insert(f.merges[0].statuses, 0, status{"pending", "tidegate/plan", ""})
		}, "#1 was merged when its status tidegate/plan was no success"},
		"two merges": {func(f *facts) { f.merges = append(f.merges, f.merges[0]) }, "#1 was merged twice"},
		"a merge that was asked for again": {func(f *facts) {
			f.merges = append(f.merges, merge{pull: 1, status: 405})
		}, ""},
		"not merged, and it was":      {func(f *facts) { f.comments[1] = append(f.comments[1], refusal(13, applyRun)) }, "#1 is told that it is not merged after run " + applyRun + ", and it was"},
		"not merged, and then it was": {func(f *facts) { f.comments[1] = append(f.comments[1], refusal(11, applyRun)) }, ""},
		"not merged, told twice": {func(f *facts) {
			f.comments[1] = append(f.comments[1], refusal(11, applyRun), refusal(12, applyRun))
		}, "#1 is told twice that it is not merged after run " + applyRun},
		"a merge that has not come": {func(f *facts) {
			f.ended[1], f.merges, f.held["p1"] = "open", nil, 1
		}, "#1 was to be merged after run " + applyRun + "; it is open"},
		"a merge that could not be": {func(f *facts) {
			f.ended[1], f.merges, f.held["p1"] = "open", nil, 1
			f.stood[1] = append(f.stood[1], refusal(13, applyRun))
		}, ""},
		"a merge that somebody's close has ended": {func(f *facts) { f.ended[1], f.merges = "closed", nil }, ""},
		"a lock of what is merged":                {func(f *facts) { f.held["p1"] = 1 }, "#1 is merged, and holds p1"},
		"a status that waits on what is merged":   {func(f *facts) { f.statuses[1] = []status{{"pending", "tidegate/apply", "1 to apply"}} }, "#1: the status tidegate/apply is pending"},
		"a status that waits on what a person has merged": {func(f *facts) {
			f.statuses[1], f.merges = []status{{"pending", "tidegate/apply", "1 to apply"}}, nil
		}, ""},
		"a branch":                       {func(f *facts) { f.branchesLeft = map[int]string{1: "c1"} }, "#1 is merged, and its branch is there"},
		"a branch that was pushed since": {func(f *facts) { f.branchesLeft = map[int]string{1: "c2"} }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := kept()
			c.spoil(&f)
			got := judge(f)
			if c.want == "" {
				if len(got) != 0 {
					t.Errorf("judge = %q, want nothing", got)
				}
				return
			}
			for _, v := range got {
				if regexp.MustCompile(c.want).MatchString(v) {
					return
				}
			}
			t.Errorf("judge = %q, want one that tells %q", got, c.want)
		})
	}
}

// A project is done when its state has what the files make, made to its end, and nothing else.
func TestUndone(t *testing.T) {
	t.Parallel()
	const files = "p1/main.tf\np1/more_a.tf\np1/a_p1.tf\n"
	made := []line{{"begin", "a_p1", "j"}, {"end", "a_p1", "j"}}
	for name, c := range map[string]struct {
		state  string
		ledger []line
		want   string
	}{
		"done":               {`{"resources":[{"name":"a_p1","instances":[{}]}]}`, made, "[]"},
		"not in the state":   {`{"resources":[]}`, made, "[a_p1 is not applied in p1]"},
		"killed at its end":  {`{"resources":[{"name":"a_p1","instances":[{}]}]}`, made[:1], "[]"},
		"never begun":        {`{"resources":[{"name":"a_p1","instances":[{}]}]}`, nil, "[a_p1 is not applied in p1]"},
		"tainted":            {`{"resources":[{"name":"a_p1","instances":[{"status":"tainted"}]}]}`, made, "[a_p1 is not applied in p1]"},
		"more than it makes": {`{"resources":[{"name":"a_p1","instances":[{}]},{"name":"b_p1","instances":[{}]}]}`, made, "[b_p1 is still in the state of p1]"},
		"no state":           {``, made, "[the state of p1 can't be read: unexpected end of JSON input]"},
	} {
		if got := fmt.Sprint(undone("p1", files, []byte(c.state), c.ledger)); got != c.want {
			t.Errorf("undone(%s) = %s, want %s", name, got, c.want)
		}
	}
}

// What is still to come is no violation yet; what is wrong for ever is.
func TestSoon(t *testing.T) {
	t.Parallel()
	f := kept()
	f.comments[1], f.claims = nil, nil
	f.left, f.processes = figures{Running: 1}, []string{"77 terraform"}
	if got := soon(f); len(got) != 0 {
		t.Errorf("soon = %q, want nothing", got)
	}
	f.ledger = append(f.ledger, f.ledger[0])
	f.comments[1] = []comment{answer(applyRun, "comment:7", "Apply for `p1`: applied, 1 add"), answer(planRun, "comment:7", "Apply not run: too old")}
	f.merges[0].promised = false
	if got := soon(f); len(got) != 3 {
		t.Errorf("soon = %q, want two answers, two beginnings and a merge", got)
	}
}

// Where somebody was killed in the middle, unknown is a true word, and a person may have it made again.
func TestJudgeAfterADeath(t *testing.T) {
	t.Parallel()
	f := kept()
	f.killed[applyRun] = true
	f.claims[0].word, f.claims[0].there = "unknown", false
	f.ledger = append(f.ledger, line{"begin", "a_p1", jobs(planRun)[0]}, line{"end", "a_p1", jobs(planRun)[0]})
	if got := judge(f); len(got) != 0 {
		t.Errorf("judge = %q, want nothing", got)
	}
}

// What a run made whose end nobody saw may be in the state: the next apply is one of what else was left.
func TestJudgeOfWhatWasMadeBefore(t *testing.T) {
	t.Parallel()
	f := kept()
	f.claims[0].began = 0
	f.ledger = []line{{"begin", "a_p1", jobs(planRun)[0]}}
	if got := judge(f); len(got) == 0 {
		t.Error("nobody was killed, and the apply is believed")
	}
	f.killed[planRun] = true
	if got := judge(f); len(got) != 0 {
		t.Errorf("judge = %q, want nothing", got)
	}
	f.claims[0].there = false
	if got := judge(f); len(got) == 0 {
		t.Error("it is not in the state, and the apply is believed")
	}
}

// An answer that nobody waited for is held against the ledger, too.
func TestUnheard(t *testing.T) {
	t.Parallel()
	f := kept()
	f.claims = nil
	f.claims = f.unheard()
	if got := judge(f); len(f.claims) != 1 || len(got) != 0 {
		t.Errorf("judge = %q of %+v, want nothing of one claim", got, f.claims)
	}
	f.comments[1][1].Body = strings.Replace(f.comments[1][1].Body, "1 add", "2 add", 1)
	f.ledger = append(f.ledger, line{"begin", "a_later_p1", jobs(applyRun)[0]}, line{"end", "a_later_p1", jobs(applyRun)[0]})
	f.claims = nil
	f.claims = f.unheard()
	if got := judge(f); len(f.claims) != 2 || len(got) != 0 {
		t.Errorf("judge = %q of %+v, want nothing of what was there and what was pushed later", got, f.claims)
	}
	f.ledger = nil
	f.claims = nil
	f.claims = f.unheard()
	if got := judge(f); len(got) != 1 {
		t.Errorf("judge = %q, want that nothing was begun", got)
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	s := newScore()
	s.done, s.live, s.newborn = 500, 150, 50
	for _, p := range points() {
		s.per[p] = 10
	}
	if got := s.short(500); len(got) != 0 {
		t.Errorf("short = %q, want nothing", got)
	}
	s.per["posted"], s.live, s.newborn = 9, 149, 49
	if got := s.short(500); len(got) != 3 {
		t.Errorf("short = %q, want three", got)
	}
	if got := s.short(499); len(got) != 0 {
		t.Errorf("short = %q of fewer kills, want nothing", got)
	}
	s.done = 10
	if got := s.short(20); len(got) != 1 {
		t.Errorf("short = %q, want that most kills did not come", got)
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	many := "Plan for 2 projects: 1 ready, 1 waiting\n\n| Project | Changes | State |\n|---|---|---|\n| `p1` | not known | waiting for [#3](u) |\n| `p2` | 1 add | [ready](u) |"
	for name, c := range map[string]struct {
		said []string
		want string
	}{
		"a plan":                       {[]string{"Plan for `p1`: 1 add"}, "map[p1:true]"},
		"several":                      {[]string{many}, "map[p2:true]"},
		"a plan that waits":            {[]string{"Plan for `p1`: waiting for #3"}, "map[]"},
		"a plan that failed":           {[]string{"Plan for `p1`: 1 add", "Plan for `p1`: failed"}, "map[]"},
		"without changes":              {[]string{"Plan for `p1`: no changes"}, "map[]"},
		"applied, and nothing is left": {[]string{"Plan for `p1`: 1 add", "Apply for `p1`: applied, 1 add", "Plan for `p1`: no changes"}, "map[p1:true]"},
		"applied by halves":            {[]string{"Plan for `p1`: 1 add", "Apply for `p1`: unknown", "Plan for `p1`: failed, its state is locked"}, "map[p1:true]"},
		"applied, unlocked, planned anew": {[]string{
			"Plan for `p1`: 1 add", "Apply for `p1`: applied, 1 add", "Unlocked: 1 lock released",
			"Plan for 2 projects: 1 ready, 1 without changes\n\n| Project | Changes | State |\n|---|---|---|\n| `p2` | 1 add | [ready](u) |\n\nWithout changes (1): `p1`. Its lock is kept",
		}, "map[p1:true p2:true]"},
		"applied, unlocked, and both match": {[]string{
			"Plan for `p1`: 1 add", "Apply for `p1`: applied, 1 add", "Unlocked: 1 lock released",
			"Plan for 2 projects: no changes\n`p1` and `p2` already match the configuration. There is nothing to apply",
		}, "map[p1:true]"},
		"an apply that failed": {[]string{"Plan for `p1`: 1 add", "Apply for `p1`: failed", "Plan for `p1`: failed, its state is locked"}, "map[]"},
		"unlocked":             {[]string{"Plan for `p1`: 1 add", "Unlocked: 1 lock released"}, "map[]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var list []comment
			for _, s := range c.said {
				list = append(list, answer(planRun, "push:a", s))
			}
			if got := fmt.Sprint(needs(list)); got != c.want {
				t.Errorf("needs = %s, want %s", got, c.want)
			}
		})
	}
}
