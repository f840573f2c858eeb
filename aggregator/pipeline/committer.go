package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/journal"
)

const (
	// groupBytes closes a group: a fdatasync of 1 MB takes some five times as long
	// as one of 4 KB, so several MB in one flush gain little more and delay all.
	groupBytes = 4 << 20
)

// group is the requests that one fdatasync will make durable.
type group struct {
	requests [][]byte
	events   int
	bytes    int64
	done     chan struct{} // closed once durable, or failed with err
	err      error

	keep    bool            // of a cluster: somebody waits for the outcome of each event
	hurried bool            // of a cluster: somebody waits for the journal alone
	ticket  *cluster.Ticket // of a cluster, set before done is closed
}

// join admits a request and adds it to the group that the committer takes next. It returns how many
// events of the group are before the request's.
func (p *Pipeline) join(level Level, r *event.Request) (g *group, before int, err error) {
	p.lockFresh(waitingBytes(r))
	defer p.mu.Unlock()
	if err := p.refusal(Journal, r); err != nil {
		return nil, 0, err
	}
	p.countRejected(r)
	size := int64(len(r.Data))
	if n := len(p.pending); n > 0 && p.pending[n-1].bytes+size <= groupBytes {
		g = p.pending[n-1]
	} else {
		g = &group{done: make(chan struct{})}
		p.pending = append(p.pending, g)
	}
	before = g.events
	g.keep, g.hurried = g.keep || level == Store, g.hurried || level == Journal
	g.requests = append(g.requests, r.Data)
	g.events += r.Events
	g.bytes += size
	p.pendingEvents += r.Events
	p.pendingBytes += size + itemBytes
	wake(p.pendingReady)
	return g, before, nil
}

// RunCommitter writes group after group to the journal until the pipeline is closed
// and nothing is pending, or until ctx ends. It returns an error when the journal's
// disk has failed for good.
func (p *Pipeline) RunCommitter(ctx context.Context) error {
	stage.Journal.Enter()
	defer func() {
		p.Close() // nobody would answer who comes after this
		p.mu.Lock()
		p.committerDone = true
		p.failPending(ErrShuttingDown)
		p.mu.Unlock()
		wake(p.queueReady)
	}()
	idle := time.NewTicker(flushInterval)
	defer idle.Stop()
	for {
		switch pending, closed := p.pends(); {
		case pending:
			p.gather(ctx)
			runtime.Gosched() // what can run may have company for this group
			if err := p.journalGroup(ctx, p.takeGroup()); err != nil {
				return err
			}
		case closed:
			return nil
		default:
			select {
			case <-p.pendingReady:
			case <-idle.C: // others may have filled the disk
				p.fitJournal()
			case <-p.closing:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// pends reports that a group is to be written, and that none will come.
func (p *Pipeline) pends() (pending, closed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) > 0, p.closed
}

// takeGroup hands over the first pending group. Requests that come while it is written belong to
// the next one.
func (p *Pipeline) takeGroup() *group {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.pending[0]
	p.pending = p.pending[1:]
	return g
}

// journalGroup makes a group durable, puts it into the queue and answers its publishers. If that
// fails, they and all who wait behind them are told so, and the journal is repaired before it
// returns. A frame of a cluster that the journal has, in a folder that is missed, is sent all the
// same: its number is spent, and the next life finds it.
func (p *Pipeline) journalGroup(ctx context.Context, g *group) error {
	start := time.Now()
	frame, err := p.write(g)
	p.Timings.JournalSync.Record(time.Since(start), 1)
	written := err == nil
	if written {
		err = p.inPlace()
	}

	p.mu.Lock()
	p.settle(g)
	if written {
		p.countJournaled(g, frame, err == nil)
	}
	if err != nil {
		p.journalFailing = err
		g.err = fmt.Errorf("%w: %w", ErrDiskFailing, err)
		p.failPending(g.err)
	}
	p.mu.Unlock()
	if written {
		p.handOver(g, frame)
	}
	close(g.done)
	if err != nil {
		p.log.Error("journal failing", "error", err)
		p.fitJournal()
		return p.repairJournal(ctx)
	}
	for _, data := range g.requests {
		if !g.keep { // its publisher reads it yet
			event.Recycle(data)
		}
	}
	p.fitJournal()
	return nil
}

// countJournaled notes a group that the journal has. Of an aggregator that is alone it is queued if
// its publishers are told so. The caller holds mu.
func (p *Pipeline) countJournaled(g *group, frame journal.Frame, told bool) {
	p.counters.JournalSyncs++
	p.counters.JournalBytes += frame.Bytes
	switch {
	case p.cfg.Node != nil:
		p.counters.BacklogBytes += frame.Unpacked
		p.countUnread(g.events)
	case told:
		p.enqueue(&item{frame: frame, events: g.events, acceptedAt: time.Now()})
	}
}

// fitJournal tells the journal how much room its disk has, once the publishers have their answer.
func (p *Pipeline) fitJournal() {
	free := p.askFree()
	p.mu.Lock()
	p.refreshFree(free)
	bytes := p.freeBytes
	p.mu.Unlock()
	p.journal.Fit(bytes)
}

// settle ends the charge of a group's requests. The caller holds mu.
func (p *Pipeline) settle(g *group) {
	p.pendingEvents -= g.events
	p.pendingBytes -= g.bytes + itemBytes*int64(len(g.requests))
}

// failPending answers every pending request with err. The caller holds mu.
func (p *Pipeline) failPending(err error) {
	for _, g := range p.pending {
		p.settle(g)
		g.err = err
		close(g.done)
	}
	p.pending = nil
}

// repairJournal tries until the journal can be appended to again. Meanwhile nothing is
// admitted.
func (p *Pipeline) repairJournal(ctx context.Context) error {
	return p.retryDisk(ctx, "journal", func() error {
		err := p.journal.Repair()
		p.mu.Lock()
		p.journalFailing = err
		p.mu.Unlock()
		return err
	})
}
