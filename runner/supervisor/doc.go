// Package supervisor runs one process so that it outlives the server that asked for it: in a session
// of its own, its output in a capped file, with durable marks of its start and its end, and with at
// most one SIGINT. After a crash a new server can tell what became of it, and wait for it.
//
// It knows no terraform beyond the question `version -json`, no job and no plan. Start at Spec and
// Main; a new server starts at Inspect.
//
// # Stages
//
// Main is one program in three stages, told apart by the environment:
//
//	server -> terraform-exec -> stage one   waits, passes cancels on, ends with the process's code
//	                              stage two     own session; holds the lock, copies the output, writes the marks
//	                                stage three     own process group; enters its Landlock domain, then becomes the process
//
// Stage one may be killed with the server at any time. Stage three waits until the started mark is on
// disk, so the pid in the mark is the one that gets the SIGINT. What the process leaves is killed 2 s after
// its own end, on Linux whatever group or session it is in: the server works with the files then.
//
// Stage two killed: the process goes on, as it holds both ends of its output and never meets a broken
// pipe. It counts as running (Mark.Orphaned); Wait takes its output over, Interrupt still works, and
// its end is unknown.
//
// # The step directory, format 1
//
//	spec.json      Spec, written by the server before stage one; without its environment after the end
//	lock           flock'ed (exclusively) by stage two as long as it lives; others only ever share it for a moment
//	sealed         a server found that nothing was started: nothing will be
//	interrupt      somebody asked for the SIGINT
//	control        FIFO that tells stage two so; gone when it has ended
//	interrupted    the one SIGINT is being sent: created by its only sender, before
//	started        Mark, fsynced before the process is executed
//	output.log     stdout and stderr, capped: first half, "[tidegate: N bytes left out]", last half
//	status.json    Status, fsynced when all has ended (status.tmp before, so that a full disk loses no end)
//	supervisor.log what stage two had to say if it broke; mostly absent
//
// The directory is used for one start. JSON files carry a format number; a newer one is refused.
package supervisor
