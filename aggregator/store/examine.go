package store

import (
	"errors"
	"fmt"
	"strings"

	"sekali/internal/sqlite"
)

// census is how many events a database holds.
type census struct {
	stored    int64 // ever
	unexpired int64
	last      int64 // seq of those
}

func (*rowsLayout) examine(c *sqlite.Conn) (found census, faults []string, err error) {
	err = c.Rows("SELECT count(*), coalesce(max(seq), 0) FROM events", func(s *sqlite.Statement) error {
		found = census{s.ColumnInt(0), s.ColumnInt(0), s.ColumnInt(1)}
		return nil
	})
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
	known                                int64 // rows of topic_blocks that have a reason
	misnumbered, overlapping, unknown, n int64
}

// damagedShown is how many damaged blocks are named.
const damagedShown = 10

func (*blocksLayout) examine(c *sqlite.Conn) (census, []string, error) {
	x := blocksExamination{conn: c}
	defer x.texts.Free()
	var rows int64
	err := c.Rows("SELECT expired_seq, (SELECT count(*) FROM topic_blocks) FROM state", func(s *sqlite.Statement) error {
		x.expired, rows = s.ColumnInt(0), s.ColumnInt(1)
		return nil
	})
	if err == nil {
		err = c.Rows("SELECT "+blockColumns+", last_seq, events FROM blocks ORDER BY first_seq", func(s *sqlite.Statement) error {
			return x.block(readBlock(s), s.ColumnInt(6), s.ColumnInt(7))
		})
	}
	if err != nil {
		return x.found, nil, err
	}
	faults := x.damaged
	beyond := int64(0)
	if x.n == 0 { // else nobody knows what the damaged blocks' topics are
		beyond = rows - x.known
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
	topics, n, last := map[string]bool{}, int64(0), int64(0)
	err := eachEvent(b, func(seq int64, r Row) bool {
		if !topics[r.Topic] {
			topics[strings.Clone(r.Topic)] = true
		}
		n, last = n+1, seq
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
	return x.topics(b.first, topics)
}

// topics looks for a block's topics in topic_blocks.
func (x *blocksExamination) topics(first int64, topics map[string]bool) error {
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
