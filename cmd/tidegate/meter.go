package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegate/tidegate/server/dispatch"
)

// meter counts what the engine and the runner tell.
type meter struct {
	took     *prometheus.HistogramVec
	happened map[string]prometheus.Counter
}

// newMeter makes a meter in which everything is there from the start, so that a first time is seen.
func newMeter(r *prometheus.Registry) *meter {
	m := &meter{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tidegate_duration_seconds", Help: "How long init, plan, apply and the posting of an answer took.",
			Buckets: []float64{0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600},
		}, []string{"step"}),
		happened: map[string]prometheus.Counter{},
	}
	for _, step := range []string{"init", "plan", "apply", dispatch.Answered} {
		m.took.WithLabelValues(step)
	}
	r.MustRegister(m.took)
	for what, help := range map[string]string{
		dispatch.Adopted:     "Applies that were taken over from an earlier process.",
		dispatch.Interrupted: "Jobs that were stopped before their end.",
		dispatch.Unknown:     "Applies of which nobody knows how they ended.",
	} {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidegate_" + what + "_total", Help: help})
		m.happened[what] = c
		r.MustRegister(c)
	}
	return m
}

// Took implements dispatch.Meter. Steps that nobody asked for are not kept.
func (m *meter) Took(step string, d time.Duration) {
	switch step {
	case "init", "plan", "apply", dispatch.Answered:
		m.took.WithLabelValues(step).Observe(d.Seconds())
	}
}

// Happened implements dispatch.Meter.
func (m *meter) Happened(what string) {
	if c, ok := m.happened[what]; ok {
		c.Inc()
	}
}
