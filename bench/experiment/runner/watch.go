package runner

import (
	"context"
	"fmt"
	"time"

	"sekali/bench/audit"
)

const (
	// watchInterval is how often the watch looks, and watchWindow how far back from the last number:
	// a few hundred events a second are read, which costs well under a hundredth of a core.
	watchInterval = 250 * time.Millisecond
	watchWindow   = 100
	// maxSightings bounds what is held for the audit: an hour at that interval.
	maxSightings = 15_000
)

// watch looks from outside at what the aggregator calls committed: it reads the events before the
// last number that /stats names, at that moment. The audit holds each sighting against the export
// of after the run, which must have the same events there, a SIGKILL in between or not.
type watch struct {
	sightings  []audit.Sighting
	unnumbered uint64 // answers in which what is processed is not what is numbered
	looks      uint64
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context, a *aggregator, base stats) {
	for sleep(ctx, watchInterval) && len(w.sightings) < maxSightings {
		now, err := a.stats(ctx, false)
		if err != nil {
			continue // the trace counts what is not answered
		}
		w.looks++
		if now.processed()-base.processed() != uint64(now.LastSeq-base.LastSeq) {
			w.unnumbered++
		}
		if now.LastSeq <= base.LastSeq {
			continue
		}
		seen := audit.Sighting{From: max(base.LastSeq, now.LastSeq-watchWindow), To: now.LastSeq}
		reader := audit.Reader{Client: a.client, URL: a.url, Token: a.token}
		events, _, err := reader.Page(ctx, "", seen.From, watchWindow)
		if ctx.Err() != nil {
			return
		}
		seen.Unread = err != nil
		// A SIGTERM or SIGKILL may have come between the two questions.
		if again, failed := a.stats(ctx, false); failed != nil || seen.Unread && again.LastSeq < now.LastSeq {
			continue
		}
		seen.See(events)
		w.sightings = append(w.sightings, seen)
	}
}

// checks hold what was seen against the export.
func (w *watch) checks(reference *audit.Reference) []audit.Check {
	return []audit.Check{
		audit.None("processed_not_numbered", w.unnumbered),
		audit.None("committed_not_readable", reference.Missed(w.sightings)),
	}
}

// checkReading holds pages, topics and the stream to the export.
func (s *session) checkReading(ctx context.Context, reference *audit.Reference) ([]audit.Check, error) {
	from := audit.Reader{Client: s.aggregator.client, URL: s.aggregator.url, Token: s.aggregator.token}
	var checks []audit.Check
	for _, read := range []func(context.Context, audit.Reader) (audit.Check, error){reference.CheckPages, reference.CheckTopics, reference.CheckStream} {
		check, err := read(ctx, from)
		if err != nil {
			return nil, err
		}
		checks = append(checks, check)
	}
	return checks, nil
}

// checkDisk starts the aggregator again on what it left on the disk and holds that to the first
// export, seq and received_at included.
func (s *session) checkDisk(ctx context.Context, reference *audit.Reference) (audit.Check, error) {
	s.say("audit", 1)
	if _, err := s.aggregator.start(ctx); err != nil {
		return audit.Check{}, fmt.Errorf("audit: what was left on the disk: %w", err)
	}
	again := audit.NewReference(s.base.LastSeq)
	for event, err := range audit.Export(ctx, s.aggregator.client, s.aggregator.url, s.aggregator.token, s.base.LastSeq) {
		if err != nil {
			return audit.Check{}, fmt.Errorf("audit: what was left on the disk: %w", err)
		}
		again.Add(event)
	}
	if err := s.endLast(ctx); err != nil {
		return audit.Check{}, err
	}
	return reference.CheckSame(again), nil
}
