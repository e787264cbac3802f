package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/locking"
	"github.com/tidegate/tidegate/server/dispatch"
	"github.com/tidegate/tidegate/server/journal"
	"github.com/tidegate/tidegate/server/webhook"
)

// figures is what /status shows, and /metrics.
type figures struct {
	Version        string `json:"version"`
	QueuedEvents   int    `json:"queued_events"`
	RunningRuns    int    `json:"running_runs"`
	RunningJobs    int    `json:"running_jobs"`
	WaitingForSlot int    `json:"jobs_waiting_for_a_slot"`
	Unposted       int    `json:"unposted_answers"`
	Locks          int    `json:"locks"`
	Waiters        int    `json:"waiters"`
	// Commands are those of the queued events that somebody wrote.
	Commands int `json:"unanswered_commands"`
	// WritesMinute and WritesHour are what may still be written to the repository with the least room, -1
	// without a limit;
	// Requests what the forge still lets us ask, -1 as long as it has not told.
	WritesMinute int `json:"forge_writes_left_this_minute"`
	WritesHour   int `json:"forge_writes_left_this_hour"`
	Requests     int `json:"forge_requests_left"`
	// OldestEvent, OldestCommand and OldestLock are zero when there is none.
	OldestEvent   time.Time `json:"oldest_event,omitzero"`
	OldestCommand time.Time `json:"oldest_command,omitzero"`
	OldestLock    time.Time `json:"oldest_lock,omitzero"`
	// JournalBytes is the size of the journal; FreeBytes what the data directory's disk has left and
	// DiskBytes what it has in all, -1 when that can't be told.
	JournalBytes int64 `json:"journal_bytes"`
	FreeBytes    int64 `json:"free_bytes"`
	DiskBytes    int64 `json:"disk_bytes"`
	// DataBytes is what the data directory held when it was measured against --data-quota; OverQuota that all of it is
	// needed and it is too much.
	DataBytes int64 `json:"data_bytes,omitempty"`
	OverQuota bool  `json:"over_quota,omitempty"`

	lockAges []float64 // in seconds
}

// sources is what figures are read from.
type sources struct {
	engine  *dispatch.Engine
	journal *journal.Journal
	locks   *locking.Store
	data    string
}

func (s sources) figures(ctx context.Context) (figures, error) {
	load := s.engine.Load()
	f := figures{Version: build(), RunningJobs: load.Running, WaitingForSlot: load.WaitingForSlot}
	f.FreeBytes, f.DiskBytes = disk(s.data)
	budget := s.engine.Budget()
	f.WritesMinute, f.WritesHour, f.Requests = -1, -1, budget.Requests
	if budget.Limited {
		f.WritesMinute, f.WritesHour = budget.Minute, budget.Hour
	}
	held := s.engine.Disk()
	f.DataBytes, f.OverQuota = held.Bytes, held.Over
	pending, err := s.journal.Pending(ctx)
	if err != nil {
		return f, err
	}
	locks, err := s.locks.Locks(ctx)
	if err != nil {
		return f, err
	}
	waiters, err := s.locks.Waiters(ctx)
	if err != nil {
		return f, err
	}
	f.QueuedEvents, f.RunningRuns, f.Unposted, f.Locks, f.Waiters = pending.Events, pending.Runs, pending.Reports, len(locks), len(waiters)
	f.OldestEvent, f.JournalBytes = pending.Oldest, pending.Bytes
	f.Commands, f.OldestCommand = pending.Commands, pending.OldestCommand
	for _, l := range locks {
		f.lockAges = append(f.lockAges, age(l.Since))
		if f.OldestLock.IsZero() || l.Since.Before(f.OldestLock) {
			f.OldestLock = l.Since
		}
	}
	return f, nil
}

// register makes the metrics. None of them has a repository or a pull request as a label.
func register(r *prometheus.Registry, s sources, h *webhook.Handler) {
	r.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsGC)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&gauges{read: s.figures, hooks: h})
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
	send("oldest_queued_event_age_seconds", "How long the oldest event that is not answered has been here; 0 when all are.", prometheus.GaugeValue, age(f.OldestEvent))
	send("oldest_lock_age_seconds", "How long the oldest lock has been held; 0 when there is none.", prometheus.GaugeValue, age(f.OldestLock))
	send("journal_bytes", "Size of the journal.", prometheus.GaugeValue, float64(f.JournalBytes))
	send("unanswered_commands", "Commands that are not answered yet.", prometheus.GaugeValue, float64(f.Commands))
	send("oldest_unanswered_command_age_seconds", "How long the oldest command has been here that is not answered; 0 when all are.", prometheus.GaugeValue, age(f.OldestCommand))
	if f.WritesHour >= 0 {
		send("forge_writes_left_minute", "Comments that may still be written in this minute to the repository that has the least room.", prometheus.GaugeValue, float64(f.WritesMinute))
		send("forge_writes_left_hour", "Comments that may still be written in this hour to the repository that has the least room.", prometheus.GaugeValue, float64(f.WritesHour))
	}
	if f.Requests >= 0 {
		send("forge_requests_left", "Requests that the forge still lets the account make in this hour.", prometheus.GaugeValue, float64(f.Requests))
	}
	send("data_dir_bytes", "What the data directory held when it was measured; 0 without --data-quota.", prometheus.GaugeValue, float64(f.DataBytes))
	over := 0.0
	if f.OverQuota {
		over = 1
	}
	send("data_dir_over_quota", "1 when the data directory is above --data-quota and all in it is needed.", prometheus.GaugeValue, over)
	if f.FreeBytes >= 0 {
		send("data_dir_free_bytes", "What the data directory's disk has left for us.", prometheus.GaugeValue, float64(f.FreeBytes))
		send("data_dir_disk_bytes", "The size of the data directory's disk.", prometheus.GaugeValue, float64(f.DiskBytes))
	}
	out <- lockAges(f.lockAges)
}

// lockAges are how long the locks that are held now have been held.
func lockAges(ages []float64) prometheus.Metric {
	const hour, day = 3600, 24 * 3600
	buckets, sum := map[float64]uint64{}, 0.0
	for _, upTo := range []float64{hour, 4 * hour, day, 3 * day, 7 * day, 14 * day, 30 * day} {
		buckets[upTo] = 0
		for _, a := range ages {
			if a <= upTo {
				buckets[upTo]++
			}
		}
	}
	for _, a := range ages {
		sum += a
	}
	return prometheus.MustNewConstHistogram(
		prometheus.NewDesc("tidegate_lock_age_seconds", "How long the locks have been held that are held now.", nil, nil), uint64(len(ages)), sum, buckets)
}

// age is how many seconds ago something was; 0 when it never was, or when the clock was put back.
func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(time.Since(t).Seconds(), 0)
}

// disk is how much a directory's disk has left for who is not root, and how large it is; -1 when that
// can't be told.
func disk(dir string) (free, all int64) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return -1, -1
	}
	size := int64(fs.Bsize) //nolint:unconvert // the types differ by system
	return int64(min(fs.Bavail, 1<<40)) * size, int64(min(fs.Blocks, 1<<40)) * size
}

// freeBytes is what a directory's disk has left for who is not root; -1 when that can't be told.
func freeBytes(dir string) int64 {
	free, _ := disk(dir)
	return free
}
