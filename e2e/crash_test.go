package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crashExample is what a pull request looks like after a crash, in the documentation.
const crashExample = "../docs/crash-example.md"

// When what happens, counted from the comment that asks for the apply.
const (
	crashKill  = 20 * time.Second
	crashStart = 30 * time.Second
	crashWork  = 60 // seconds that the long resource takes
)

// TestCrashExample plays the document's crashes with signals in the place of time, and holds what the pull request
// shows against the document. With SHOW_CRASH=1 it takes the time that the document tells of, and writes the document:
// make show-crash does that.
func TestCrashExample(t *testing.T) {
	t.Parallel()
	real := os.Getenv("SHOW_CRASH") != ""
	told := make([]string, len(crashes()))
	t.Run("crashes", func(t *testing.T) { //nolint:paralleltest // it waits for those in it
		for i, c := range crashes() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				told[i] = c.play(t, real)
			})
		}
	})
	got := crashIntro + strings.Join(told, "\n")
	if real {
		must(t, os.WriteFile(crashExample, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(crashExample)
	must(t, err)
	if diff := cmp.Diff(timeless(string(want)), timeless(got)); diff != "" {
		t.Errorf("%s is not what happens (make show-crash writes it again):\n%s", crashExample, diff)
	}
}

const crashIntro = `# What a pull request shows after a crash

Made by ` + "`make show-crash`" + `, with the real binary, git and terraform; a test compares it with what happens today. A pull request changes two
projects. In ` + "`network`" + ` one resource takes 60 s to make, one was made before it, and one comes after it. The state of both is in a
local file. Seconds count from the comment ` + "`apply`" + `.

`

// crash is one way to die in the middle of an apply.
type crash struct {
	name, title string
	all         bool // not the server alone: its supervisors and all that they run, too
}

func crashes() []crash {
	return []crash{
		{name: "server", title: "`kill -9` of the server"},
		{name: "everything", title: "`kill -9` of everything: server, supervisors, terraform", all: true},
	}
}

// crashShow is one crash while it is played.
type crashShow struct {
	*world
	tb    testing.TB
	real  bool
	began time.Time
	lines []string
}

// play plays the crash and tells of it.
func (c crash) play(tb testing.TB, real bool) string {
	tb.Helper()
	s := &crashShow{world: newBareWorld(tb), tb: tb, real: real}
	s.prepare()
	must(tb, cmdComment(nil, s.world, []string{"1", ana, "apply"}))
	s.began = time.Now()
	s.note("ana comments `apply`")
	s.waitFor("ledger", "begin", "the long resource is being made")
	s.at(crashKill)
	kill := func() error { return s.stop(syscall.SIGKILL) }
	if c.all {
		kill = s.stopAll
	}
	must(tb, kill())
	s.note("`kill -9`; " + c.alive(tb, s.world))
	s.at(crashStart)
	must(tb, s.start(s.environ()))
	s.note("the server was started again, and is ready")
	answer := "### Plan"
	if !c.all {
		s.waitLog("adopted an apply", "it has adopted the apply")
		s.goOn()
		s.waitFor("ledger", "end", "the long resource is made")
		answer = "### Apply"
	}
	s.waitAnswers(2, "### Apply")
	if c.all {
		s.waitAnswers(3, answer)
	}
	must(tb, s.idle())
	return fmt.Sprintf("## %s\n\n%s\n%s", c.title, strings.Join(s.lines, "\n"), s.pull())
}

// alive says what is alive after the crash.
func (c crash) alive(tb testing.TB, w *world) string {
	tb.Helper()
	if c.all {
		must(tb, cmdStrays(nil, w, nil))
		return "no process is left"
	}
	left, err := processesOf(w.data)
	must(tb, err)
	if len(left) == 0 {
		tb.Error("terraform died with the server")
	}
	return "terraform goes on, under its supervisor"
}

// prepare makes the pull request and waits for its plan.
func (s *crashShow) prepare() {
	s.tb.Helper()
	work := "while ! [ -e '" + s.state() + "/go' ]; do sleep 0.05; done"
	if s.real {
		work = fmt.Sprint("sleep ", crashWork)
	}
	script := fmt.Sprintf("echo begin >> '%[1]s/ledger'\n%[2]s\necho end >> '%[1]s/ledger'\n", s.state(), work)
	must(s.tb, os.WriteFile(filepath.Join(s.state(), "migrate.sh"), []byte(script), 0o600))
	for branch, files := range map[string]map[string]string{
		"main":   {"network/main.tf": crashBackend("network"), "dns/main.tf": crashBackend("dns")},
		"change": {"network/change.tf": crashNetwork, "dns/change.tf": "resource \"terraform_data\" \"record\" {}\n"},
	} {
		for file, text := range files {
			at := filepath.Join(s.dir, branch, file)
			must(s.tb, os.MkdirAll(filepath.Dir(at), 0o755))
			must(s.tb, os.WriteFile(at, []byte(text), 0o600))
		}
	}
	_, err := s.push("main", filepath.Join(s.dir, "main"), "main")
	must(s.tb, err)
	must(s.tb, s.start(s.environ()))
	_, err = s.push("change", filepath.Join(s.dir, "change"), "change")
	must(s.tb, err)
	must(s.tb, cmdOpen(nil, s.world, []string{"1", "change"}))
	s.waitAnswers(1, "### Plan")
	must(s.tb, s.idle())
	s.lines = nil
}

func crashBackend(project string) string {
	return "terraform {\n  backend \"local\" {\n    path = \"@STATE@/" + project + ".tfstate\"\n  }\n}\n"
}

const crashNetwork = `resource "terraform_data" "gateway" {
  input = "small"
}
resource "terraform_data" "migration" {
  depends_on = [terraform_data.gateway]
  provisioner "local-exec" {
    command = "sh @STATE@/migrate.sh"
  }
}
resource "terraform_data" "routes" {
  depends_on = [terraform_data.migration]
}
`

// note tells what happened now.
func (s *crashShow) note(what string) {
	if s.began.IsZero() {
		return
	}
	s.lines = append(s.lines, fmt.Sprintf("- %d s: %s", int(time.Since(s.began).Seconds()), what))
}

// at waits for that time, when it is shown in real time.
func (s *crashShow) at(when time.Duration) {
	s.tb.Helper()
	if !s.real {
		return
	}
	select {
	case <-time.After(time.Until(s.began.Add(when))):
	case <-s.tb.Context().Done():
		s.tb.Fatal("stopped")
	}
}

// goOn lets the long resource be made.
func (s *crashShow) goOn() {
	s.tb.Helper()
	must(s.tb, os.WriteFile(filepath.Join(s.state(), "go"), nil, 0o600))
}

func (s *crashShow) waitFor(file, text, what string) {
	s.tb.Helper()
	must(s.tb, s.until(what, func() (bool, error) {
		raw, err := os.ReadFile(filepath.Join(s.state(), file))
		return strings.Contains(string(raw), text), err
	}))
	s.note(what)
}

func (s *crashShow) waitLog(text, what string) {
	s.tb.Helper()
	must(s.tb, s.until(what, func() (bool, error) {
		raw, err := os.ReadFile(filepath.Join(s.dir, "server.log"))
		return strings.Contains(string(raw), text), err
	}))
	s.note(what)
}

// waitAnswers waits until there are so many answers, the last of which begins with that.
func (s *crashShow) waitAnswers(n int, begin string) {
	s.tb.Helper()
	must(s.tb, s.until(begin, func() (bool, error) {
		all, err := s.answers(1)
		if err != nil || len(all) < n {
			return false, err
		}
		line, _, _ := strings.Cut(all[n-1].Body, "\n")
		if !strings.HasPrefix(line, begin) {
			return false, fmt.Errorf("%w: the answer is %s", errOver, all[n-1].Body)
		}
		s.note("the pull request is told: " + strings.TrimPrefix(line, "### "))
		return true, nil
	}))
}

// pull is the whole pull request, and what was left behind.
func (s *crashShow) pull() string {
	s.tb.Helper()
	var out strings.Builder
	all, err := s.comments(1)
	must(s.tb, err)
	_, _ = fmt.Fprintf(&out, "\nThe pull request at the end, %d comments:\n", len(all))
	for _, c := range all {
		_, _ = fmt.Fprintf(&out, "\n**%s**\n\n~~~~markdown\n%s\n~~~~\n", c.User.Login, s.plain(c.Body))
	}
	_, _ = fmt.Fprintf(&out, "\n| Status | State | Text |\n|---|---|---|\n%s", s.statuses())
	_, page, err := s.get("/locks")
	must(s.tb, err)
	_, rows, _ := strings.Cut(page, "<tbody>")
	var locks []string
	for row := range strings.SplitSeq(rows, "<tr>") {
		if _, cell, ok := strings.Cut(row, "<td><code>"); ok {
			dir, _, _ := strings.Cut(cell, "<")
			locks = append(locks, "`"+dir+"`")
		}
	}
	_, _ = fmt.Fprintf(&out, "\nLocked by this pull request: %s. ", strings.Join(locks, ", "))
	ledger, err := os.ReadFile(filepath.Join(s.state(), "ledger"))
	must(s.tb, err)
	_, _ = fmt.Fprintf(&out, "What the long resource wrote: %s. ", strings.Join(strings.Fields(string(ledger)), ", "))
	must(s.tb, cmdStrays(nil, s.world, nil))
	out.WriteString("Processes of jobs that are left: none.\n")
	return out.String()
}

// statuses are the newest of each.
func (s *crashShow) statuses() string {
	s.tb.Helper()
	var pull struct {
		Head struct {
			SHA string `json:"sha"`
		} `json:"head"`
	}
	_, err := s.api(ana, http.MethodGet, repoPath("/pulls/1"), nil, &pull)
	must(s.tb, err)
	var list []struct{ State, Context, Description string }
	_, err = s.api(ana, http.MethodGet, repoPath("/commits/%s/statuses?per_page=100", pull.Head.SHA), nil, &list)
	must(s.tb, err)
	newest := map[string]string{}
	for _, st := range list {
		if newest[st.Context] == "" {
			newest[st.Context] = fmt.Sprintf("| `%s` | %s | %s |\n", st.Context, st.State, st.Description)
		}
	}
	return newest["tidegate/plan"] + newest["tidegate/apply"]
}
