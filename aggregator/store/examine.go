package store

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dchest/siphash"

	"sekali/internal/sqlite"
)

// census is how many events a database holds.
type census struct {
	stored    int64 // ever
	unexpired int64
	last      int64  // seq of those
	topics    uint64 // sum of theirs, see topicSum
	// Of the unexpired ones, those that were received before their predecessor.
	disordered int64
	before     string // when the latest one was received
}

// received takes the time of the next event.
func (c *census) received(at string) {
	if at < c.before {
		c.disordered++
	}
	if at != c.before {
		c.before = strings.Clone(at) // it is gone with the next row
	}
}

// topicSum adds up to the same only where as many events have each topic.
func topicSum(topic string, events int64) uint64 {
	return siphash.Hash(0, 0, bytesOf(topic)) * uint64(events)
}

func (*rowsLayout) examine(c *sqlite.Conn) (found census, faults []string, err error) {
	err = c.Rows("SELECT topic, count(*), max(seq) FROM events GROUP BY topic", func(s *sqlite.Statement) error {
		found.stored += s.ColumnInt(1)
		found.unexpired, found.last = found.stored, max(found.last, s.ColumnInt(2))
		found.topics += topicSum(s.ColumnText(0), s.ColumnInt(1))
		return nil
	})
	if err == nil {
		err = c.Rows("SELECT received_at FROM events ORDER BY seq", func(s *sqlite.Statement) error {
			found.received(s.ColumnText(0))
			return nil
		})
	}
	return found, nil, err
}

// blocksExamination reads every block once and sorts nothing, so it takes as much memory and room
// for a hundred million events as for one.
type blocksExamination struct {
	conn    *sqlite.Conn
	texts   sqlite.Arena
	expired int64 // all up to this seq
	found   census
	damaged []string // at most a few of them

	lastBefore                           int64 // of the block before
	known                                int64 // rows of topic_blocks, and entries of runs, that have a reason
	rows                                 int64 // all of them
	runs                                 []runRead
	misnumbered, overlapping, unknown, n int64
}

// damagedShown is how many damaged blocks are named.
const damagedShown = 10

func (*blocksLayout) examine(c *sqlite.Conn) (census, []string, error) {
	x := blocksExamination{conn: c}
	defer x.texts.Free()
	err := c.Row("SELECT expired_seq, (SELECT count(*) FROM topic_blocks) FROM state", &x.expired, &x.rows)
	if err == nil {
		err = c.Rows("SELECT first_seq, last_seq FROM topic_runs ORDER BY first_seq", func(s *sqlite.Statement) error {
			x.runs = append(x.runs, runRead{first: s.ColumnInt(0), last: s.ColumnInt(1)})
			return nil
		})
	}
	if err == nil {
		err = c.Rows("SELECT "+blockColumns+", last_seq, events FROM blocks ORDER BY first_seq", func(s *sqlite.Statement) error {
			return x.block(readBlock(s), s.ColumnInt(6), s.ColumnInt(7))
		})
	}
	if err == nil {
		err = x.runsBefore(math.MaxInt64)
	}
	if err != nil {
		return x.found, nil, err
	}
	faults := x.damaged
	beyond := int64(0)
	if x.n == 0 { // else nobody knows what the damaged blocks' topics are
		beyond = x.rows - x.known
	}
	for _, fault := range []struct {
		n    int64
		what string
	}{
		{x.n, "damaged blocks"},
		{x.misnumbered, "blocks whose numbers are not those of their events"},
		{x.overlapping, "blocks that overlap"},
		{x.unknown, "topics of blocks that topic_blocks does not know"},
		{beyond, "topics that topic_blocks knows without reason"},
	} {
		if fault.n != 0 {
			faults = append(faults, fmt.Sprintf("%d %s", fault.n, fault.what))
		}
	}
	return x.found, faults, nil
}

// block looks at one block, of which the table says where it ends and how many events it has.
func (x *blocksExamination) block(b storedBlock, lastSeq, events int64) error {
	if b.first <= x.lastBefore {
		x.overlapping++
	}
	x.lastBefore = lastSeq
	topics, n, last := map[string]*int64{}, int64(0), int64(0)
	err := eachEvent(b, func(seq int64, r Row) bool {
		of := topics[r.Topic]
		if of == nil {
			of = new(int64)
			topics[strings.Clone(r.Topic)] = of
		}
		*of++
		n, last = n+1, seq
		if b.first > x.expired {
			x.found.received(r.ReceivedAt)
		}
		return true
	})
	if errors.Is(err, ErrDamaged) {
		if x.n++; x.n <= damagedShown {
			x.damaged = append(x.damaged, fmt.Sprintf("block %d: %v", b.first, err))
		}
		return nil
	}
	if n != events || last != lastSeq {
		x.misnumbered++
	}
	x.found.stored += n
	if b.first <= x.expired {
		return nil
	}
	x.found.unexpired, x.found.last = x.found.unexpired+n, last
	for topic, events := range topics {
		x.found.topics += topicSum(topic, *events)
	}
	return x.topics(b.first, topics)
}

// runRead is a run, and how often its blocks have topics of a hash, once it has been read.
type runRead struct {
	first, last int64
	entries     map[hashIn]int
}

type hashIn struct {
	hash  uint32
	block int64
}

// runsBefore reads those of the runs, up to a block, that have not been, and forgets those that end
// before it.
func (x *blocksExamination) runsBefore(block int64) error {
	for len(x.runs) > 0 && x.runs[0].first <= block {
		r := &x.runs[0]
		if r.entries == nil {
			if err := x.readRun(r); err != nil {
				return err
			}
		}
		if r.last >= block {
			return nil
		}
		x.runs = x.runs[1:]
	}
	return nil
}

func (x *blocksExamination) readRun(r *runRead) error {
	r.entries = map[hashIn]int{}
	for bucket := range uint32(topicBuckets) {
		err := x.conn.Rows("SELECT entries FROM topic_buckets WHERE bucket = ? AND first_seq = ?", func(s *sqlite.Statement) error {
			return eachEntry(bucket, r.first, bytesOf(s.ColumnText(0)), func(hash uint32, block int64) {
				if block > x.expired {
					r.entries[hashIn{hash, block}]++
					x.rows++
				}
			})
		}, int64(bucket), r.first)
		if errors.Is(err, ErrDamaged) {
			x.damaged = append(x.damaged, fmt.Sprintf("topics of the blocks from %d on: %v", r.first, err))
			err = nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// topics looks for a block's topics in its run, and in topic_blocks.
func (x *blocksExamination) topics(first int64, topics map[string]*int64) error {
	if err := x.runsBefore(first); err != nil {
		return err
	}
	if len(x.runs) > 0 {
		for topic := range topics {
			if in := (hashIn{topicHash(topic), first}); x.runs[0].entries[in] > 0 {
				x.runs[0].entries[in]--
				x.known++
				delete(topics, topic)
			}
		}
	}
	size := 0
	for topic := range topics {
		size += len(topic)
	}
	if err := x.texts.Reset(x.conn, size); err != nil {
		return err
	}
	s, err := x.conn.Prepare("SELECT 1 FROM topic_blocks WHERE topic = ? AND first_seq = ?")
	if err != nil {
		return err
	}
	for topic := range topics {
		if err := errors.Join(s.BindText(1, x.texts.Add(topic)), s.BindInt(2, first)); err != nil {
			return err
		}
		found, err := s.Step()
		if err := errors.Join(err, s.Reset()); err != nil {
			return err
		}
		if found {
			x.known++
		} else {
			x.unknown++
		}
	}
	return nil
}
