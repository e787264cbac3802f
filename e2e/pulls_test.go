package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate/tidegate/vcs/devforge"
)

// is N open|closed|merged: waits until a pull request is.
func cmdIs(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "is N STATE"); err != nil {
		return err
	}
	return w.until("is "+strings.Join(args, " "), func() (bool, error) {
		pull, err := w.pull(args[0])
		return pull.State == args[1], cmp.Or(err, fmt.Errorf("it is %s", pull.State))
	})
}

func (w *world) pull(number string) (pullNow, error) { return w.forge.pull(w.as(ana), number) }

// branch NAME there|gone: waits until a branch is.
func cmdBranch(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "branch NAME there|gone"); err != nil {
		return err
	}
	return w.until("branch "+strings.Join(args, " "), func() (bool, error) {
		err := w.forge.branch(w.as(ana), args[0])
		if isNotFound(err) {
			return args[1] == "gone", fmt.Errorf("it is gone")
		}
		return err == nil && args[1] == "there", cmp.Or(err, fmt.Errorf("it is there"))
	})
}

// check N CONTEXT STATE: somebody else's commit status on a pull request's head.
func cmdCheck(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 3, "check N CONTEXT STATE"); err != nil {
		return err
	}
	pull, err := w.pull(args[0])
	if err != nil {
		return err
	}
	return w.forge.check(w.as(raj), pull.SHA, args[1], args[2])
}

// protect BRANCH [CONTEXT...]: a branch takes only heads that have these statuses, successful ones; without any it takes all.
func cmdProtect(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "protect BRANCH [CONTEXT...]"); err != nil {
		return err
	}
	return w.forge.protect(args[0], args[1:])
}

func (f *devForge) protect(branch string, contexts []string) error {
	return f.Protect(owner, name, branch, devforge.Protection{Contexts: contexts})
}

func (f *giteaForge) protect(branch string, contexts []string) error {
	as := f.as(owner)
	if len(contexts) == 0 {
		return as(http.MethodDelete, repoPath("/branch_protections/%s", branch), nil, nil)
	}
	return as(http.MethodPost, repoPath("/branch_protections"), map[string]any{
		"rule_name": branch, "enable_status_check": true, "status_check_contexts": contexts, "enable_push": true,
	}, nil)
}

// gone BRANCH: deletes a branch, as git does.
func cmdGone(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "gone BRANCH"); err != nil {
		return err
	}
	return w.pushSpec(":refs/heads/" + args[0])
}

// force BRANCH N: takes a branch back by so many commits.
func cmdForce(_ *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 2, "force BRANCH N"); err != nil {
		return err
	}
	return w.pushSpec("+origin/" + args[0] + "~" + args[1] + ":refs/heads/" + args[0])
}

// pushSpec pushes from the clone that an earlier push has made.
func (w *world) pushSpec(spec string) error {
	if _, err := w.git(filepath.Join(w.dir, "clone"), "push", "-q", "origin", spec); err != nil {
		return err
	}
	return w.forge.settle()
}

// token FILE: the bot's token is taken back, and the one in the file is good. A forge that makes tokens itself writes it there.
func cmdToken(ts *testscript.TestScript, w *world, args []string) error {
	if err := need(args, 1, "token FILE"); err != nil {
		return err
	}
	made, err := w.forge.renew(w.t, strings.TrimSpace(ts.ReadFile(args[0])))
	return errors.Join(err, os.WriteFile(ts.MkAbs(args[0]), []byte(made+"\n"), 0o600))
}
