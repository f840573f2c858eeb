package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/journal"
)

// fill puts n frames into an outbox, each in a frame of the journal of its own.
func fill(t *testing.T, o *Outbox, n int) (tickets []*Ticket) {
	t.Helper()
	for range n {
		m, err := o.Make([][]byte{bodyOf(t, "e").Data}, 1, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		at := int64(len(tickets) * 100)
		tickets = append(tickets, o.Add(m, journal.Frame{Start: journal.Position{Segment: 1, Offset: at}, Bytes: 100, Unpacked: 100}, true))
	}
	return tickets
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func logged(tickets []*Ticket) (n int) {
	for _, t := range tickets {
		if closed(t.Logged) {
			n++
		}
	}
	return n
}

// TestAnswerOfOvertakerIsNotBelieved: the log has kept frame 2 and not frame 1, so the readers pass
// over frame 2. Its answer acknowledges nothing, not even once frame 1 has come, behind it.
func TestAnswerOfOvertakerIsNotBelieved(t *testing.T) {
	o := NewOutbox()
	tickets := fill(t, o, 3)
	o.Answered(frameKey{o.session, 2}, 10)
	o.Answered(frameKey{o.session, 3}, 11)
	if n := logged(tickets); n != 0 {
		t.Fatalf("%d frames are acknowledged, of which none counts", n)
	}
	o.Answered(frameKey{o.session, 1}, 12) // sent again
	if n := logged(tickets); n != 1 {
		t.Fatalf("%d frames are acknowledged, 1 counts", n)
	}
	o.Answered(frameKey{o.session, 2}, 13)
	o.Answered(frameKey{o.session, 3}, 14)
	if n := logged(tickets); n != 3 || tickets[2].At != 14 {
		t.Fatalf("%d frames are acknowledged, the last at %d", n, tickets[2].At)
	}
	m, err := o.Make([][]byte{bodyOf(t, "e").Data}, 1, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if f, _, err := Decode(m.Bytes[0]); err != nil || f.Number != 4 || f.Acked != 3 || f.AckedAt != 14 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestAnswerOfAnEarlierLifesOvertaker: the frames of an earlier life come in order, too, once the
// first of them was released: an answer from before that one's place is an overtaker's.
func TestAnswerOfAnEarlierLifesOvertaker(t *testing.T) {
	o := NewOutbox()
	earlier := NewSession()
	for number := uint64(5); number <= 7; number++ {
		o.add([]*sent{{frameKey: frameKey{earlier, number}, last: true}}, journal.Frame{})
	}
	o.Answered(frameKey{earlier, 6}, 10) // 5 was lost
	o.Answered(frameKey{earlier, 5}, 12)
	if _, _, ok := o.Release(12); !ok {
		t.Fatal("the first was not released")
	}
	o.Answered(frameKey{earlier, 7}, 13) // 6 was lost once more
	if all, unlogged := o.Depth(); all != 2 || unlogged != 2 {
		t.Errorf("of %d frames %d are to be sent, want both of 2", all, unlogged)
	}
	fill(t, o, 1)
	o.Answered(frameKey{earlier, 6}, 14)
	o.Answered(frameKey{earlier, 7}, 15)
	o.Answered(frameKey{o.session, 1}, 16)
	if _, unlogged := o.Depth(); unlogged != 0 {
		t.Errorf("%d frames are to be sent", unlogged)
	}
}

// TestSeenIsAcknowledged: a frame that is read back needs no answer.
func TestSeenIsAcknowledged(t *testing.T) {
	o := NewOutbox()
	tickets := fill(t, o, 2)
	o.Read(o.session, 1, 5)
	o.Read(o.session, 2, 6)
	if n := logged(tickets); n != 2 || tickets[1].At != 6 {
		t.Fatalf("%d frames are acknowledged, the last at %d", n, tickets[1].At)
	}
}

// TestKeptUntilInTwoStores: the journal is needed until what it has is in this store and in another
// one, and until its publisher was told.
func TestKeptUntilInTwoStores(t *testing.T) {
	o := NewOutbox()
	fill(t, o, 3)
	for number := uint64(1); number <= 3; number++ {
		o.Read(o.session, number, number+10)
	}
	if _, _, ok := o.Release(12); ok {
		t.Fatal("released before it was applied here")
	}
	for number := uint64(1); number <= 2; number++ {
		o.Applied(&Entry{Frame: Frame{Session: o.session, Number: number}}, []bool{true}, []int64{1})
	}
	if !o.releasable(11) || o.releasable(10) {
		t.Error("the first frame is at 11")
	}
	at, bytes, ok := o.Release(11)
	if !ok || bytes != 100 || at != (journal.Position{Segment: 1, Offset: 100}) {
		t.Errorf("released up to %v, %d bytes, %v", at, bytes, ok)
	}
	if _, bytes, ok := o.Release(13); !ok || bytes != 100 {
		t.Errorf("released %d bytes, %v: the third is not applied here", bytes, ok)
	}
	if all, unlogged := o.Depth(); all != 1 || unlogged != 0 {
		t.Errorf("%d frames are left, %d of them not in the log", all, unlogged)
	}
}

// TestSessionsDoNotMix: nothing of this life is sent while a frame of an earlier one may have to be
// sent again.
func TestSessionsDoNotMix(t *testing.T) {
	o := NewOutbox()
	earlier := NewSession()
	o.add([]*sent{{frameKey: frameKey{earlier, 7}, last: true}, {frameKey: frameKey{earlier, 8}, last: true}}, journal.Frame{})
	fill(t, o, 1)
	if v := o.view(1); v.next == nil || v.next.number != 8 {
		t.Fatalf("%+v", v.next)
	}
	if v := o.view(2); v.next != nil {
		t.Fatalf("%+v is to be sent beside an earlier session's", v.next)
	}
	o.Answered(frameKey{earlier, 7}, 3)
	o.Answered(frameKey{earlier, 8}, 4)
	if v := o.view(2); v.next == nil || v.next.session != o.session {
		t.Fatalf("%+v", v.next)
	}
}

// TestLargeRequestIsCut: a request larger than a frame becomes several, each with whole events, and
// an event that fits into none is known before.
func TestLargeRequestIsCut(t *testing.T) {
	r := bodyOf(t, slices.Repeat([]string{strings.Repeat("x", 200)}, 20_000)...)
	for _, apply := range []uint16{firstApply, packedApply} {
		o := NewOutbox()
		o.SetApply(apply)
		m, err := o.Make([][]byte{r.Data}, r.Events, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		events, bytes := 0, 0
		for _, b := range m.Bytes {
			f, _, err := Decode(b)
			if err != nil || len(f.Body) > FrameBytes || cap(b) > 2*len(b) {
				t.Fatal(len(f.Body), cap(b), err)
			}
			events, bytes = events+f.Events, bytes+len(b)
		}
		if packed := bytes < len(r.Data)/2; events != r.Events || len(m.Bytes) < 4 || packed != (apply == packedApply) {
			t.Errorf("version %d: %d events and %d bytes in %d frames, want %d", apply, events, bytes, len(m.Bytes), r.Events)
		}
	}
	if Fits(make([]byte, MaxEventBytes+1)) || !Fits(r.Data) {
		t.Error("Fits is wrong")
	}
}

// goneJournal has no frame any more.
type goneJournal struct{}

var errGone = errors.New("the segment is gone")

func (goneJournal) Read(journal.Frame, []byte) ([]byte, error) { return nil, errGone }

// TestReleasedIsNotSent: a frame that is to be sent again may be read back, applied and released
// with its segment before it is read from the journal. It is passed over. That one cannot be read
// which is in the outbox is an error.
func TestReleasedIsNotSent(t *testing.T) {
	o := NewOutbox()
	fill(t, o, 1)
	f := o.view(0).next
	o.takeFresh(f)
	s := &sender{outbox: o, journal: goneJournal{}}
	if err := s.send(f); !errors.Is(err, errGone) {
		t.Errorf("while it is in the outbox: %v", err)
	}
	o.Read(o.session, 1, 5)
	o.Applied(&Entry{Frame: Frame{Session: o.session, Number: 1}}, []bool{true}, []int64{1})
	if _, _, ok := o.Release(5); !ok {
		t.Fatal("it was not released")
	}
	if err := s.send(f); err != nil {
		t.Errorf("once it was released: %v", err)
	}
}

// countedJournal counts what is read from it.
type countedJournal struct {
	bytes []byte
	reads int
}

func (j *countedJournal) Read(journal.Frame, []byte) ([]byte, error) {
	j.reads++
	return j.bytes, nil
}

// TestFreshIsSentFromMemory: the first sending of a frame reads nothing from the journal, a repeat
// does, and so does what was too much to be kept. Both send the same bytes.
func TestFreshIsSentFromMemory(t *testing.T) {
	o := NewOutbox()
	m, err := o.Make([][]byte{bodyOf(t, "e").Data}, 1, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	o.Add(m, journal.Frame{Start: journal.Position{Segment: 1}, Bytes: 100}, false)
	j := &countedJournal{bytes: m.Bytes[0]}
	s := &sender{outbox: o, journal: j}
	for i, reads := range []int{0, 1} {
		message, err := s.message(o.frames[0])
		if err != nil || string(message) != string(m.Bytes[0]) || j.reads != reads {
			t.Errorf("sending %d: %d bytes after %d reads of the journal, want %d after %d: %v", i, len(message), j.reads, len(m.Bytes[0]), reads, err)
		}
	}
	if o.fresh != 0 {
		t.Errorf("%d bytes are counted as in memory, and none are", o.fresh)
	}
	o.fresh = freshBytes - 1
	fill(t, o, 1)
	if s := o.frames[1]; s.fresh != nil || o.fresh != freshBytes-1 {
		t.Errorf("%d bytes are kept beyond the bound", len(s.fresh))
	}
}
