package pipeline

import (
	"context"
	"fmt"
	"time"

	"sekali/aggregator/store"
)

const (
	// RoomPerByte is what a byte that waits takes until it is settled, beside the journal: 1.15 in
	// the database, as much in the WAL until a checkpoint, and its key in a run, twice while runs
	// are merged (figures of a backlog of 42 000 events of 231 bytes).
	RoomPerByte = 3
	// RoomLeast stays free whatever waits: a WAL of calmCheckpointPages, which a checkpoint needs
	// twice.
	RoomLeast = 8 << 20
	// readyBytes is how large a request must still fit for the pipeline to be ready: where none of
	// usual size does, it is not.
	readyBytes = 1 << 20
	// freshFree is how old the knowledge of what is free may be: others fill the disk too.
	freshFree = 100 * time.Millisecond
	// quietTicks is how many ticks of flushInterval without an event make a long WAL file shrink.
	// Later commits have to lengthen it again, so a short rest is none.
	quietTicks = 5
	// quietWALBytes is a file that is left alone: the writer checkpoints so much after a commit.
	quietWALBytes = finishPages * store.PageBytes
)

// noRoom says why nothing more is taken: what waits would not fit into the store any more, with all
// its copies. A backlog that has filled the disk could never be committed, so its segments would
// never be removed, and what waits in memory would be lost at a stop. Somebody would have to make
// room. mu is held.
func (p *Pipeline) noRoom(bytes int64) error {
	if kept := p.wanted(bytes); p.freeBytes < kept {
		return fmt.Errorf("%w: %d bytes are free, %d are kept for what waits", ErrDiskFull, p.freeBytes, kept)
	}
	return nil
}

// wanted is what must be free for so many bytes more to be taken. mu is held.
func (p *Pipeline) wanted(bytes int64) int64 { return p.keptFree() + (RoomPerByte+1)*bytes }

// lockFresh locks mu, once what is known of the disk is good enough to say whether so many bytes
// can be taken. The disk is asked before, while nobody waits.
func (p *Pipeline) lockFresh(bytes int64) {
	p.mu.Lock()
	if p.freeBytes >= p.wanted(bytes) && time.Since(p.freeAsked) <= freshFree {
		return
	}
	p.mu.Unlock() // there may be some again, or less
	free := p.askFree()
	p.mu.Lock()
	p.refreshFree(free)
}

// keptFree is what the disk must have left for all that was taken: for each byte that waits, in
// memory too, for what is yet to be written to the journal, and for the pages of the WAL that the
// database does not have. mu is held.
func (p *Pipeline) keptFree() int64 {
	waits := p.counters.BacklogBytes + p.counters.QueueBytes + p.pendingBytes
	return RoomPerByte*waits + p.pendingBytes + p.notCheckpointed*store.PageBytes + RoomLeast
}

// newApplier returns an Applier that knows what room there is.
func (p *Pipeline) newApplier() *store.Applier {
	a := store.NewApplier(p.store)
	a.Room = p.spareRoom
	return a
}

// spareRoom is what the disk has beyond what is kept for all that was taken.
func (p *Pipeline) spareRoom() int64 {
	free := p.askFree()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refreshFree(free)
	return p.freeBytes - p.keptFree()
}

// free is what the disk said.
type free struct {
	bytes int64
	asked time.Time // zero: it could not be asked
}

// askFree asks the disk. mu is not held. That it does not say is logged when it begins, and when it
// ends: a folder that was moved away is asked several times a second.
func (p *Pipeline) askFree() free {
	asked := time.Now()
	bytes, err := p.journal.Free()
	if err != nil {
		if !p.freeUnknown.Swap(true) {
			p.log.Warn("how much room the disk has is not known", "error", err)
		}
		return free{}
	}
	if p.freeUnknown.CompareAndSwap(true, false) {
		p.log.Info("how much room the disk has is known again", "bytes", bytes)
	}
	return free{bytes, asked}
}

// refreshFree notes what the disk said, unless it has been asked again since. Where it could not be
// asked, what it said before stands: such a disk fails its writes too. mu is held.
func (p *Pipeline) refreshFree(f free) {
	if f.asked.After(p.freeAsked) {
		p.freeBytes, p.freeAsked = f.bytes, f.asked
	}
}

// giveBackWAL takes the WAL's file from the disk while nothing waits: at once where room is wanted,
// else when it has been quiet for long and the file is long, as after a reader that held it.
func (w *writer) giveBackWAL(ctx context.Context) error {
	free := w.askFree()
	w.mu.Lock()
	w.refreshFree(free)
	wanted := w.noRoom(readyBytes) != nil
	w.mu.Unlock()
	_, bytes := w.store.Sizes()
	long := w.quiet >= quietTicks && bytes > quietWALBytes
	checkpointing := w.beside != nil && len(w.beside) == 0
	if bytes == 0 || checkpointing || !wanted && !long {
		return nil
	}
	err := w.awaitCheckpoint()
	if err == nil {
		err = w.truncateWAL()
	}
	if err == nil || diskFull(err) { // what can be freed is; the rest waits for room
		return nil
	}
	return w.checkpointFailed(ctx, err)
}

// truncateWAL checkpoints the WAL and takes its file from the disk. A reader that has a snapshot
// prevents it; there is a next time.
func (w *writer) truncateWAL() error {
	return w.checkpointNow(func() error {
		wal, err := w.store.TruncateWAL()
		if err != nil {
			return err
		}
		w.checkpointsBeside = 0
		w.setWAL(wal)
		return nil
	})
}

// setWAL notes how long the WAL is, and how much of it is yet to be checkpointed.
func (w *writer) setWAL(wal store.WAL) {
	free := w.askFree()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counters.WALPages, w.notCheckpointed = wal.Pages, wal.Pages-wal.Checkpointed
	w.refreshFree(free)
}
