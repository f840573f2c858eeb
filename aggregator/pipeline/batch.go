package pipeline

import (
	"fmt"
	"slices"
	"unsafe"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/stage"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
)

// part is what a batch takes of one item.
type part struct {
	item     *item
	from, to int // of its events
}

// batch is what one transaction applies.
type batch struct {
	store.Batch
	parts  []part
	frames []byte // of the journal, as the rows were read from them

	refused  int   // how many of the pipeline's it takes along
	released int64 // bytes of the outbox that are not needed once it is committed
}

// BatchBytes ends a batch of large events, so that what it takes of the memory does not depend on
// what waits: a batch of 50 000 usual events has 12 MB. One item is taken whatever it has.
const BatchBytes = 32 << 20

// takeBatch makes batch the next one to commit; it has no rows if nothing waits.
func (w *writer) takeBatch() error {
	if w.preparing != nil {
		err := w.awaitNext()
		w.batch, w.next = w.next, w.batch
		return err
	}
	w.choose(w.batch, nil)
	return w.read(w.batch, w.state.LastReceivedAt)
}

// prepareNext reads the next batch beside the commit of this one, if there is a full one: less
// would gain company meanwhile.
func (w *writer) prepareNext() {
	if !w.choose(w.next, w.batch.parts) {
		return
	}
	last := w.state.LastReceivedAt
	if n := len(w.batch.Rows); n > 0 {
		last = w.batch.Rows[n-1].ReceivedAt
	}
	w.preparing = make(chan error, 1)
	go func() { w.preparing <- w.read(w.next, last) }()
}

// awaitNext waits for the next batch to be read.
func (w *writer) awaitNext() (err error) {
	if w.preparing != nil {
		err = <-w.preparing
		w.preparing = nil
	}
	return err
}

// choose says what b applies, behind the parts that are being applied: whole items in order up to
// BatchBytes and as many events as the pace allows, and the beginning of one that has too many. A
// request at the store level is never cut, since one transaction has to answer it; nor is a message
// of a cluster's log, of which a control is alone. It returns whether more would not have fit.
func (w *writer) choose(b *batch, behind []part) (full bool) {
	room, bytes := w.pace.events(w.cfg.BatchEvents), int64(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	b.parts = b.parts[:0]
	waiting, from := w.queue.waiting(), 0
	if n := len(behind); n > 0 {
		waiting = waiting[n-1:]
		if from = behind[n-1].to; from == waiting[0].events {
			waiting, from = waiting[1:], 0
		}
	} else if len(waiting) > 0 {
		from = waiting[0].applied
	}
	for _, i := range waiting {
		if bytes += i.frame.Unpacked + i.memoryBytes(); bytes > BatchBytes && len(b.parts) > 0 {
			return true
		}
		if i.isControl() { // a batch of its own: what it says counts behind it, and not before
			if len(b.parts) == 0 {
				b.parts = append(b.parts, part{i, 0, 0})
			}
			return true
		}
		to := i.events
		if to-from > room {
			if i.waiter == nil && i.entry == nil {
				to = from + room
			} else if len(b.parts) > 0 {
				return true
			}
		}
		b.parts = append(b.parts, part{i, from, to})
		if room -= to - from; room <= 0 || w.oneByOne {
			return true
		}
		from = 0
	}
	return false
}

// read fills the batch's rows with the events of all its parts; the event before them was received
// at last.
func (w *writer) read(b *batch, last string) error {
	return w.guarded(func() error { return w.readParts(b, last) })
}

func (w *writer) readParts(b *batch, last string) error {
	stage.Read.Enter()
	frames := 0
	for _, part := range b.parts {
		frames += int(part.item.frame.Unpacked)
	}
	b.Rows, b.frames = b.Rows[:0], slices.Grow(b.frames[:0], frames)
	for _, part := range b.parts {
		if part.item.events == 0 { // of a cluster's log: it does not count
			continue
		}
		// Two levels wait different times before the queue; its order is the truth.
		last = max(last, part.item.receivedAt().UTC().Format(ReceivedLayout))
		if err := w.readPart(b, part, last); err != nil {
			return err
		}
	}
	stage.Dedup.Enter()
	b.Prepare()
	return nil
}

// readPart appends a part's events to the rows. An item that several batches share is read by each
// of them.
func (w *writer) readPart(b *batch, part part, receivedAt string) (err error) {
	i, data := part.item, part.item.data
	if !i.inMemory() {
		from := len(b.frames)
		b.frames = b.frames[:from+int(i.frame.Unpacked)]
		if data, err = w.journal.Read(i.frame, b.frames[from:from:len(b.frames)]); err != nil {
			return err
		}
	}
	// Nobody writes to data until recycle: events may point into it.
	rest := unsafe.String(unsafe.SliceData(data), len(data))
	for n := range part.to {
		var e event.Event
		if e, rest, err = event.Next(rest); err != nil {
			return fmt.Errorf("writer: %w", err)
		}
		if n >= part.from {
			b.Rows = append(b.Rows, store.Row{Event: e, ReceivedAt: receivedAt})
		}
	}
	if left := i.events - part.to; (left == 0) != (rest == "") {
		return fmt.Errorf("writer: %d bytes are left where %d events are", len(rest), left)
	}
	return nil
}

// recycle ends the batch: nothing points any more into what it was read from. An idle writer holds
// no row of it.
func (b *batch) recycle() {
	clear(b.Rows)
	if cap(b.frames) > BatchBytes {
		b.frames = nil
	}
	for _, part := range b.parts {
		switch i := part.item; {
		case i.entry != nil:
			i.entry.Frame.Recycle()
		case part.to == i.events && i.inMemory() && i.waiter == nil: // a publisher at the store level may still read its own
			event.Recycle(i.data)
		}
	}
}

// position is the journal position once the parts are applied.
func (w *writer) position(parts []part) (at journal.Position, applied int) {
	at, applied = w.state.Journal, w.state.JournalApplied
	for _, part := range parts {
		i := part.item
		switch {
		case i.inMemory():
		case part.to == i.events:
			at, applied = i.frame.End(), 0
		default:
			at, applied = i.frame.Start, part.to
		}
	}
	return at, applied
}
