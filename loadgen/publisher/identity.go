package publisher

import (
	"container/heap"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math"
	"time"
)

const (
	// windowLines is how many different lines with a time are remembered, so that
	// equal ones are told apart: about 30 MB.
	windowLines = 1 << 18
	// maxContinuation is how many lines without a time belong to the line before
	// them that has one. Stack traces have some hundred.
	maxContinuation = 1000
)

// digest is what an event_id is made of.
type digest [16]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// digestOf is a hash of the fields, each with its length, so that none can be
// taken for a part of another. The kind keeps the kinds of ids apart.
func digestOf(kind string, fields ...any) digest {
	hash := sha256.New()
	var field [8]byte
	put := func(n uint64) {
		binary.BigEndian.PutUint64(field[:], n)
		hash.Write(field[:])
	}
	put(uint64(len(kind)))
	io.WriteString(hash, kind)
	for _, f := range fields {
		switch f := f.(type) {
		case uint64:
			put(f)
		case string:
			put(uint64(len(f)))
			io.WriteString(hash, f)
		case []byte:
			put(uint64(len(f)))
			hash.Write(f)
		case digest:
			hash.Write(f[:])
		}
	}
	return digest(hash.Sum(nil)[:16])
}

// file is what lines are read from, and what is known of it.
type file struct {
	*lineReader
	identity string // tells it from others that begin alike
	years    years
	anchor   anchor
	seen     *window // of this file alone; nil: the namer's
}

func newFile(text io.Reader, identity string) *file {
	return &file{lineReader: newLineReader(text), identity: identity}
}

// anchor is the last line with a time; those without one that follow belong to it.
type anchor struct {
	ID    digest
	At    time.Time
	After int // lines since; 0 also if there is no such line
	Set   bool
}

// namer gives lines their ids.
//
// A line with a time is named by what it says, and its place among equal lines:
// wherever it is read, it is the same event. A line without a time that follows
// is named by that line, and its place after it. Any other is named by its file
// and where in the file it is: nobody could tell it from an equal line elsewhere.
type namer struct {
	topic, source string
	seen          *window
	last          timedLine // what seen took in last
}

// dated names a line with a time. The time itself is in its text, but for a year.
func (n *namer) dated(f *file, line []byte, at time.Time, year int) digest {
	key := digestOf("line with a time", n.topic, n.source, uint64(year), line)
	seen := f.seen
	if seen == nil {
		seen, n.last = n.seen, timedLine{at.Unix(), key}
	}
	id := n.placed(f, line)
	if equal, ok := seen.add(key, at.Unix()); ok {
		id = digestOf("place", key, uint64(equal))
	}
	f.anchor = anchor{ID: id, At: at, Set: true}
	return id
}

// continued names a line without a time by the one before that has one; false if
// there is none, or it is too far away.
func (n *namer) continued(f *file, line []byte) (digest, time.Time, bool) {
	if !f.anchor.Set || f.anchor.After >= maxContinuation {
		return digest{}, time.Time{}, false
	}
	f.anchor.After++
	return digestOf("line after", f.anchor.ID, uint64(f.anchor.After), line), f.anchor.At, true
}

// placed names a line by where it is. Of the file's beginning only what lies
// before the line's end counts: what is appended later changes nothing.
func (n *namer) placed(f *file, line []byte) digest {
	head := f.head[:min(int64(len(f.head)), f.end)]
	return digestOf("line at", n.topic, n.source, f.identity, head, uint64(f.start), line)
}

// randomRun is a name that no other run has.
func randomRun() string { return rand.Text() }

// window counts equal lines among the newest windowLines, by their time.
type window struct {
	counts    map[digest]uint32
	byTime    timed // each of counts once
	forgotten int64 // the latest time of a line that is not counted any more
}

func newWindow() *window {
	return &window{counts: make(map[digest]uint32), forgotten: math.MinInt64}
}

// add returns how many equal lines there were. It is false for a line so old
// that this is not known any more.
func (w *window) add(key digest, at int64) (uint32, bool) {
	if before, known := w.counts[key]; known {
		w.counts[key]++
		return before, true
	}
	if at <= w.forgotten {
		return 0, false
	}
	w.counts[key] = 1
	heap.Push(&w.byTime, timedLine{at, key})
	if len(w.byTime) > windowLines {
		oldest := heap.Pop(&w.byTime).(timedLine)
		delete(w.counts, oldest.key)
		w.forgotten = max(w.forgotten, oldest.at)
	}
	return 0, true
}

type timedLine struct {
	at  int64 // Unix seconds
	key digest
}

// timed is a heap, the oldest first.
type timed []timedLine

func (t timed) Len() int           { return len(t) }
func (t timed) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timed) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timed) Push(x any)        { *t = append(*t, x.(timedLine)) }
func (t *timed) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	*t = (*t)[:last]
	return x
}
