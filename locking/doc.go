// Package locking keeps which pull request holds which project, and who stands in line for it. It
// exists because two pull requests that plan the same project side by side make each other's plan
// untrue.
//
// A lock is held on a Key: a directory and workspace of a repository, by the forge's own ids, which
// survive renames. A project without a name conflicts with every name in its directory and workspace.
// Whoever can't have a key stands in line for it, and the line is kept: a newcomer does not overtake.
// Circles of pull requests that wait for each other are found when they come about.
//
// It does not know what a lock protects, whether a pull request is still open, or whom to tell: it is
// asked who comes Next, and told whom to Skip. There is no way to change a lock without an entry in
// the audit: both are one transaction.
//
// Nothing comes free because a record is damaged: the file's keys say what is held, the audit by whom.
//
// Start with Store.
//
// # The file, format 1
//
// Four buckets of a bbolt file that others share. Integers in keys are big-endian.
//
//	str(s)   4 bytes length, then s
//	key      str(forge) 8 bytes repository id str(dir) str(workspace) str(project)
//	pull     str(forge) 8 bytes repository id 8 bytes number
//	seq      8 bytes, from 1
//
//	bucket      key       value
//	locks_meta  "format"  1; the bucket's own sequence counts changes, so that a copy in memory
//	                      knows whether it is still true
//	locks       key       Lock
//	waiters     key pull  Waiter; the bucket's own sequence is the last Waiter.Seq
//	lock_audit  seq       Entry; the last 10,000
//
// Values are JSON objects with the fields that the types' tags name, at most 64 KiB; absent fields
// are zero. Times are RFC 3339 in UTC. New fields and new buckets do not change the format's number;
// anything that an older reader would misread does, and it then refuses the file by name.
package locking
