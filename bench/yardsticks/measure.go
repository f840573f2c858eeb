package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// roundTimeout bounds one system's part of a round.
const roundTimeout = 5 * time.Minute

// measurement is one call of the program.
type measurement struct {
	config
	stream *stream.Stream
	dir    string // holds the systems' folders
	stdout io.Writer
	input  []stream.Event // the events of a round, in order
}

// rounds measures all systems, interleaved: a drift of the machine meets all of them. Each round
// begins with the next one.
func (m *measurement) rounds(ctx context.Context) ([]record.Yardstick, error) {
	// The events take a few hundred MB that every collection would look through again.
	debug.SetGCPercent(400)
	m.generate()
	results := make([]record.Yardstick, len(m.systems))
	for i, y := range m.systems {
		results[i] = y.Yardstick
		var err error
		if results[i].Version, err = y.version(ctx); err != nil {
			results[i].Skipped = err.Error()
			fmt.Fprintf(m.stdout, "skipped: %s: %s\n", y.ID, err)
		}
	}
	for round := range m.config.rounds {
		for i := range m.systems {
			i = (i + round) % len(m.systems)
			if results[i].Skipped != "" {
				continue
			}
			r, err := m.fill(ctx, m.systems[i])
			if err != nil {
				return nil, fmt.Errorf("round %d: %s: %w", round+1, m.systems[i].ID, err)
			}
			results[i].Rounds = append(results[i].Rounds, r)
			fmt.Fprintf(m.stdout, "round %d  %-18s %9.0f events/s\n", round+1, m.systems[i].ID, float64(r.Events)/r.Seconds)
		}
	}
	return results, nil
}

// generate makes the events once; repeats share their texts.
func (m *measurement) generate() {
	originals := make([]stream.Event, 0, m.events)
	m.input = make([]stream.Event, m.events)
	for n := range m.input {
		original := m.stream.Original(uint64(n))
		if original == uint64(len(originals)) {
			originals = append(originals, m.stream.Event(original))
		}
		m.input[n] = originals[original]
	}
}

// fill starts a system on an empty folder, gives it the events, and counts what it has stored.
func (m *measurement) fill(ctx context.Context, y yardstick) (r record.YardstickRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	dir, err := os.MkdirTemp(m.dir, y.ID+"-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	events := m.input
	if y.events > 0 {
		events = events[:min(y.events, len(events))]
	}
	s := y.make()
	var requests []any
	for batch := range slices.Chunk(events, m.eventsPerRequest) {
		requests = append(requests, s.encode(batch))
	}
	own, err := ownUsage()
	if err != nil {
		return r, err
	}
	defer func() {
		if err = errors.Join(err, s.stop()); err == nil {
			err = count(&r, s, own, dir, y.logs)
		}
	}()
	if err := s.start(ctx, dir); err != nil {
		return r, err
	}
	// What the previous system left in memory and on its way to the disk is not to be paid for while
	// the clock runs.
	debug.FreeOSMemory()
	syscall.Sync()
	r = record.YardstickRound{Events: len(events), Expected: y.expected(m.stream, len(events))}
	if err := clock(ctx, y.connections, s, requests, &r); err != nil {
		return r, err
	}
	if r.Stored, err = s.stored(ctx); err != nil {
		return r, fmt.Errorf("count: %w", err)
	}
	if r.Stored != r.Expected {
		err = fmt.Errorf("of %d events %d were stored, and %d were expected", r.Events, r.Stored, r.Expected)
	}
	return r, err
}

// clock measures from the first request to the last event stored.
func clock(ctx context.Context, connections int, s system, requests []any, r *record.YardstickRound) error {
	client, err := ownUsage()
	if err != nil {
		return err
	}
	var server time.Duration
	if p := s.process(); p != nil {
		if server, _, err = p.usage(); err != nil {
			return err
		}
	}
	began := time.Now()
	err = appendAll(ctx, connections, s, requests)
	if err == nil {
		err = s.settle(ctx)
	}
	r.Seconds = time.Since(began).Seconds()
	if err != nil {
		return err
	}
	if reading, ok := s.(interface{ read() int }); ok {
		r.EventsRead = reading.read()
	}
	clientNow, err := ownUsage()
	if err != nil {
		return err
	}
	r.ClientCPUS = (cpuOf(clientNow) - cpuOf(client)).Seconds()
	if p := s.process(); p != nil {
		serverNow, memory, err := p.usage()
		if err != nil {
			return err
		}
		used := (serverNow - server).Seconds()
		r.ServerCPUS, r.ServerMemoryBytes = &used, &memory
	}
	return nil
}

// appendAll sends the requests in order, each by the next connection that is free.
func appendAll(ctx context.Context, connections int, s system, requests []any) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for connection := range connections {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(requests) {
					return
				}
				if err := s.append(ctx, connection, requests[i]); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// ownUsage is what this process has used.
func ownUsage() (usage syscall.Rusage, err error) {
	err = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return usage, err
}

// cpuOf is user and system time.
func cpuOf(usage syscall.Rusage) time.Duration {
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
