package pid1

import (
	"os"
	"time"

	"github.com/tidegate/tidegate/runner/supervisor"
)

// lookEvery is for supervisors that are not our children yet, whose end nobody tells us.
const lookEvery = 200 * time.Millisecond

// seeOut waits until no supervisor lives. When the grace is nearly over, or at another signal, each is asked once to
// interrupt its process. A plan is ended when that does not help. An apply is waited for, also when the grace is over: it is
// never killed, and in a container, or under a service manager, it would be if we left. Those have a time of their own after
// which they end everything. Elsewhere one more signal lets us leave, and the next server adopts what still runs.
func (p *process) seeOut() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	if p.since.IsZero() {
		p.since = time.Now()
	}
	nearly := time.After(time.Until(p.since.Add(InterruptAfter(p.cfg.grace))))
	over := time.After(time.Until(p.since.Add(p.cfg.grace)))
	asked := map[int]bool{}
	hurry, told := false, false
	for {
		p.reap()
		left, err := supervisor.Below(os.Getpid())
		if err != nil {
			p.cfg.log.Error("looking for what still runs; leaving", "error", err)
			return
		}
		if len(left) == 0 {
			return
		}
		if !told {
			told = true
			p.cfg.log.Info("waiting for running processes", "processes", len(left), "grace", p.cfg.grace)
		}
		if hurry {
			p.interrupt(left, asked)
		}
		select {
		case <-p.children:
		case <-tick.C:
		case <-p.stop:
			if hurry && os.Getpid() != 1 {
				p.cfg.log.Warn("leaving; what still runs goes on, and the next server adopts it", "processes", len(left))
				return
			}
			hurry = true
		case <-nearly:
			hurry = true
		case <-over:
			p.cfg.log.Warn("the grace is over; waiting on for what does not heed its interrupt, because to leave could kill it", "processes", len(left))
		}
	}
}

func (p *process) interrupt(left []supervisor.Supervisor, asked map[int]bool) {
	for _, s := range left {
		if asked[s.PID] {
			continue
		}
		asked[s.PID] = true
		p.cfg.log.Warn("interrupting a running process", "pid", s.PID, "directory", s.Dir)
		if err := supervisor.Interrupt(s.Dir); err != nil {
			p.cfg.log.Error("interrupting a running process", "pid", s.PID, "error", err)
		}
	}
}
