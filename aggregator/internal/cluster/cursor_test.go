package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"sekali/aggregator/event"
)

func bodyOf(t *testing.T, ids ...string) *event.Request {
	t.Helper()
	r := event.NewRequest(0)
	for _, id := range ids {
		if err := r.Add(&event.Fields{Topic: []byte("t"), ID: []byte(id), Timestamp: []byte("2026-11-23T06:41:10Z")}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// chainOf is frames of one session that follow one another.
func chainOf(t *testing.T, session Session, n int) (frames []Frame) {
	previous := uint32(0)
	for number := range n {
		r := bodyOf(t, "e")
		f := Frame{Session: session, Number: uint64(number + 1), Previous: previous, Time: time.Unix(1, 0), Events: 1, Body: r.Data}
		f.Encode(nil)
		previous = f.Sum
		frames = append(frames, f)
	}
	return frames
}

// TestCursorPassesOver: repeats and frames that have overtaken another do not count, and what is
// sent again behind them does.
func TestCursorPassesOver(t *testing.T) {
	f := chainOf(t, NewSession(), 4)
	c := Cursor{Sessions: map[Session]Seen{}}
	for at, step := range []struct {
		frame  int
		counts bool
	}{{0, true}, {0, false}, {2, false}, {3, false}, {1, true}, {0, false}, {2, true}, {1, false}, {3, true}, {3, false}} {
		counts, err := c.Next(uint64(at+1), &f[step.frame])
		if err != nil || counts != step.counts {
			t.Fatalf("message %d, frame %d: counts %v, %v; want %v", at+1, step.frame+1, counts, err, step.counts)
		}
	}
	if seen := c.Sessions[f[0].Session]; seen != (Seen{4, f[3].Sum, 9}) || c.Position != 10 {
		t.Errorf("the cursor is at %d with %+v", c.Position, seen)
	}
}

// TestCursorHalts: what a log does that has lost or changed something is an error, and nothing is
// passed over.
func TestCursorHalts(t *testing.T) {
	f := chainOf(t, NewSession(), 5)
	other := f[1]
	other.Body = bodyOf(t, "other").Data
	other.Encode(nil)
	acked := f[4]
	acked.Acked, acked.AckedAt = 3, 17
	for _, c := range []struct {
		name  string
		at    uint64
		frame Frame
		says  string
	}{
		{"a message is missing", 4, f[2], "messages are missing"},
		{"a message comes twice", 2, f[2], "messages are missing"},
		{"numbers begin anew", 1, f[2], "messages are missing"},
		{"an acknowledged frame is missing", 3, acked, "lost frames"},
		{"two of one number", 3, other, "two frames 2"},
		{"the chain is broken", 3, Frame{Session: f[0].Session, Number: 3, Previous: 1}, "does not follow"},
	} {
		cursor := Cursor{Sessions: map[Session]Seen{}}
		for at := range 2 {
			if counts, err := cursor.Next(uint64(at+1), &f[at]); !counts || err != nil {
				t.Fatal(counts, err)
			}
		}
		if _, err := cursor.Next(c.at, &c.frame); !errors.Is(err, ErrHalted) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if cursor.Position != 2 {
			t.Errorf("%s: the cursor has moved to %d", c.name, cursor.Position)
		}
	}
}

// TestFollowerOfPoison: a frame that says one was acknowledged which was passed over, as a control
// says, is passed over too, and both count once they are sent again. Of what was acknowledged at
// another place, nothing explains the loss.
func TestFollowerOfPoison(t *testing.T) {
	f, other := chainOf(t, NewSession(), 3), chainOf(t, NewSession(), 2)
	c := Cursor{Sessions: map[Session]Seen{}}
	if counts, err := c.Next(1, &f[0]); !counts || err != nil {
		t.Fatal(counts, err)
	}
	if err := c.Skip(2); err != nil { // the second, damaged
		t.Fatal(err)
	}
	f[2].Acked, f[2].AckedAt = 2, 2
	for i, step := range []struct {
		frame  int
		counts bool
	}{{2, false}, {1, true}, {2, true}} {
		if counts, err := c.Next(uint64(i+3), &f[step.frame]); err != nil || counts != step.counts {
			t.Fatalf("frame %d: counts %v, %v; want %v", step.frame+1, counts, err, step.counts)
		}
	}
	other[1].Acked, other[1].AckedAt = 1, 1
	if _, err := c.Next(6, &other[1]); !errors.Is(err, ErrHalted) || !strings.Contains(err.Error(), "lost frames") {
		t.Errorf("a frame that was acknowledged before the one that was passed over: %v", err)
	}
	o := NewOutbox()
	own := f[2]
	own.Session = o.session
	if !o.lacks(&own, Seen{Number: 1}) || o.lacks(&own, Seen{Number: 2}) || o.lacks(&f[2], Seen{Number: 1}) {
		t.Error("who has sent it in this life, and it alone, has to see that one before has not come")
	}
}

// TestDecodeRefuses: each flipped bit, each cut and each event that the store could not take is
// refused, before it is sent as well as when it is read.
func TestDecodeRefuses(t *testing.T) {
	r := bodyOf(t, "a", "b")
	many := bodyOf(t, slices.Repeat([]string{"an event whose id is long"}, 40)...)
	for name, f := range map[string]Frame{
		"two events":   {Apply: 2, Session: NewSession(), Number: 1, Time: time.Unix(1, 5), Events: 2, Body: r.Data},
		"of version 1": {Apply: 1, Session: NewSession(), Number: 1, Time: time.Unix(1, 5), Events: 40, Body: many.Data},
		"packed":       {Apply: 2, Session: NewSession(), Number: 1, Time: time.Unix(1, 5), Events: 40, Body: many.Data},
	} {
		message := f.Encode(nil)
		back, rest, err := Decode(message)
		if err != nil || len(rest) != 0 || back.Session != f.Session || back.Sum != f.Sum || back.Apply != f.Apply || !back.Time.Equal(f.Time) || string(back.Body) != string(f.Body) {
			t.Fatalf("%s: %+v, %d bytes left, %v", name, back, len(rest), err)
		}
		if packed := len(message) < len(f.Body); packed != (name == "packed") {
			t.Errorf("%s: %d bytes of %d", name, len(message), len(f.Body))
		}
		refusesEachBit(t, name, message)
	}
	long := event.NewRequest(0)
	if err := long.Add(&event.Fields{Topic: make([]byte, 256), ID: []byte("e"), Timestamp: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]Frame{
		"a topic of 256 bytes": {Number: 1, Events: 1, Body: long.Data},
		"too few events":       {Number: 1, Events: 3, Body: r.Data},
		"too many events":      {Number: 1, Events: 1, Body: r.Data},
		"no events":            {Number: 1},
		"no number":            {Events: 2, Body: r.Data},
		"acknowledged itself":  {Number: 1, Acked: 1, Events: 2, Body: r.Data},
	} {
		if _, _, err := Decode(bad.Encode(nil)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func refusesEachBit(t *testing.T, name string, message []byte) {
	t.Helper()
	for i := range message {
		for bit := range 8 {
			message[i] ^= 1 << bit
			if _, _, err := Decode(message); !errors.Is(err, ErrFrame) {
				t.Fatalf("%s: bit %d of byte %d: %v", name, bit, i, err)
			}
			message[i] ^= 1 << bit
		}
		if _, _, err := Decode(message[:i]); !errors.Is(err, ErrFrame) {
			t.Fatalf("%s: cut at %d: %v", name, i, err)
		}
	}
}

// TestDecodePacked: what is packed otherwise than Encode does is refused, though its checksum is
// right, and a body that would take more memory than a frame may have is not unpacked.
func TestDecodePacked(t *testing.T) {
	le, r := binary.LittleEndian, bodyOf(t, slices.Repeat([]string{"an event whose id is long"}, 40)...)
	plain := Frame{Apply: 2, Session: NewSession(), Number: 1, Events: 40, Body: r.Data, Time: time.Unix(1, 5)}
	message := func(apply, format uint16, kind uint32, body []byte) []byte {
		head := plain.Encode(nil)[:frameHeader:frameHeader]
		le.PutUint16(head[4:], format)
		le.PutUint16(head[6:], apply)
		le.PutUint32(head[12:], kind)
		le.PutUint32(head[72:], uint32(len(body)))
		head = append(head, body...)
		return le.AppendUint32(head, crc32.Checksum(head, castagnoli))
	}
	packed := s2.Encode(nil, r.Data)
	if f, _, err := Decode(message(2, formatPacked, kindEvents, packed)); err != nil || string(f.Body) != string(r.Data) {
		t.Fatal(f, err)
	}
	for name, bad := range map[string]struct {
		message []byte
		unknown bool
	}{
		"of a version that does not know it": {message(1, formatPacked, kindEvents, packed), true},
		"a control":                          {message(2, formatPacked, kindControl, packed), true},
		"another format":                     {message(2, formatPacked+1, kindEvents, packed), true},
		"not packed":                         {message(2, formatPacked, kindEvents, r.Data), false},
		"packed, and not said to be":         {message(2, formatPlain, kindEvents, packed), false},
		"cut short":                          {message(2, formatPacked, kindEvents, packed[:len(packed)-1]), false},
		"too large":                          {message(2, formatPacked, kindEvents, s2.Encode(nil, make([]byte, MaxEventBytes+1))), false},
	} {
		if _, _, err := Decode(bad.message); !errors.Is(err, ErrFrame) || errors.Is(err, ErrUnknown) != bad.unknown {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecode: no message takes the reader down, and what is taken is what was made.
func FuzzDecode(f *testing.F) {
	frame := Frame{Session: Session{1}, Number: 1, Events: 1, Body: []byte("\x01t\x01e\x01x\x00\x00")}
	f.Add(frame.Encode(nil))
	packed := Frame{Apply: packedApply, Session: Session{1}, Number: 1, Events: 200, Body: bytes.Repeat(frame.Body, 200)}
	f.Add(packed.Encode(nil))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, rest, err := Decode(message)
		if err != nil {
			return
		}
		sum, made := got.Sum, got.Encode(nil)
		if got.Apply < packedApply && (string(made) != string(message[:len(message)-len(rest)]) || got.Sum != sum) {
			t.Errorf("%x is read as %+v", message, got)
		}
		again, _, err := Decode(made)
		got.unpacked, again.unpacked = false, false // either may be packed
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%x is read as %+v, and that as %+v, %v", message, got, again, err)
		}
	})
}

// TestControls: a control is read as it was written, of no session, and says one thing.
func TestControls(t *testing.T) {
	for _, want := range []Control{{Expire: 7}, {Skip: 3}, {Apply: 2}} {
		message, err := want.Message(1)
		if err != nil {
			t.Fatal(err)
		}
		f, rest, err := Decode(message)
		if err != nil || len(rest) > 0 || f.Control == nil || *f.Control != want || f.Apply != 1 {
			t.Errorf("%+v is read as %+v, %v", want, f.Control, err)
		}
		for i := range message {
			message[i] ^= 1
			if _, _, err := Decode(message); !errors.Is(err, ErrFrame) || errors.Is(err, ErrUnknown) {
				t.Errorf("%+v with byte %d changed: %v", want, i, err)
			}
			message[i] ^= 1
		}
	}
	for _, bad := range []Control{{}, {Expire: 1, Skip: 1}, {Expire: -1}, {Expire: -1, Skip: 1}} {
		if _, err := bad.Message(1); !errors.Is(err, ErrFrame) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	for name, f := range map[string]Frame{
		"of a session":      {Control: &Control{}, Body: []byte(`{"skip":1}`), Session: Session{1}},
		"with a number":     {Control: &Control{}, Body: []byte(`{"skip":1}`), Number: 1},
		"two in one":        {Control: &Control{}, Body: []byte(`{"skip":1}{"skip":2}`)},
		"that says nothing": {Control: &Control{}, Body: []byte(`{}`)},
	} {
		if _, _, err := Decode(f.Encode(nil)); !errors.Is(err, ErrFrame) {
			t.Errorf("a control %s: %v", name, err)
		}
	}
}

// TestSkipIsOfWhatNobodyApplied: who has applied a message that the others pass over halts.
func TestSkipIsOfWhatNobodyApplied(t *testing.T) {
	f := chainOf(t, NewSession(), 1)
	control := func(skip uint64) *Frame { return &Frame{Control: &Control{Skip: skip}} }
	c := Cursor{Sessions: map[Session]Seen{}}
	if _, err := c.Next(1, &f[0]); err != nil {
		t.Fatal(err)
	}
	if err := c.Skip(3); !errors.Is(err, ErrHalted) {
		t.Errorf("a gap is skipped: %v", err)
	}
	if err := c.Skip(2); err != nil {
		t.Fatal(err)
	}
	for at, skip := range map[uint64]uint64{3: 2, 4: 9} { // 9 has not come: it says nothing of it
		one := c.Clone()
		one.Position = at - 1
		if counts, err := one.Next(at, control(skip)); !counts || err != nil {
			t.Errorf("message %d says to pass over %d: %v, %v", at, skip, counts, err)
		}
	}
	if _, err := c.Next(3, control(1)); !errors.Is(err, ErrHalted) || !strings.Contains(err.Error(), "was applied here") {
		t.Errorf("message 1 was applied: %v", err)
	}
}
