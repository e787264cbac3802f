package dispatch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/runner"
	"github.com/tidegate/tidegate/runner/project"
	"github.com/tidegate/tidegate/runner/workdir"
)

// longestFill is how long fetching from Git LFS may take, for one job.
const longestFill = 10 * time.Minute

var (
	errFillTime = errors.New("fetching from Git LFS took too long")
	// errCut: a job that has not begun is not to.
	errCut = errors.New("ended before it began")
)

// large has the files that a job uses and that are in Git LFS laid into the checkout. Without git-lfs a job would take the pointers for
// the files, so it is refused. A plan's are gone again when its checkout was moved for another project, so its apply needs them laid once
// more. The error is [errCut] when the job's context, or the server's, ended it.
func (e *Engine) large(ctx context.Context, s scene, st stage, out workdir.Checkout, d project.Digested) (*runner.Summary, error) {
	pointers, err := st.tree.Pointers(ctx, d.Covers)
	if err != nil {
		return nil, fmt.Errorf("looking for files in Git LFS: %w", err)
	}
	pointers, err = e.Work.Unfilled(out, pointers)
	switch lost := new(workdir.LFSError); {
	case errors.As(err, &lost):
		return unfetched(lost), nil
	case err != nil:
		return nil, fmt.Errorf("looking for files in Git LFS: %w", err)
	case len(pointers) == 0:
		return nil, nil
	case !e.Options.LFS:
		return failed("files are in Git LFS", "These files are in Git LFS, and what is here of them is only where to find them: "+names(pointers)+
			". Terraform would take that for the files. Who runs this server can have them fetched (--git-lfs); or keep them outside of what the project uses."), nil
	}
	if err := e.fits(pointers); err != nil {
		return failed("no room for files from Git LFS", title(err.Error())+". "+fullAdvice), nil
	}
	return e.fill(s, out, pointers) //nolint:contextcheck // stop is derived from ctx
}

// fits is why there is no room for files; nil when there is. They are kept in the mirror, too.
func (e *Engine) fits(pointers []workdir.Pointer) error {
	if e.Options.RoomFor == nil {
		return nil
	}
	var all int64
	for _, p := range pointers {
		all += 2 * min(p.Size(), workdir.MostLarge)
	}
	return e.Options.RoomFor(all)
}

// fill fetches files for as long as the job may wait for them.
func (e *Engine) fill(s scene, out workdir.Checkout, pointers []workdir.Pointer) (*runner.Summary, error) {
	most := longestFill
	if t := e.Options.PlanTimeout; s.ask.plans() && t > 0 {
		most = min(most, t)
	}
	stop, end := e.untilClosing(s.stop)
	defer end()
	stop, cancel := context.WithTimeoutCause(stop, most, errFillTime)
	defer cancel()
	err := e.Work.Fill(stop, s.repo, out, pointers)
	switch lost := new(workdir.LFSError); {
	case errors.As(err, &lost):
		return unfetched(lost), nil
	case err != nil && errors.Is(context.Cause(stop), errFillTime):
		return failed(errFillTime.Error(), fmt.Sprintf("%s were not all here after %s. Nothing was changed.", names(pointers), most)), nil
	case err != nil && stop.Err() != nil:
		return nil, errCut
	}
	return nil, err
}

func unfetched(lost *workdir.LFSError) *runner.Summary {
	return failed("a file could not be fetched from Git LFS", lost.Error())
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
