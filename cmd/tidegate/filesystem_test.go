package main

import (
	"strings"
	"testing"
)

func TestNetworkFilesystems(t *testing.T) {
	t.Parallel()
	for magic, want := range map[uint32]string{
		0x6969:     "NFS",
		0x517B:     "SMB",
		0xFF534D42: "SMB", // cifs
		0xFE534D42: "SMB", // smb2
		0x65735546: "FUSE (sshfs and others)",
		0x5346414F: "AFS",
		0x6B414653: "AFS", // the kernel's own
		0xEF53:     "",    // ext4
		0x58465342: "",    // xfs
		0x9123683E: "",    // btrfs
		0x2FC12FC1: "",    // zfs
		0x01021994: "",    // tmpfs
		0x794C7630: "",    // overlayfs
	} {
		if got := networkFilesystem(magic); got != want {
			t.Errorf("networkFilesystem(%#x) = %q, want %q", magic, got, want)
		}
	}
}

func TestDataOnANetworkIsRefused(t *testing.T) {
	t.Parallel()
	err := refuseNetwork("/data", 0x6969, false)
	if err == nil {
		t.Fatal("NFS was taken")
	}
	for _, want := range []string{"/data is on NFS", "file locks and fsync do not hold", "--allow-network-filesystem"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if err := refuseNetwork("/data", 0x6969, true); err != nil {
		t.Errorf("refused though it was asked for: %v", err)
	}
	if err := checkFilesystem(t.TempDir()+"/new", false); err != nil {
		t.Errorf("a directory of this machine: %v", err)
	}
}
