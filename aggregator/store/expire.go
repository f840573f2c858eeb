package store

import (
	"errors"
	"fmt"
	"strings"

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
				gone[topic] += *n
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
	data, packed, err := a.packer.Pack(b.directory, b.data)
	if err != nil {
		return err
	}
	if err := a.texts.Reset(c, len(data)); err != nil {
		return err
	}
	s, err := c.Prepare("UPDATE blocks SET directory = '', data = ?2, checksum = ?3, packed = ?4, directory_bytes = ?5 WHERE first_seq = ?1")
	if err != nil {
		return err
	}
	if err := errors.Join(s.BindInt(1, b.first), s.BindBlob(2, a.texts.Add(view(data))), s.BindInt(3, int64(b.checksum())),
		s.BindInt(4, int64(packed)), s.BindInt(5, int64(len(b.directory)))); err != nil {
		return err
	}
	return s.Change()
}

// expiredBlock is a block without the content of its events.
type expiredBlock struct {
	block
	ofTopic map[string]*int64 // events
}

const selectOldestBlock = "SELECT " + blockColumns + " FROM blocks WHERE first_seq > ? ORDER BY first_seq LIMIT 1"

// oldestBlock returns the first block behind the seq as it is to be once it has expired, or nil:
// its last event was received at that time or later.
func oldestBlock(c *sqlite.Conn, behind int64, before string) (b *expiredBlock, err error) {
	err = c.Rows(selectOldestBlock, func(s *sqlite.Statement) error {
		b = &expiredBlock{ofTopic: map[string]*int64{}}
		stored := readBlock(s)
		b.begin(stored.first)
		var failed error
		kept := true // its last event, at least
		err := eachEvent(stored, func(seq int64, r Row) bool {
			kept = r.ReceivedAt >= before
			n := b.ofTopic[r.Topic]
			if n == nil { // assigning under r.Topic would keep that text, which is gone soon
				n = new(int64)
				b.ofTopic[strings.Clone(r.Topic)] = n
			}
			*n++
			failed = b.add(seq, &Row{Event: event.Event{Topic: r.Topic, ID: r.ID}, ReceivedAt: r.ReceivedAt})
			return failed == nil
		})
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("block %d: %w", b.first, err)
		}
		if kept {
			b = nil
		}
		return nil
	}, behind)
	return b, err
}
