// Package journal is the durable record of what was asked for and what came of it: events, runs,
// jobs, plans, reports, and what is remembered of pull requests and repositories. It exists so that
// kill -9 at any moment loses nothing and repeats nothing: what a method wrote is on disk when it
// returns.
//
// It does not know what any of it means: no forge, no command, no lock, no comment. It decides
// nothing but what keeps the record consistent in itself. It shares its file with package locking and
// knows nothing of it but the names of its buckets. No bbolt type leaves it except through OpenFile
// and Open.
//
// Start with Journal.
//
// # Writing
//
// One goroutine writes. It commits what stands in line in one transaction, and while that is on its
// way to the disk the next transaction's line grows: many writers share an fsync, a single one never
// waits for company. A write that fails does not touch its neighbours.
//
// # Damage
//
// A file whose pages do not fit together is refused by OpenFile and left as it is. A record that can't
// be read, says that it is another one, or names a text that is gone costs only itself: lists answer the
// others together with a DamagedError that names it, and what is written in its place is not refused.
//
// # The file, format 1
//
// A bbolt file, one bucket for each line below. Integers in keys are big-endian, so that they sort.
//
//	str(s)    4 bytes length, then s
//	seq       8 bytes, from 1
//	repo      str(forge) 8 bytes repository id
//	pull      repo 8 bytes number
//	project   str(dir) str(workspace) str(name)
//	run       26 characters, a ULID
//	job       4 bytes, from 1
//
//	bucket           key                 value
//	meta             "journal"           {"format":1,"server":ULID,"marker_key":base64,"made":time}
//	                 "ping"              the time of the last Ping
//	                 "restored"          Restoration, when the file came out of a backup
//	events           seq                 Event; the bucket's own sequence is the last seq
//	event_keys       SHA-256 of "forge\0"+key or "internal\0"+key
//	                                     seq
//	events_queued    seq                 empty: the events that are not done
//	runs             run                 Run
//	runs_by_pull     pull run            empty
//	runs_running     run                 empty: the runs that are not done
//	jobs             run job             Job
//	plans            run "/" decimal     Plan, the current ones and all before them
//	plans_current    pull project        the current plan's key in plans
//	reports          id                  Report
//	reports_by_pull  pull id             empty
//	reports_owed     id                  empty: the reports that do not stand on the pull request yet
//	pulls            pull                PullRecord
//	repos            repo                RepoRecord
//
// Records are JSON objects with the fields that the types' tags name; absent fields are zero, unknown
// ones are left alone by readers but not kept by writers. Times are RFC 3339 in UTC. No record is
// larger than 64 KiB. New fields and new buckets do not change the format's number; anything that an
// older reader would misread does, and it then refuses the file by name. A Plan has a format number
// of its own, since a misread plan would be applied.
//
// Beside the file:
//
//	<file>.format<n> the file as it was before it was brought from format n to the next one
//	<file>.owner     {"pid":n,"host":h,"since":time} of who opened it last; for messages only
//	reports/<hash>   the text of a report of more than 16 KiB as JSON, named by its SHA-256 in hex,
//	                 0600, on disk before the record that names it, never changed
//
// What is old goes when somebody says so (Forget, ForgetEvents, ForgetPull): records first, files that no record
// names after them, so that a crash in between leaves a file too many and none too few. Event keys are
// what the same event is known by; they go last, with their events.
package journal
