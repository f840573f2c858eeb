// Package stage labels goroutines with what they work on, so that a CPU profile can be
// split by stage: the label's key is "stage".
package stage

import (
	"context"
	"runtime/pprof"
)

// Stage is a part of an event's way. Its labels are made once: entering one costs a
// few nanoseconds.
type Stage struct {
	name   string
	labels context.Context
}

// The stages, in the order of an event's way.
var (
	HTTP       = named("http")       // requests read, answers written
	Decode     = named("decode")     // a body made into events
	Journal    = named("journal")    // frames written and synced
	Read       = named("read")       // frames read back for the writer
	Dedup      = named("dedup")      // which events are new
	Events     = named("events")     // rows of events
	Commit     = named("commit")     // counters, COMMIT
	Checkpoint = named("checkpoint") // the WAL copied into the database
	Runs       = named("runs")       // runs of keys written and merged, beside the writer
)

func named(name string) Stage {
	return Stage{name, pprof.WithLabels(context.Background(), pprof.Labels("stage", name))}
}

// Enter labels the calling goroutine until it enters another stage.
func (s Stage) Enter() { pprof.SetGoroutineLabels(s.labels) }
