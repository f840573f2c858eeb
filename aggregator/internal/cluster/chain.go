package cluster

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/dchest/siphash"
)

// checkpointEvery is at which positions the hash is kept for comparison.
const checkpointEvery = 4096

// Hash is that of all a replica has decided up to a position. Replicas at one position have one
// hash, or one of them is wrong.
type Hash [16]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String has written.
func ParseHash(text string) (h Hash, err error) { return h, parseHex(h[:], text) }

// decision is what a replica has made of a message.
type decision struct {
	at         uint64 // the message's place in the log
	sum        uint32 // of the frame: its keys and contents
	counts     bool
	skipped    bool    // it was passed over, as a control says
	control    []int64 // what a control has left behind: events that have expired, up to which seq, apply version
	first      int64   // the seq of its first event, if that is new
	receivedAt string  // of its events
	seqs       []int64 // by event: its own, or that of the stored one
}

// next returns the hash behind a message. The hash before it is the key of this one.
func (h Hash) next(buf []byte, d *decision) (Hash, []byte) {
	le := binary.LittleEndian
	buf = le.AppendUint64(buf[:0], d.at)
	buf = le.AppendUint32(buf, d.sum)
	switch {
	case d.skipped:
		buf = append(buf, 2)
	case d.control != nil:
		buf = append(buf, 3)
		for _, n := range d.control {
			buf = le.AppendUint64(buf, uint64(n))
		}
	case d.counts:
		buf = append(buf, 1)
		buf = le.AppendUint64(buf, uint64(d.first))
		buf = append(buf, d.receivedAt...)
		for _, seq := range d.seqs {
			buf = le.AppendUint64(buf, uint64(seq))
		}
	}
	a, b := siphash.Hash128(le.Uint64(h[:]), le.Uint64(h[8:]), buf)
	le.PutUint64(h[:], a)
	le.PutUint64(h[8:], b)
	return h, buf
}
