package cluster

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unsafe"

	"sekali/aggregator/event"
	"sekali/aggregator/journal"
)

// Outbox is the frames of this node that are not yet safe elsewhere. Their bytes are in the
// journal; here is where, and what is known of each.
type Outbox struct {
	session Session

	mu      sync.Mutex // guards all below
	changed chan struct{}
	frames  []*sent   // in the order in which they are sent
	acked   int       // of frames, the first so many are in the log …
	since   time.Time // … and the next is the first that is not, since then
	gone    uint64    // so many were before them
	lastAt  uint64    // place of the latest frame, of any session, that is known to be in the log
	byKey   map[frameKey]*sent
	number  uint64 // of the latest frame of this session …
	sum     uint32 // … and its checksum
	ackedNo uint64 // of this session: the latest that is in the log …
	ackedAt uint64 // … and where
	apply   uint16 // version in force, of frames that are made
	full    bool   // the log has refused the first that is not in it, for want of room
	fresh   int    // bytes that are in memory, too: of frames that were not sent yet

	encoded []byte // scratch, of who makes frames
}

// freshBytes bounds what is kept in memory to be sent. While the log takes what comes, that is a
// few frames; while it does not, they are read from the journal once it does.
const freshBytes = 8 << 20

type frameKey struct {
	session Session
	number  uint64
}

// sent is a frame in the outbox.
type sent struct {
	frameKey
	in       journal.Frame // where its bytes are …
	from, to int           // … within that frame's body
	last     bool          // of the journal's frame
	events   int
	accepted time.Time // when the journal had them; zero: they were read from the log, or are in the store
	ticket   *Ticket   // nil: it is of an earlier life, and nobody waits
	fresh    []byte    // its bytes, until it is sent for the first time; nil: the journal alone has them
	after    uint64    // it says that its session was acknowledged so far, which is of an earlier life
	answer   uint64    // the latest place that the log has told for it; 0: none
	at       uint64    // its place in the log, or a later one; 0: it is not known to be there
}

// Ticket is for those who wait for a group of events that one or more frames hold.
type Ticket struct {
	Logged  chan struct{} // closed once all are in the log
	Applied chan struct{} // closed once all are in this node's store

	// Owned by the outbox until both are closed.
	At      uint64 // of the last frame in the log
	Stored  []bool // by event, if Keep
	Seqs    []int64
	Keep    bool // somebody wants to know what became of each event
	Passed  bool // a frame of it was passed over: Stored and Seqs are not whole
	logged  int  // frames that are yet to come
	applied int
}

// Made are frames that are not yet in the journal.
type Made struct {
	Bytes  [][]byte // as the journal takes them
	frames []*sent
	sum    uint32
	ticket *Ticket
}

// NewOutbox returns an outbox of a new session.
func NewOutbox() *Outbox {
	return &Outbox{session: NewSession(), byKey: map[frameKey]*sent{}, changed: make(chan struct{})}
}

// tell wakes those who wait for a change. mu is held.
func (o *Outbox) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// Make makes frames of the events of requests. Only one goroutine makes and adds.
func (o *Outbox) Make(requests [][]byte, events int, now time.Time) (*Made, error) {
	o.mu.Lock()
	number, sum, acked, ackedAt, apply := o.number, o.sum, o.ackedNo, o.ackedAt, o.apply
	o.mu.Unlock()
	pieces, err := cut(requests, events)
	if err != nil {
		return nil, err
	}
	m := &Made{ticket: &Ticket{Logged: make(chan struct{}), Applied: make(chan struct{}), logged: len(pieces), applied: len(pieces)}}
	at := 0
	for i, p := range pieces {
		number++
		f := Frame{Apply: apply, Session: o.session, Number: number, Previous: sum, Acked: acked, AckedAt: ackedAt, Time: now, Events: p.events, Body: p.body}
		o.encoded = f.Encode(o.encoded[:0])
		bytes := slices.Clone(o.encoded)
		back, _, err := Decode(bytes)
		if err != nil { // nobody could apply it
			return nil, err
		}
		back.Recycle()
		m.Bytes = append(m.Bytes, bytes)
		m.frames = append(m.frames, &sent{frameKey: frameKey{o.session, number}, from: at, to: at + len(bytes), last: i == len(pieces)-1,
			events: p.events, ticket: m.ticket})
		at += len(bytes)
		sum = f.Sum
	}
	m.sum = sum
	return m, nil
}

// Add takes over frames that the journal has now. Keep: somebody wants to know what became of each
// event.
func (o *Outbox) Add(m *Made, in journal.Frame, keep bool) *Ticket {
	o.mu.Lock()
	defer o.mu.Unlock()
	m.ticket.Keep = keep
	now := time.Now()
	for i, s := range m.frames {
		s.accepted = now
		if o.fresh+len(m.Bytes[i]) <= freshBytes {
			s.fresh = m.Bytes[i]
			o.fresh += len(s.fresh)
		}
	}
	o.add(m.frames, in)
	o.number, o.sum = m.frames[len(m.frames)-1].number, m.sum
	return m.ticket
}

// add appends frames. mu is held.
func (o *Outbox) add(frames []*sent, in journal.Frame) {
	if o.acked == len(o.frames) {
		o.since = time.Now()
	}
	for _, s := range frames {
		s.in = in
		o.frames = append(o.frames, s)
		o.byKey[s.frameKey] = s
	}
	o.tell()
}

// Load takes what an earlier life has left in the journal. Those that the store has from the log
// already are not sent again.
func (o *Outbox) Load(j Journal, backlog []journal.Frame, cursor *Cursor) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, in := range backlog {
		body, err := j.Read(in, nil)
		if err != nil {
			return err
		}
		var frames []*sent
		for rest := body; len(rest) > 0; {
			from := len(body) - len(rest)
			var f Frame
			if f, rest, err = Decode(rest); err != nil {
				return fmt.Errorf("the journal at segment %d, %d: %w", in.Start.Segment, in.Start.Offset, err)
			}
			s := &sent{frameKey: frameKey{f.Session, f.Number}, from: from, to: len(body) - len(rest), last: len(rest) == 0, events: f.Events, after: f.Acked}
			if seen := cursor.Sessions[f.Session]; seen.Number >= f.Number {
				s.at = seen.Position
			} else {
				s.accepted = in.ReceivedAt
			}
			frames = append(frames, s)
		}
		o.add(frames, in)
	}
	o.advance()
	return nil
}

// Journal is where the frames' bytes are.
type Journal interface {
	Read(frame journal.Frame, buf []byte) ([]byte, error)
}

// takeFresh returns a frame's bytes, if they are in memory. They are not kept any longer, and
// nobody changes them.
func (o *Outbox) takeFresh(s *sent) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	bytes := s.fresh
	o.fresh -= len(bytes)
	s.fresh = nil
	return bytes
}

// Busy reports that the log has as many frames to answer as it works on at one time, or more. One
// more would wait. changed is closed when that may be over.
func (o *Outbox) Busy() (busy bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames)-o.acked >= busyFrames, o.changed
}

// SetApply notes the version in force; a lower one changes nothing.
func (o *Outbox) SetApply(version uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apply = max(o.apply, version)
}

// Answered notes what the log has said of a frame: it is at this place.
func (o *Outbox) Answered(key frameKey, at uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.byKey[key]; s != nil && at > s.answer {
		s.answer = at
		o.advance()
	}
}

// Read notes that a frame was read from the log, and counts: whatever became of the log's answer,
// it is there. It returns since when Waiting has counted the frame's events; zero: it has not.
func (o *Outbox) Read(session Session, number, at uint64) (accepted time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.byKey[frameKey{session, number}]
	if s == nil {
		return accepted
	}
	if s.at == 0 {
		s.at = at
		o.advance()
	}
	accepted, s.accepted = s.accepted, time.Time{}
	return accepted
}

// answeredAt reports that the log has told the place for one of the frames.
func (o *Outbox) answeredAt(at uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.frames, func(s *sent) bool { return s.at == at || s.answer == at })
}

// lacks reports a frame of this life that says more was acknowledged than has come: what was is not
// sent again before the next life.
func (o *Outbox) lacks(f *Frame, seen Seen) bool {
	return f.Session == o.session && f.Acked > seen.Number
}

// Waiting is how many events are in the journal, and were not yet read from the log.
func (o *Outbox) Waiting() (events int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.frames {
		if !s.accepted.IsZero() {
			events += s.events
		}
	}
	return events
}

// advance moves acked to where it can be. The log's answer for a frame is good if it is behind the
// frame before it: the readers have passed over one that has overtaken another. mu is held.
func (o *Outbox) advance() {
	before := o.acked
	for ; o.acked < len(o.frames); o.acked++ {
		s := o.frames[o.acked]
		if s.at == 0 && s.answer > o.lastAt {
			s.at = s.answer
		}
		if s.at == 0 {
			break
		}
		o.lastAt = s.at
		if s.session == o.session {
			o.ackedNo, o.ackedAt = s.number, s.at
		}
		if t := s.ticket; t != nil {
			t.At = max(t.At, s.at)
			if t.logged--; t.logged == 0 {
				close(t.Logged)
			}
		}
	}
	if o.acked != before {
		o.full, o.since = false, time.Now()
		o.tell()
	}
}

// Applied notes that a frame of this session is in the store, and what became of its events.
func (o *Outbox) Applied(e *Entry, stored []bool, seqs []int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.byKey[frameKey{e.Frame.Session, e.Frame.Number}]
	if s == nil || s.ticket == nil {
		return
	}
	t := s.ticket
	if t.Keep {
		t.Stored, t.Seqs = append(t.Stored, stored...), append(t.Seqs, seqs...)
	}
	s.settle()
}

// passOver notes that a frame of this session is passed over.
func (o *Outbox) passOver(e *Entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.byKey[frameKey{e.Frame.Session, e.Frame.Number}]; s != nil && s.ticket != nil {
		s.ticket.Passed = true
		s.settle()
	}
}

// settle says that nobody waits any more to hear what became of the frame. mu is held.
func (s *sent) settle() {
	if s.ticket.applied--; s.ticket.applied == 0 {
		close(s.ticket.Applied)
	}
	s.ticket = nil
}

// Release forgets the frames that are in two stores, of which the nearer one has applied the log up
// to a place. It returns where the journal is needed from, and how many bytes of it are not any
// more. ok is false if nothing was released.
func (o *Outbox) Release(through uint64) (at journal.Position, bytes int64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for i, s := range o.frames[:o.acked] {
		if !s.safe(through) {
			break
		}
		if s.last {
			n, at = i+1, s.in.End()
			bytes += s.in.Unpacked
		}
	}
	for _, s := range o.frames[:n] {
		delete(o.byKey, s.frameKey)
		o.fresh -= len(s.fresh) // it was read from the log, and so it was sent
	}
	o.frames, o.acked, o.gone = slices.Delete(o.frames, 0, n), o.acked-n, o.gone+uint64(n)
	return at, bytes, n > 0
}

// releasable reports that Release would release something.
func (o *Outbox) releasable(through uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.frames[:o.acked] {
		if !s.safe(through) || s.last {
			return s.safe(through)
		}
	}
	return false
}

// safe reports that the frame is in two stores, and that nobody waits to hear what became of it.
func (s *sent) safe(through uint64) bool { return s.at <= through && s.ticket == nil }

// Full reports that the log has no room for what is in the outbox.
func (o *Outbox) Full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.full
}

// Stuck is how long the log has taken no frame while one waits for it; 0: none waits.
func (o *Outbox) Stuck() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.acked == len(o.frames) {
		return 0
	}
	return time.Since(o.since)
}

// Depth is how many frames are in the outbox, and how many of them are not yet in the log.
func (o *Outbox) Depth() (all, unlogged int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.frames), len(o.frames) - o.acked
}

// piece is what becomes one frame. Its body may be a request's.
type piece struct {
	body   []byte
	events int
}

var errLargeEvent = errors.New("an event is larger than a frame of the log")

// cut divides the events of requests into pieces of about FrameBytes. One event is never cut.
func cut(requests [][]byte, events int) (pieces []piece, err error) {
	size := 0
	for _, r := range requests {
		size += len(r)
	}
	switch {
	case len(requests) == 1 && size <= FrameBytes:
		return []piece{{requests[0], events}}, nil
	case size <= FrameBytes:
		return []piece{{slices.Concat(requests...), events}}, nil
	}
	var p piece
	for _, r := range requests {
		for rest := unsafe.String(unsafe.SliceData(r), len(r)); rest != ""; {
			_, behind, err := event.Next(rest)
			if err != nil {
				return nil, err
			}
			size := len(rest) - len(behind)
			if size > MaxEventBytes {
				return nil, fmt.Errorf("%w: %d bytes, %d is the most", errLargeEvent, size, MaxEventBytes)
			}
			if p.events > 0 && len(p.body)+size > FrameBytes {
				pieces = append(pieces, p)
				p = piece{}
			}
			p.body, p.events = append(p.body, rest[:size]...), p.events+1
			rest = behind
		}
	}
	return append(pieces, p), nil
}

// Fits reports whether each event of a request fits into a frame.
func Fits(request []byte) bool {
	if len(request) <= MaxEventBytes {
		return true
	}
	for rest := unsafe.String(unsafe.SliceData(request), len(request)); rest != ""; {
		_, behind, err := event.Next(rest)
		if err != nil || len(rest)-len(behind) > MaxEventBytes {
			return false
		}
		rest = behind
	}
	return true
}
