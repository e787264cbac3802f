package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
)

// large has the files that a plan is made from and that are in Git LFS laid into the checkout. Without git-lfs a plan would take the pointers for
// the files, so it fails.
func (e *Engine) large(ctx context.Context, s scene, st stage, out workdir.Checkout, d project.Digested) (*runner.Summary, error) {
	pointers, err := st.tree.Pointers(ctx, d.Covers)
	if err != nil {
		return nil, fmt.Errorf("looking for files in Git LFS: %w", err)
	}
	switch {
	case len(pointers) == 0:
		return nil, nil
	case !e.Options.LFS:
		return failed("files are in Git LFS", "These files are in Git LFS, and what is here of them is only where to find them: "+names(pointers)+
			". A plan would take that for the files. Who runs this server can have them fetched (--git-lfs); or keep them outside of what the project uses."), nil
	}
	err = e.Work.Fill(ctx, s.repo, out, pointers)
	if lost := new(workdir.LFSError); errors.As(err, &lost) {
		return failed("a file could not be fetched from Git LFS", lost.Error()), nil
	}
	return nil, err
}

// names lists the first of some pointers.
func names(pointers []workdir.Pointer) string {
	const most = 10
	var all []string
	for _, p := range pointers[:min(most, len(pointers))] {
		all = append(all, strconv.Quote(p.Path))
	}
	if more := len(pointers) - most; more > 0 {
		all = append(all, fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ")
}
