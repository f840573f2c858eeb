package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// lastID is the time of the newest id: milliseconds since 1970 times 4096, and 4096ths of one.
var lastID struct {
	sync.Mutex
	at uint64
}

// NewID returns a UUIDv7 (RFC 9562, 6.2 method 3): within the process each is greater than the one
// before, as text too, even if the clock is set back. 62 bits are random, so that no two processes
// make the same.
func NewID() string {
	now := time.Now()
	at := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	lastID.Lock()
	at = max(at, lastID.at+1)
	lastID.at = at
	lastID.Unlock()

	var id [16]byte
	rand.Read(id[8:]) // never fails
	binary.BigEndian.PutUint64(id[:8], at>>12<<16|7<<12|at&0xfff)
	id[8] = id[8]&0x3f | 0x80
	var text [36]byte
	hex.Encode(text[:8], id[:4])
	hex.Encode(text[9:13], id[4:6])
	hex.Encode(text[14:18], id[6:8])
	hex.Encode(text[19:23], id[8:10])
	hex.Encode(text[24:], id[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}
