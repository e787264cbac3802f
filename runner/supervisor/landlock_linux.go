package supervisor

import (
	"errors"
	"fmt"
	"io/fs"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// knownLandlock is the newest version whose rights are in this file.
const knownLandlock = 9

// landlockVersion is what the kernel offers, as far as we know it; 0 when it has none, or when none is
// allowed here.
func landlockVersion() int {
	v, err := ll.LandlockGetABIVersion()
	if err != nil || v < 1 {
		return 0
	}
	return min(v, knownLandlock)
}

// The rights that mean something for a file that is no directory, and those for reading.
const (
	fileRights = ll.AccessFSExecute | ll.AccessFSWriteFile | ll.AccessFSReadFile | ll.AccessFSTruncate |
		ll.AccessFSIoctlDev | ll.AccessFSResolveUnix
	readRights = ll.AccessFSExecute | ll.AccessFSReadFile | ll.AccessFSReadDir
)

// handledRights are all rights that a version knows: what is handled and not granted is forbidden.
func handledRights(version int) uint64 {
	switch {
	case version >= 9:
		return ll.AccessFSResolveUnix<<1 - 1
	case version >= 5:
		return ll.AccessFSIoctlDev<<1 - 1
	case version >= 3:
		return ll.AccessFSTruncate<<1 - 1
	case version == 2:
		return ll.AccessFSRefer<<1 - 1
	default:
		return ll.AccessFSMakeSym<<1 - 1
	}
}

// enterDomain confines the calling thread, and what it executes, to what the sandbox leaves; dir is
// hidden as well. It answers the version of the domain, 0 when the kernel has none.
//
// The library's own Config is not used: it takes paths where we have descriptors that can't be
// swapped, confines all threads where one is enough, and its BestEffort gives up the whole domain
// under version 1 if renames between directories are asked for.
func enterDomain(s Sandbox, dir string) (int, error) {
	version := landlockVersion()
	if version == 0 {
		return 0, nil
	}
	list, err := grants(s, dir)
	if err != nil {
		return 0, err
	}
	attr := ll.RulesetAttr{HandledAccessFS: handledRights(version)}
	if version >= 6 {
		// No signals to the server, nor to supervisors.
		attr.Scoped = ll.ScopeSignal
	}
	ruleset, err := ll.LandlockCreateRuleset(&attr, 0)
	if err != nil {
		return 0, fmt.Errorf("making a Landlock ruleset: %w", err)
	}
	defer func() { _ = unix.Close(ruleset) }()
	for _, g := range list {
		if err := allow(ruleset, g, attr.HandledAccessFS); err != nil {
			return 0, fmt.Errorf("allowing %s: %w", g.path, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("giving up new privileges: %w", err)
	}
	if err := ll.LandlockRestrictSelf(ruleset, 0); err != nil {
		return 0, fmt.Errorf("entering the Landlock domain: %w", err)
	}
	return version, nil
}

// allow adds a grant. What has gone meanwhile, or turned into a link, is left out.
func allow(ruleset int, g grant, handled uint64) error {
	fd, err := retry(func() (int, error) {
		return unix.Open(g.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	rights := handled
	if g.access == readAccess {
		rights &= readRights
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
	default:
		rights &= fileRights
	}
	err = ll.LandlockAddPathBeneathRule(ruleset, &ll.PathBeneathAttr{AllowedAccess: rights, ParentFd: fd}, 0)
	if errors.Is(err, unix.EBADFD) {
		// Not something that Landlock has rules for, and then it does not forbid it either.
		return nil
	}
	return err
}
