package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnusableFiles: what is wrong with the project's files is its author's to mend, and said so; no
// process is started for it.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	link := func(to, name string) func(*testing.T, string) {
		return func(t *testing.T, checkout string) {
			t.Helper()
			if err := os.Symlink(to, filepath.Join(checkout, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name, dir string
		files     map[string]string
		make      func(t *testing.T, checkout string)
		want      string
	}{
		{name: "no directory", dir: "net/prod", want: `"net/prod" cannot be used: there is no such directory in the checkout`},
		{name: "a file", dir: "main.tf", want: `"main.tf" cannot be used: it is not a directory`},
		{name: "a link that leads out", dir: "net", make: link("/etc", "net"), want: `"net" cannot be used: it leads out of the checkout`},
		{name: "a link to nowhere", dir: "net", make: link("other", "net"), want: "no such directory"},
		{name: "brackets without end", dir: ".", files: map[string]string{"deep.tf": "a = " + strings.Repeat("(", 1<<20)}, want: `"deep.tf" cannot be used: it is nested too deeply`},
		{name: "a lock file that leads out", dir: ".", make: link("/etc/passwd", lockFileName), want: `".terraform.lock.hcl" cannot be used: it leads out of the checkout`},
		{name: "a lock file that is none", dir: ".", files: map[string]string{lockFileName + "/x": ""}, want: `".terraform.lock.hcl" cannot be used: it is not a regular file`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {}\n"})
			s.write(tt.files)
			if tt.make != nil {
				tt.make(t, s.job.Checkout)
			}
			s.job.Project.Dir = tt.dir
			got := s.run(s.next("1", Plan))
			if got.End != Failed || got.Failure == nil || !strings.Contains(got.Failure.Text, tt.want) {
				t.Errorf("plan = %s, %+v; want failed with %q", got.End, got.Failure, tt.want)
			}
			if started := s.started(); len(started) != 0 {
				t.Errorf("processes: %v, want none", started)
			}
			job := s.next("2", Apply)
			job.PlanFile = filepath.Join(s.base, "no-plan")
			if got := s.run(job); got.End != NotStarted || got.Failure == nil || !strings.Contains(got.Failure.Text, tt.want) {
				t.Errorf("apply = %s, %+v; want not started with %q", got.End, got.Failure, tt.want)
			}
		})
	}
}

func TestSharedLockFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{
		"p/main.tf": localBackend + "resource \"terraform_data\" \"a\" {}\n", "shared/lock": "# nothing is locked\n",
	})
	s.job.Project.Dir = "p"
	if err := os.Symlink("../shared/lock", filepath.Join(s.job.Checkout, "p", lockFileName)); err != nil {
		t.Fatal(err)
	}
	s.plan("1")
}

// TestDirectoryThatBecameALink: a job can make of its directory what it likes. The server does not
// follow: what lies there belongs to others.
func TestDirectoryThatBecameALink(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"p/main.tf": localBackend + "resource \"terraform_data\" \"a\" {}\n"})
	s.job.Project.Dir = "p"
	plan := s.plan("1")
	others := filepath.Join(s.cfg.Data, "runs", "run", "99")
	if err := os.MkdirAll(others, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{erroredName, overrideName, "main.tf"} {
		if err := os.WriteFile(filepath.Join(others, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := filepath.Join(s.job.Checkout, "p")
	if err := os.Rename(p, p+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(others, p); err != nil {
		t.Fatal(err)
	}
	if got := s.apply("2", plan); got.End != NotStarted {
		t.Errorf("apply = %s, want not started", got.End)
	}
	for _, name := range []string{erroredName, overrideName} {
		if _, err := os.Lstat(filepath.Join(others, name)); err != nil {
			t.Errorf("another job's %s: %v", name, err)
		}
	}
}

// TestOurFaultLeavesNoCredentials: what a job had in its temporary directory goes with it.
func TestOurFaultLeavesNoCredentials(t *testing.T) {
	t.Parallel()
	s := newSite(t, map[string]string{"main.tf": "resource \"terraform_data\" \"a\" {}\n"})
	s.cfg.Self = filepath.Join(s.base, "gone")
	if result, err := New(s.cfg).Run(t.Context(), s.next("1", Plan)); err == nil {
		t.Fatalf("Run = %+v, want an error", result)
	}
	entries, err := os.ReadDir(filepath.Join(s.cfg.Data, "tmp"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
