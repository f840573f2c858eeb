package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
	"unsafe"

	"github.com/klauspost/compress/s2"

	"sekali/aggregator/event"
)

const (
	frameMagic = uint32(0x314c4b53) // "SKL1"
	// The formats of the bytes: the events as they are, or packed by S2. A later one keeps the
	// magic, where the body's length stands, and the checksum, so that who does not know it can tell
	// it from a damaged one.
	formatPlain, formatPacked = 1, 2
	// ApplyVersion is the latest of what frames lead to that this program knows, and firstApply that
	// of a log which does not say which one it was made with. Every node has to know the one in
	// force, or it would decide otherwise than the others; see Control. From packedApply on frames
	// may be packed, and lead to the same as before.
	ApplyVersion = 2
	packedApply  = 2
	firstApply   = 1
	frameHeader  = 84
	frameTrailer = 4 // CRC-32C of all before
	// minPacked is the body from which on a frame is packed, as in the journal.
	minPacked = 1 << 10

	kindEvents, kindControl = 0, 1

	// FrameBytes is about the size of a frame; the log's servers advise small messages, and a PubAck
	// of 1 MiB takes some five times as long as one of 128 KiB. A larger request is cut by events.
	FrameBytes = 1 << 20
	// MaxFrameBytes is a frame of one event. A log server takes messages of 2 MiB, its own part
	// included.
	MaxFrameBytes = 2<<20 - 4<<10
	// MaxEventBytes is the largest event that fits, in its compact form.
	MaxEventBytes = MaxFrameBytes - frameHeader - frameTrailer
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Frame is one message of the log: events of one node, or a control.
type Frame struct {
	Apply    uint16   // the version in force where it was made; 0, to Encode: the first
	Control  *Control // nil: it has events; else all but Apply, Body and Sum is zero
	Session  Session
	Number   uint64 // in its session, from 1 without a gap
	Previous uint32 // Sum of the frame before it in the session; 0: it is the first
	// Frames of the session up to the number Acked were acknowledged when this one was made, that one
	// at AckedAt in the log. A log without it has lost something; see Cursor.
	Acked, AckedAt uint64
	Time           time.Time // of the node's clock
	Events         int
	Body           []byte // the events, back to back, or the control's text
	Sum            uint32 // its checksum; Encode sets it, too

	unpacked bool // Body is memory of its own
}

// ErrFrame is wrapped by what is wrong with the bytes of a frame.
var ErrFrame = errors.New("not a frame of the log")

// Encode appends the frame's bytes.
func (f *Frame) Encode(dst []byte) []byte {
	from := len(dst)
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, frameMagic)
	dst = le.AppendUint16(dst, formatPlain)
	dst = le.AppendUint16(dst, max(f.Apply, firstApply))
	dst = le.AppendUint32(dst, 0) // the partition, of which there is one
	kind, at := uint32(kindEvents), f.Time.UnixNano()
	if f.Control != nil {
		kind, at = kindControl, 0
	}
	dst = le.AppendUint32(dst, kind)
	dst = append(dst, f.Session[:]...)
	dst = le.AppendUint64(dst, f.Number)
	dst = le.AppendUint64(dst, f.Acked)
	dst = le.AppendUint64(dst, f.AckedAt)
	dst = le.AppendUint64(dst, uint64(at))
	dst = le.AppendUint32(dst, f.Previous)
	dst = le.AppendUint32(dst, uint32(f.Events))
	dst = le.AppendUint32(dst, uint32(len(f.Body)))
	dst = le.AppendUint64(dst, 0) // reserved
	if packed := f.pack(dst); packed != nil {
		dst = packed
		le.PutUint16(dst[from+4:], formatPacked)
		le.PutUint32(dst[from+72:], uint32(len(dst)-from-frameHeader))
	} else {
		dst = append(dst, f.Body...)
	}
	f.Sum = crc32.Checksum(dst[from:], castagnoli)
	return le.AppendUint32(dst, f.Sum)
}

// pack appends the body to dst, packed; nil if that is not worth it, or not of the version.
func (f *Frame) pack(dst []byte) []byte {
	if f.Control != nil || f.Apply < packedApply || len(f.Body) < minPacked {
		return nil
	}
	dst = slices.Grow(dst, s2.MaxEncodedLen(len(f.Body)))
	packed := s2.Encode(dst[len(dst):cap(dst)], f.Body)
	if len(packed) > len(f.Body)/8*7 {
		return nil
	}
	return dst[:len(dst)+len(packed)]
}

// unpack makes the body what it was before it was packed, in memory of its own.
func (f *Frame) unpack() error {
	n, err := s2.DecodedLen(f.Body)
	if err == nil && n > MaxEventBytes {
		err = fmt.Errorf("%d bytes, %d are the most", n, MaxEventBytes)
	}
	if err == nil {
		f.Body, err = s2.Decode(event.NewRequest(n).Data[:n], f.Body)
	}
	if err != nil {
		return fmt.Errorf("%w: its body cannot be unpacked: %w", ErrFrame, err)
	}
	f.unpacked = true
	return nil
}

// Recycle gives the body's memory to others: nobody reads it any more, nor an event decoded from
// it.
func (f *Frame) Recycle() {
	if f.unpacked {
		event.Recycle(f.Body)
	}
	f.Body, f.unpacked = nil, false
}

// Decode returns the first frame in data, and what is behind it. It takes what every node can apply
// that knows its version, and nothing else: it is asked before a frame is sent, too, for one that
// the readers cannot apply would halt them one after the other. The body may point into data.
func Decode(data []byte) (f Frame, rest []byte, err error) {
	le := binary.LittleEndian
	switch {
	case len(data) < frameHeader+frameTrailer:
		return f, nil, fmt.Errorf("%w: %d bytes", ErrFrame, len(data))
	case le.Uint32(data) != frameMagic:
		return f, nil, fmt.Errorf("%w: it begins with %x", ErrFrame, data[:4])
	}
	size := int(le.Uint32(data[72:]))
	if size > len(data)-frameHeader-frameTrailer {
		return f, nil, fmt.Errorf("%w: it ends within its body", ErrFrame)
	}
	end := frameHeader + size
	if f.Sum = le.Uint32(data[end:]); crc32.Checksum(data[:end], castagnoli) != f.Sum {
		return f, nil, fmt.Errorf("%w: its checksum is wrong", ErrFrame)
	}
	format, partition, kind := le.Uint16(data[4:]), le.Uint32(data[8:]), le.Uint32(data[12:])
	f.Apply = le.Uint16(data[6:])
	known := format == formatPlain || format == formatPacked && kind == kindEvents && f.Apply >= packedApply
	if !known || partition != 0 || kind > kindControl || f.Apply < firstApply || le.Uint64(data[76:]) != 0 {
		return f, nil, fmt.Errorf("%w: format %d, partition %d, kind %d, apply version %d: %w", ErrFrame, format, partition, kind, f.Apply, ErrUnknown)
	}
	copy(f.Session[:], data[16:])
	f.Number, f.Acked, f.AckedAt = le.Uint64(data[32:]), le.Uint64(data[40:]), le.Uint64(data[48:])
	f.Time = time.Unix(0, int64(le.Uint64(data[56:])))
	f.Previous, f.Events = le.Uint32(data[64:]), int(le.Uint32(data[68:]))
	f.Body = data[frameHeader:end:end]
	if format == formatPacked {
		if err = f.unpack(); err != nil {
			return f, nil, err
		}
	}
	if kind == kindControl {
		return f, data[end+frameTrailer:], decodeControl(&f)
	}
	if f.Number == 0 || f.Acked >= f.Number || f.Events == 0 {
		return f, nil, fmt.Errorf("%w: number %d, acknowledged through %d, %d events", ErrFrame, f.Number, f.Acked, f.Events)
	}
	if err := checkEvents(f.Body, f.Events); err != nil {
		return f, nil, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return f, data[end+frameTrailer:], nil
}

// checkEvents holds the events to what the store's keys and columns can take.
func checkEvents(body []byte, events int) error {
	rest := unsafe.String(unsafe.SliceData(body), len(body))
	for n := range events {
		e, behind, err := event.Next(rest)
		if err != nil {
			return fmt.Errorf("event %d: %w", n, err)
		}
		if !within(e.Topic, 1, event.MaxTextBytes) || !within(e.ID, 1, event.MaxTextBytes) ||
			!within(e.Timestamp, 1, event.MaxTimestampBytes) || !within(e.Source, 0, event.MaxTextBytes) {
			return fmt.Errorf("event %d: a text is too short or too long", n)
		}
		rest = behind
	}
	if rest != "" {
		return fmt.Errorf("%d bytes behind the last event", len(rest))
	}
	return nil
}

func within(s string, least, most int) bool { return len(s) >= least && len(s) <= most }
