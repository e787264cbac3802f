package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// networkFilesystem names the file system with that magic number (statfs(2), f_type on Linux) if files on it
// may be on another machine; "" for all others. FUSE has one number for everything that is built on it,
// sshfs among it.
func networkFilesystem(magic uint32) string {
	switch magic {
	case 0x6969:
		return "NFS"
	case 0x517B, 0xFF534D42, 0xFE534D42:
		return "SMB"
	case 0x65735546:
		return "FUSE (sshfs and others)"
	case 0x5346414F, 0x6B414653:
		return "AFS"
	}
	return ""
}

// checkFilesystem makes the data directory and refuses one where locks and fsync may not hold.
func checkFilesystem(dir string, allowed bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("--data-dir: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("--data-dir: asking for the file system of %s: %w", dir, err)
	}
	return refuseNetwork(dir, uint32(fs.Type), allowed) //nolint:unconvert // a number of 32 bits whose type differs by system
}

func refuseNetwork(dir string, magic uint32, allowed bool) error {
	name := networkFilesystem(magic)
	if name == "" || allowed {
		return nil
	}
	return fmt.Errorf("--data-dir: %s is on %s, where file locks and fsync do not hold: two servers could work with the same files, "+
		"and what was acknowledged could be lost. Use a directory on a disk of this machine, or a block device that is attached to it; "+
		"--allow-network-filesystem starts all the same, at that risk", dir, name)
}
