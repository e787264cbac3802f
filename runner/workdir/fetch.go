package workdir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// fetchCall is what one caller wants fetched.
type fetchCall struct {
	specs []string
	// alone: it was part of a fetch that failed, and gets one of its own.
	alone bool
	done  chan struct{}
}

// fetch brings specs up to date. One fetch runs at a time; those that wait for it meanwhile are served by
// one fetch together, and each by its own if that fails: one pull request's missing branch is not the
// other's failure.
func (m *mirror) fetch(ctx context.Context, repo Repo, specs []string) error {
	call := &fetchCall{specs: specs, done: make(chan struct{})}
	m.enqueue(call)
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-call.done:
		return nil
	case <-ctx.Done():
		m.take(func(c *fetchCall) bool { return c == call })
		return fmt.Errorf("waiting for another fetch: %w", context.Cause(ctx))
	}
	select {
	case <-call.done:
		return nil
	default:
	}
	if !call.isAlone(m) {
		batch := m.take(func(c *fetchCall) bool { return !c.alone })
		if len(batch) > 1 {
			return m.fetchTogether(ctx, repo, call, batch)
		}
	} else {
		m.take(func(c *fetchCall) bool { return c == call })
	}
	return m.fetchNow(ctx, repo, m.dir, call.specs)
}

// fetchTogether serves a batch by one fetch. The others of a batch that failed try again by themselves.
func (m *mirror) fetchTogether(ctx context.Context, repo Repo, own *fetchCall, batch []*fetchCall) error {
	var all []string
	for _, c := range batch {
		all = append(all, c.specs...)
	}
	slices.Sort(all)
	err := m.fetchNow(ctx, repo, m.dir, slices.Compact(all))
	if err == nil {
		for _, c := range batch {
			close(c.done)
		}
		return nil
	}
	m.mu.Lock()
	for _, c := range batch {
		if c != own {
			c.alone = true
			m.queue = append(m.queue, c)
		}
	}
	m.mu.Unlock()
	if ctx.Err() != nil {
		return err
	}
	return m.fetchNow(ctx, repo, m.dir, own.specs)
}

func (m *mirror) enqueue(call *fetchCall) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, call)
}

// take removes the calls that match from the queue.
func (m *mirror) take(match func(*fetchCall) bool) []*fetchCall {
	m.mu.Lock()
	defer m.mu.Unlock()
	var taken []*fetchCall
	m.queue = slices.DeleteFunc(m.queue, func(c *fetchCall) bool {
		if !match(c) {
			return false
		}
		taken = append(taken, c)
		return true
	})
	return taken
}

func (c *fetchCall) isAlone(m *mirror) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return c.alone
}

// fetchNow fetches into gitDir. The caller holds m.fetching.
func (m *mirror) fetchNow(ctx context.Context, repo Repo, gitDir string, specs []string) error {
	return m.fetchBy(ctx, m.run, repo, gitDir, specs)
}

// fetchBy fetches into gitDir, by the means of run. A credential that was good once is renewed.
func (m *mirror) fetchBy(ctx context.Context, run runFunc, repo Repo, gitDir string, specs []string) error {
	password, err := m.fetchOnce(ctx, run, repo, gitDir, specs)
	if errors.Is(err, ErrUnauthorized) && password != "" && repo.Refused != nil && repo.Refused(ctx, password) {
		_, err = m.fetchOnce(ctx, run, repo, gitDir, specs)
	}
	return err
}

type runFunc = func(context.Context, command) ([]byte, error)

// fetchOnce fetches, and answers the password that the forge was given.
func (m *mirror) fetchOnce(ctx context.Context, run runFunc, repo Repo, gitDir string, specs []string) (password string, err error) {
	remote, err := dial(ctx, repo)
	if err != nil {
		return "", err
	}
	c := command{gitDir: gitDir, secrets: remote.secrets}
	if remote.pipe != nil {
		defer func() { _ = remote.pipe.Close() }()
		c.files = []*os.File{remote.pipe}
	}
	c.config = slices.Concat(fetchConfiguration(), remote.config)
	c.args = append([]string{
		"fetch", "--quiet", "--force", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance",
		"--no-recurse-submodules", "--no-show-forced-updates", "--", remote.url,
	}, specs...)
	_, err = run(ctx, c)
	return remote.password, explainFetch(err)
}

// fetchConfiguration has every object checked on arrival, for it is laid before terraform and, on the
// way, written to disk by git. Forgiven is what only old tools did and what hurts nobody: a plain clone
// of such a repository works, so must ours. A connection that is dead is given up.
func fetchConfiguration() []string {
	config := []string{
		"fetch.fsckObjects", "true",
		"fetch.writeCommitGraph", "false",
		"http.lowSpeedLimit", "1000",
		"http.lowSpeedTime", "60",
	}
	for _, harmless := range []string{
		"badDate", "badDateOverflow", "badEmail", "badFilemode", "badName", "badTagName", "badTimezone",
		"emptyName", "missingEmail", "missingNameBeforeEmail", "missingSpaceBeforeDate",
		"missingSpaceBeforeEmail", "missingTaggerEntry", "multipleAuthors", "zeroPaddedDate",
		"zeroPaddedFilemode",
	} {
		config = append(config, "fetch.fsck."+harmless, "ignore")
	}
	return config
}

var noRemoteRef = sync.OnceValue(func() *regexp.Regexp { //nolint:gochecknoglobals // compiled when it is used first: a supervisor never uses it
	return regexp.MustCompile(`couldn't find remote ref (\S+)`)
})

// explainFetch turns what git says about the remote into errors that callers can tell apart.
func explainFetch(err error) error {
	failure, ok := errors.AsType[*gitError](err)
	if !ok {
		return err
	}
	if match := noRemoteRef().FindStringSubmatch(failure.text); match != nil {
		return &RefGoneError{Ref: strings.TrimSuffix(match[1], ";")}
	}
	for _, words := range []string{"Authentication failed", "could not read Username", "returned error: 403"} {
		if strings.Contains(failure.text, words) {
			return fmt.Errorf("%w: %w", ErrUnauthorized, err)
		}
	}
	return err
}
