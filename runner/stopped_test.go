package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stub takes the place of terraform for one of its commands.
func (s *site) stub(command, script string) {
	s.t.Helper()
	name := filepath.Join(s.base, "bin", "stub")
	text := "#!/bin/sh\nif [ \"$1\" = " + command + " ]; then\n" + script + "\nfi\nexec '" + s.job.Tool.Path + "' \"$@\"\n"
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.job.Tool.Path = name
}

func TestPlanInTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {}\n"})
	s.stub("init", "echo thinking; exec sleep 600")
	s.cfg.PlanTimeout = 10 * time.Second
	got := s.run(s.next("1", Plan))
	if got.End != Failed || got.Failure.Summary != "stopped after 10 seconds by --plan-timeout" {
		t.Fatalf("plan = %s, %+v", got.End, got.Failure)
	}
	if !strings.Contains(got.Failure.Text, "Nothing was changed.") || !strings.Contains(got.Failure.Text, "thinking") {
		t.Errorf("text = %q", got.Failure.Text)
	}
}

// TestKilledPlan: nobody of us sends that.
func TestKilledPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {}\n"})
	s.stub("plan", "kill -KILL $$")
	got := s.run(s.next("1", Plan))
	if got.End != Failed || got.Failure.Summary != "terraform was killed, most likely for want of memory" {
		t.Fatalf("plan = %s, %+v", got.End, got.Failure)
	}
}

// TestKilledApply: what is known of the state is told.
func TestKilledApply(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": `
terraform {
  backend "local" { path = "BASE/state/s.tfstate" }
}
resource "terraform_data" "first" {}
resource "terraform_data" "last" {
  input = terraform_data.first.id
  provisioner "local-exec" { command = "kill -KILL $PPID" }
}
`})
	plan := s.plan("1")
	got := s.apply("2", plan)
	if got.End != Interrupted || !got.Killed || got.Failure.Summary != "terraform was killed, most likely for want of memory" {
		t.Fatalf("apply = %s, %+v", got.End, got.Failure)
	}
	if !strings.Contains(got.Failure.Text, "terraform_data.first: Creation complete") || strings.Contains(got.Failure.Text, `"@level"`) {
		t.Errorf("text = %q, want the log as people read it", got.Failure.Text)
	}
	if evidence := strings.Join(got.Evidence, "\n"); !strings.Contains(evidence, "the state file has serial") {
		t.Errorf("evidence: %s", evidence)
	}
}

// TestPlanWithoutMemory: Go's code for a fatal error is also plan's for changes.
func TestPlanWithoutMemory(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": `
locals {
  many = length(jsonencode([for a in range(1000) : [for b in range(1000) : "${a}-${b}"]]))
}
resource "terraform_data" "a" { input = local.many }
`})
	s.cfg.Memory = 160 << 20
	got := s.run(s.next("1", Plan))
	if got.End != Failed || got.Failure.Summary != "terraform ran out of memory" {
		t.Fatalf("plan = %s, %+v", got.End, got.Failure)
	}
	if !strings.Contains(got.Failure.Text, "--job-memory") {
		t.Errorf("text = %q", got.Failure.Text)
	}
}

func TestTimeWords(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Hour: "1 hour", 90 * time.Minute: "90 minutes", time.Minute: "1 minute", 45 * time.Second: "45 seconds", 1500 * time.Millisecond: "1.5s",
	} {
		if got := timeWords(d); got != want {
			t.Errorf("timeWords(%s) = %q, want %q", d, got, want)
		}
	}
}
