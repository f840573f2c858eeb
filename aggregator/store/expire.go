package store

import (
	"errors"
	"fmt"

	"sekali/aggregator/crash"
	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// Expire takes the content of the oldest events, whole blocks of those received before that time
// (in received_at's form) and as many blocks at most: what is left of such an event is its identity
// and its seq, so that a repeat is a duplicate for ever. It returns the new state and the number of
// blocks; fewer than asked for: no more have expired. LayoutBlocks only.
//
// ErrDamaged means a block that cannot be read; nothing was changed. After another error the caller
// reopens the store, as with Apply: if its state is the one that came with the error, the blocks
// have expired all the same.
func (a *Applier) Expire(state State, before string, blocks int) (_ State, expired int, err error) {
	c := a.store.writer
	if c == nil {
		return state, 0, fmt.Errorf("store: closed after a failure")
	}
	after := state
	err = c.Transaction(func() error {
		gone := map[string]int64{} // events by topic
		for expired < blocks {
			b, err := oldestBlock(c, after.ExpiredSeq, before)
			if err != nil {
				return err
			}
			if b == nil {
				break
			}
			if err := a.replace(c, b); err != nil {
				return err
			}
			for topic, n := range b.ofTopic {
				gone[topic] += n
			}
			after.ExpiredSeq, after.Expired = b.last, after.Expired+int64(b.events)
			expired++
		}
		if expired == 0 {
			return nil
		}
		after.Commits++
		err := errors.Join(a.eachTopic(c, gone, "UPDATE topics SET events = events - ?2 WHERE name = ?1"), writeState(c, after))
		crash.Here(crash.StoreExpiring)
		return err
	})
	if err != nil {
		return after, 0, fmt.Errorf("store: expire: %w", err)
	}
	return after, expired, nil
}

// replace puts b in the place of the block that it was, and takes it from its topics.
func (a *Applier) replace(c *sqlite.Conn, b *expiredBlock) error {
	if err := a.rewrite(c, &b.block); err != nil {
		return err
	}
	of := map[string]int64{}
	for topic := range b.ofTopic {
		of[topic] = b.first
	}
	return a.eachTopic(c, of, "DELETE FROM topic_blocks WHERE topic = ?1 AND first_seq = ?2")
}

// rewrite puts b in the place of the block with its seq.
func (a *Applier) rewrite(c *sqlite.Conn, b *block) error {
	b.end()
	if err := a.texts.Reset(c, len(b.directory)+len(b.data)); err != nil {
		return err
	}
	s, err := c.Prepare("UPDATE blocks SET directory = ?2, data = ?3, checksum = ?4 WHERE first_seq = ?1")
	if err != nil {
		return err
	}
	if err := errors.Join(s.BindInt(1, b.first), s.BindText(2, a.texts.Add(view(b.directory))), s.BindBlob(3, a.texts.Add(view(b.data))),
		s.BindInt(4, int64(checksum(b.first, view(b.directory), view(b.data))))); err != nil {
		return err
	}
	return s.Change()
}

// expiredBlock is a block without the content of its events.
type expiredBlock struct {
	block
	ofTopic map[string]int64 // events
}

const selectOldestBlock = "SELECT first_seq, directory, data, checksum FROM blocks WHERE first_seq > ? ORDER BY first_seq LIMIT 1"

// oldestBlock returns the first block behind the seq as it is to be once it has expired, or nil:
// its last event was received at that time or later.
func oldestBlock(c *sqlite.Conn, behind int64, before string) (b *expiredBlock, err error) {
	err = c.Rows(selectOldestBlock, func(s *sqlite.Statement) error {
		b = &expiredBlock{ofTopic: map[string]int64{}}
		b.begin(s.ColumnInt(0))
		var failed error
		last := ""
		err := eachEvent(storedBlock{b.first, s.ColumnText(1), s.ColumnText(2), uint32(s.ColumnInt(3))}, func(seq int64, r Row) bool {
			last = r.ReceivedAt
			b.ofTopic[r.Topic]++
			failed = b.add(seq, &Row{Event: event.Event{Topic: r.Topic, ID: r.ID}, ReceivedAt: r.ReceivedAt})
			return failed == nil
		})
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("block %d: %w", b.first, err)
		}
		if last >= before {
			b = nil
		}
		return nil
	}, behind)
	return b, err
}
