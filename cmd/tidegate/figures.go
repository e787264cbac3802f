package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/server/dispatch"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/server/webhook"
)

// figures is what /status shows.
type figures struct {
	Version        string `json:"version"`
	QueuedEvents   int    `json:"queued_events"`
	RunningRuns    int    `json:"running_runs"`
	RunningJobs    int    `json:"running_jobs"`
	WaitingForSlot int    `json:"jobs_waiting_for_a_slot"`
	Unposted       int    `json:"unposted_answers"`
	Locks          int    `json:"locks"`
	Waiters        int    `json:"waiters"`
}

func status(ctx context.Context, e *dispatch.Engine, j *journal.Journal, l *locking.Store) (figures, error) {
	load := e.Load()
	f := figures{Version: build(), RunningJobs: load.Running, WaitingForSlot: load.WaitingForSlot}
	pending, err := j.Pending(ctx)
	if err != nil {
		return f, err
	}
	locks, err := l.Locks(ctx)
	if err != nil {
		return f, err
	}
	waiters, err := l.Waiters(ctx)
	if err != nil {
		return f, err
	}
	f.QueuedEvents, f.RunningRuns, f.Unposted, f.Locks, f.Waiters = pending.Events, pending.Runs, pending.Reports, len(locks), len(waiters)
	return f, nil
}

// register makes the metrics. None of them has a repository or a pull request as a label.
func register(r *prometheus.Registry, e *dispatch.Engine, j *journal.Journal, l *locking.Store, h *webhook.Handler) {
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&gauges{read: func(ctx context.Context) (figures, error) { return status(ctx, e, j, l) }, hooks: h})
}

// gauges reads the figures when they are asked for.
type gauges struct {
	read  func(context.Context) (figures, error)
	hooks *webhook.Handler
}

// Describe sends nothing: the collector is unchecked, its metrics are made on demand.
func (g *gauges) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	send := func(name, help string, kind prometheus.ValueType, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"outcome"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("tidegate_"+name, help, names, nil), kind, v, labels...)
	}
	seen := g.hooks.Seen()
	for _, o := range []webhook.Outcome{webhook.Accepted, webhook.Duplicate, webhook.Ignored, webhook.Rejected, webhook.Failed} {
		send("webhooks_total", "Webhook deliveries by what became of them.", prometheus.CounterValue, float64(seen.Counts[o]), string(o))
	}
	if !seen.Last.IsZero() {
		send("last_webhook_timestamp_seconds", "When the last verified webhook came.", prometheus.GaugeValue, float64(seen.Last.Unix()))
	}
	f, err := g.read(context.Background())
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc("tidegate_queued_events", "Events that are not answered yet.", nil, nil), err)
		return
	}
	send("queued_events", "Events that are not answered yet.", prometheus.GaugeValue, float64(f.QueuedEvents))
	send("running_runs", "Runs that have not ended.", prometheus.GaugeValue, float64(f.RunningRuns))
	send("running_jobs", "terraform processes that run.", prometheus.GaugeValue, float64(f.RunningJobs))
	send("jobs_waiting_for_a_slot", "Jobs that wait for one of --jobs.", prometheus.GaugeValue, float64(f.WaitingForSlot))
	send("unposted_answers", "Answers that the forge has not taken yet.", prometheus.GaugeValue, float64(f.Unposted))
	send("locks", "Projects that are locked.", prometheus.GaugeValue, float64(f.Locks))
	send("waiters", "Places in line for a lock.", prometheus.GaugeValue, float64(f.Waiters))
}
