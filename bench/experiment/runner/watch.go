package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sekali/bench/internal/audit"
)

const (
	// watchWindow is how many numbers a look goes back from the last one that /stats names, and
	// watchLimit how many events it reads: those that were committed since are in it too.
	watchWindow = 50
	watchLimit  = 2 * watchWindow
	// maxWatchShare bounds the part of the time in which a look is under way. Most of that is waiting
	// for the answer, so that it costs less; the audit's report says what it came to.
	maxWatchShare = 0.05
	// maxWatchRest bounds the pause that this makes after a slow answer.
	maxWatchRest = 500 * time.Millisecond
	// maxSightings bounds what is held for the audit, 2 KB each.
	maxSightings = 15_000
)

// watch looks from outside at what the aggregator calls committed. Every answer of /stats that
// enters the trace may be followed by a look: the events in front of the last number that it names
// are read. Which answers are, the aggregator cannot know. The audit holds each sighting against
// the export of after the run, which must have the same events there, a SIGKILL in between or not.
type watch struct {
	aggregator *aggregator
	base       stats
	claims     chan stats // unbuffered: what comes while a look lasts is not looked at

	mu         sync.Mutex
	sightings  []audit.Sighting
	unnumbered uint64 // answers in which what is processed is not what is numbered
	fell       uint64 // answers that call less committed than one before
	highest    int64
}

func newWatch(a *aggregator, base stats) *watch {
	return &watch{aggregator: a, base: base, claims: make(chan stats)}
}

// claim takes the answers of the trace, one after the other.
func (w *watch) claim(now stats) {
	w.mu.Lock()
	if now.processed()-w.base.processed() != uint64(now.LastSeq-w.base.LastSeq) {
		w.unnumbered++
	}
	if now.LastSeq < w.highest {
		w.fell++
	}
	w.highest = max(w.highest, now.LastSeq)
	w.mu.Unlock()
	select {
	case w.claims <- now:
	default:
	}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-w.claims:
			began := time.Now()
			w.look(ctx, now)
			sleep(ctx, min(maxWatchRest, time.Duration(float64(time.Since(began))*(1/maxWatchShare-1))))
		}
	}
}

// look reads what an answer calls committed. The drain's last answer is always looked at.
func (w *watch) look(ctx context.Context, now stats) {
	if now.LastSeq <= w.base.LastSeq {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	a := w.aggregator
	seen := audit.Sighting{From: max(w.base.LastSeq, now.LastSeq-watchWindow), To: now.LastSeq, Asked: time.Now()}
	events, next, err := audit.Reader{Client: a.client, URL: a.url, Token: a.token}.Page(bounded, nil, seen.From, watchLimit)
	seen.Answered = time.Now()
	if ctx.Err() != nil {
		return
	}
	seen.Unread = err != nil
	if seen.Unread && a.interrupted(seen.Asked) {
		return // by a signal of ours
	}
	seen.See(events, next == nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sightings) < maxSightings {
		w.sightings = append(w.sightings, seen)
	}
}

// seen are the sightings in the order in which they were made.
func (w *watch) seen() []audit.Sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.sightings, func(a, b audit.Sighting) int { return a.Asked.Compare(b.Asked) })
	return w.sightings
}

// outside is what the audit holds the server's word to.
func (s *session) outside() *audit.Outside {
	o := &audit.Outside{Sightings: s.watch.seen()}
	// A node of a cluster tells how long events waited in it, and not those that another acknowledged.
	if f := s.run.Fault; s.run.Cluster == nil && (f == nil || f.ExitedNS == 0) {
		o.Told, o.From, o.Until = s.histograms.told()
	}
	return o
}

// checks hold what was seen against the export.
func (w *watch) checks(reference *audit.Reference) []audit.Check {
	return []audit.Check{
		audit.None("processed_not_numbered", w.unnumbered),
		audit.None("committed_fell", w.fell),
		audit.None("committed_not_readable", reference.Missed()),
	}
}

// checkReading holds pages, topics, streams and the copy to the export.
func (s *session) checkReading(ctx context.Context, reference *audit.Reference, backup *audit.Backup, stored uint64) ([]audit.Check, error) {
	s.status(auditReading, 0)
	from := s.reader()
	reads := []func() (audit.Check, error){}
	for _, read := range []func(context.Context, audit.Reader) (audit.Check, error){reference.CheckPages, reference.CheckTopics,
		reference.CheckIntervals, reference.CheckStream, reference.CheckTopicStreams} {
		reads = append(reads, func() (audit.Check, error) { return read(ctx, from) })
	}
	if backup != nil {
		reads = append(reads, func() (audit.Check, error) { return reference.CheckBackup(ctx, backup, stored) })
	}
	checks, steps := make([]audit.Check, len(reads)), make([]func() error, len(reads))
	for i, read := range reads {
		steps[i] = func() (err error) { checks[i], err = read(); return err }
	}
	return checks, together(steps...)
}

// reader reads as a client does.
func (s *session) reader() audit.Reader {
	return audit.Reader{Client: s.aggregator.client, URL: s.aggregator.url, Token: s.aggregator.token}
}

// maxBackup bounds the database of which a copy is asked for and read.
const maxBackup = 64 << 20

// takeBackup takes a copy of the database. There is none of a server that others use, nor where the
// disk has no room for it.
func (s *session) takeBackup(ctx context.Context) (*audit.Backup, error) {
	if s.aggregator.external() {
		return nil, nil
	}
	info, err := os.Stat(filepath.Join(s.aggregator.config.Data, databaseFile))
	if err != nil || info.Size() > maxBackup {
		return nil, nil
	}
	backup, err := audit.TakeBackup(ctx, s.reader())
	if errors.Is(err, audit.ErrNoRoom) {
		return nil, nil
	}
	return backup, err
}

// checkDisk looks into the database that the aggregator has left. Meanwhile it starts it again on
// what it left on the disk and holds that to the first export, seq and received_at included.
func (s *session) checkDisk(ctx context.Context, reference *audit.Reference, stored uint64) (found audit.Database, same audit.Check, err error) {
	s.status(auditDisk, 0)
	left, err := audit.OpenSnapshot(ctx, s.aggregator.config.Data)
	if err != nil {
		return found, same, err
	}
	err = together(
		func() (err error) { found, err = left.Inspect(ctx); return err },
		func() (err error) { same, err = s.checkAgain(ctx, reference, stored); return err })
	if err = errors.Join(err, left.Close()); err == nil { // before the aggregator ends, which tidies up
		err = s.endLast(ctx)
	}
	return found, same, err
}

// checkAgain starts the aggregator and holds what it gives to the first export.
func (s *session) checkAgain(ctx context.Context, reference *audit.Reference, stored uint64) (audit.Check, error) {
	if _, err := s.aggregator.start(ctx); err != nil {
		return audit.Check{}, fmt.Errorf("audit: what was left on the disk: %w", err)
	}
	again := audit.NewReference(s.base.LastSeq)
	events := audit.Export(ctx, s.aggregator.client, s.aggregator.url, s.aggregator.token, s.base.LastSeq)
	for event, err := range s.counted(auditDisk, events, stored) {
		if err != nil {
			return audit.Check{}, fmt.Errorf("audit: what was left on the disk: %w", err)
		}
		again.Add(event)
	}
	return reference.CheckSame(again), nil
}
