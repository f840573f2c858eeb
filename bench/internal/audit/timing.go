package audit

import (
	"cmp"
	"fmt"
	"time"

	"sekali/loadgen/ledger"
)

// The checks of what is stored against the times of the ledger. A record has no received_at, and so
// only what the first of them came to.
const (
	OutOfTime          = "received_out_of_time"
	OutOfRealTimeOrder = "out_of_real_time_order"
)

const (
	// maxTimed bounds the originals whose times are held, 12 bytes each. A longer stream is audited
	// without them: it has neither of these two checks, nor ToldTooShort, which needs the times too.
	maxTimed = 5_000_000
	// clockSlack is how far the aggregator's clock may be from the sender's: both are of one machine.
	clockSlack = 100 * time.Millisecond
	// tick is the unit in which times are held: 32 bits of it are 11.9 hours. A longer load too is
	// audited without the three.
	tick  = 10 * time.Microsecond
	never = ^uint32(0)
)

// timing holds what is stored to the times of the ledger:
//
//   - received_at lies between the first sending of an event and its acknowledgement;
//   - an event that was acknowledged before another one was sent has the smaller seq;
//   - the events of one request that nothing else carried are stored in its order.
type timing struct {
	startedAt time.Time
	sent      []uint32 // of an original: its first sending that was not refused
	done      []uint32 // its first acknowledgement that was a promise
	request   []uint32 // that carried it last
	again     bitset   // more than one attempt carried it
	last      map[uint32]uint64

	lastSent   uint32 // of all events so far
	outOfTime  uint64
	outOfOrder uint64
}

func newTiming(startedAt time.Time, originals uint64) *timing {
	if startedAt.IsZero() || originals > maxTimed {
		return nil
	}
	t := &timing{startedAt: startedAt, sent: make([]uint32, originals), done: make([]uint32, originals), request: make([]uint32, originals),
		again: newBitset(originals), last: map[uint32]uint64{}}
	for i := range t.sent {
		t.sent[i], t.done[i] = never, never
	}
	return t
}

// tooLate says that a time of the attempt is beyond what 32 bits hold.
func tooLate(a ledger.Attempt) bool {
	return time.Duration(max(a.SentNS, a.DoneNS))/tick >= time.Duration(never)-1 // carry rounds up
}

// carry notes an attempt that may have been taken.
func (t *timing) carry(original uint64, a ledger.Attempt, promised bool) {
	if t.sent[original] != never {
		t.again.set(original)
	}
	t.sent[original] = min(t.sent[original], uint32(time.Duration(max(0, a.SentNS))/tick))
	t.request[original] = uint32(a.Request)
	if promised {
		t.done[original] = min(t.done[original], uint32((time.Duration(a.DoneNS)+tick-1)/tick))
	}
}

// check takes the stored originals in the order of their seq and says what is wrong with one; "":
// nothing.
func (t *timing) check(original uint64, received time.Time) (wrong string) {
	at := t.at
	switch sent, done := t.sent[original], t.done[original]; {
	case received.Before(at(sent).Add(-clockSlack)):
		t.outOfTime++
		wrong = fmt.Sprintf("was received %s before it was sent", at(sent).Sub(received))
	case done != never && received.After(at(done).Add(clockSlack)):
		t.outOfTime++
		wrong = fmt.Sprintf("was received %s after it was acknowledged", received.Sub(at(done)))
	}
	return cmp.Or(t.place(original), wrong)
}

// place is the part of check that needs no time of the aggregator.
func (t *timing) place(original uint64) (wrong string) {
	if t.done[original] < t.lastSent {
		t.outOfOrder++
		wrong = "was acknowledged before an event with a smaller seq was sent"
	}
	t.lastSent = max(t.lastSent, t.sent[original])
	if t.again.has(original) {
		return wrong
	}
	if last, known := t.last[t.request[original]]; known && original < last {
		t.outOfOrder++
		wrong = fmt.Sprintf("comes after an event that stands behind it in request %d", t.request[original])
	}
	t.last[t.request[original]] = original
	return wrong
}

func (t *timing) at(ticks uint32) time.Time { return t.startedAt.Add(time.Duration(ticks) * tick) }

// wait hands a stored original to who bounds how long it waited.
func (t *timing) wait(w *waits, seq int64, original uint64) {
	if w == nil || t.sent[original] == never {
		return
	}
	var done time.Time
	if t.done[original] != never {
		done = t.at(t.done[original])
	}
	w.add(seq, t.at(t.sent[original]), done)
}

func (t *timing) checks() []Check {
	return []Check{within(OutOfTime, t.outOfTime, 0, 0), within(OutOfRealTimeOrder, t.outOfOrder, 0, 0)}
}
