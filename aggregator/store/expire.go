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
		err := errors.Join(a.uncountTopics(c, gone), dropRuns(c, after.ExpiredSeq), writeState(c, after))
		crash.Here(crash.StoreExpiring)
		return err
	})
	if err != nil {
		return after, 0, fmt.Errorf("store: expire: %w", err)
	}
	return after, expired, nil
}

// expireThrough takes the content of all events up to a seq, in the transaction that the caller has
// begun. Replicas have cut their blocks each in its own way, so a block that the seq lies within
// becomes two.
func (a *Applier) expireThrough(c *sqlite.Conn, s *State, through int64) error {
	gone := map[string]int64{} // events by topic
	for s.ExpiredSeq < through {
		b, rest, err := cutBlock(c, s.ExpiredSeq, through)
		if err != nil {
			return err
		}
		if b == nil { // nothing is stored that is left
			break
		}
		if err := a.replace(c, b); err != nil {
			return err
		}
		if err := a.insertRest(c, rest); err != nil {
			return err
		}
		for topic, n := range b.ofTopic {
			if *n > 0 {
				gone[topic] += *n
			}
		}
		s.ExpiredSeq, s.Expired = b.last, s.Expired+int64(b.events)
	}
	s.ExpiredSeq = max(s.ExpiredSeq, through)
	err := errors.Join(a.uncountTopics(c, gone), dropRuns(c, s.ExpiredSeq))
	crash.Here(crash.StoreExpiring)
	return err
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

// insertRest writes what has not expired of a block that was cut; it may be nothing.
func (a *Applier) insertRest(c *sqlite.Conn, b *expiredBlock) error {
	if b.events == 0 {
		return nil
	}
	if err := a.write(c, &b.block, insertRest); err != nil {
		return err
	}
	of := map[string]int64{}
	for topic := range b.ofTopic {
		of[topic] = b.first
	}
	return a.eachTopic(c, of, insertTopicBlock)
}

const (
	// The parameters are those that write binds.
	rewriteBlock = `UPDATE blocks SET last_seq = ?2, events = ?3, directory = '', data = ?4, checksum = ?5, packed = ?6, directory_bytes = ?7
		WHERE first_seq = ?1`
	insertRest = `INSERT INTO blocks (first_seq, last_seq, events, directory, data, checksum, packed, directory_bytes)
		VALUES (?1, ?2, ?3, '', ?4, ?5, ?6, ?7)`
)

// rewrite puts b in the place of the block with its seq.
func (a *Applier) rewrite(c *sqlite.Conn, b *block) error { return a.write(c, b, rewriteBlock) }

// write packs b, and writes it.
func (a *Applier) write(c *sqlite.Conn, b *block, sql string) error {
	b.end()
	data, packed, err := a.packer.Pack(b.directory, b.data)
	if err != nil {
		return err
	}
	if err := a.texts.Reset(c, len(data)); err != nil {
		return err
	}
	s, err := c.Prepare(sql)
	if err != nil {
		return err
	}
	if err := errors.Join(s.BindInt(1, b.first), s.BindInt(2, b.last), s.BindInt(3, int64(b.events)), s.BindBlob(4, a.texts.Add(view(data))),
		s.BindInt(5, int64(b.checksum())), s.BindInt(6, int64(packed)), s.BindInt(7, int64(len(b.directory)))); err != nil {
		return err
	}
	return s.Change()
}

// expiredBlock is a block without the content of its events.
type expiredBlock struct {
	block
	ofTopic map[string]*int64 // events
}

// of counts events of a topic; 0 notes the topic.
func (b *expiredBlock) of(topic string, events int64) {
	n := b.ofTopic[topic]
	if n == nil { // assigning under topic would keep that text, which is gone soon
		n = new(int64)
		b.ofTopic[strings.Clone(topic)] = n
	}
	*n += events
}

// strip appends an event without its content.
func (b *expiredBlock) strip(seq int64, r *Row) error {
	b.of(r.Topic, 1)
	return b.add(seq, &Row{Event: event.Event{Topic: r.Topic, ID: r.ID}, ReceivedAt: r.ReceivedAt})
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
			failed = b.strip(seq, &r)
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

// cutBlock returns the first block behind a seq as it is to be once its events up to through have
// expired, with all topics that it had, and what stays of it as a block of its own; nil: none of it
// expires.
func cutBlock(c *sqlite.Conn, behind, through int64) (b, rest *expiredBlock, err error) {
	err = c.Rows(selectOldestBlock, func(s *sqlite.Statement) error {
		b, rest = &expiredBlock{ofTopic: map[string]*int64{}}, &expiredBlock{ofTopic: map[string]*int64{}}
		stored := readBlock(s)
		b.begin(stored.first)
		var failed error
		err := eachEvent(stored, func(seq int64, r Row) bool {
			if seq <= through {
				failed = b.strip(seq, &r)
				return failed == nil
			}
			if rest.events == 0 {
				rest.begin(seq)
			}
			b.of(r.Topic, 0)
			rest.of(r.Topic, 1)
			failed = rest.add(seq, &r)
			return failed == nil
		})
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("block %d: %w", stored.first, err)
		}
		if b.events == 0 {
			b = nil
		}
		return nil
	}, behind)
	return b, rest, err
}
