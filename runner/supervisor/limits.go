package supervisor

import (
	"fmt"
	"syscall"
)

// limit is the last thing before the process is executed: we need more than it may have.
//
// Memory is RLIMIT_DATA, what is private and can be written. RLIMIT_AS would count what Go programs reserve and
// never use: measured, terraform 1.11 does not start with less than 1 GiB of it, and plans with 64 MiB of data.
//
// Go programs raise their soft limit of open files to the hard one, so that both are set; and by package
// syscall, which takes back what Go's runtime did to ours.
func (s Spec) limit() error {
	for _, l := range []struct {
		name string
		of   int
		most int64
	}{{"memory", syscall.RLIMIT_DATA, s.Memory}, {"open files", syscall.RLIMIT_NOFILE, s.OpenFiles}} {
		if l.most == 0 {
			continue
		}
		var now syscall.Rlimit
		if err := syscall.Getrlimit(l.of, &now); err != nil {
			return fmt.Errorf("reading the limit of %s: %w", l.name, err)
		}
		now.Max = min(now.Max, uint64(l.most))
		now.Cur = now.Max
		if err := syscall.Setrlimit(l.of, &now); err != nil {
			return fmt.Errorf("limiting %s: %w", l.name, err)
		}
	}
	return nil
}
