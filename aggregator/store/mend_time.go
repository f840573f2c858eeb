package store

import (
	"errors"
	"fmt"
	"time"

	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// receivedLayout is received_at's form.
const receivedLayout = "2006-01-02T15:04:05.000000000Z"

// aheadTolerated is how far the last received_at may lie in the future: a clock is adjusted now and
// then.
const aheadTolerated = time.Minute

// AheadOf says that the last event was received after now, and what to do; "" if it was not. The
// times of a cluster's replica are those of all, and stay.
func AheadOf(received string, now time.Time, replica bool) string {
	at, err := time.Parse(receivedLayout, received)
	if err != nil || at.Sub(now) <= aheadTolerated {
		return ""
	}
	remedy := "if the clock is right, stop the aggregator and run `aggregator mend-time`"
	if replica {
		remedy = "all replicas date events so until it has come there"
	}
	return fmt.Sprintf("the last event was received at %s, %v ahead of the clock: %s", received, at.Sub(now).Round(time.Second), remedy)
}

// MendTime gives every event in dir that was received after now the time now, in one transaction. A
// clock that was ahead for a moment has left such times, and as received_at never falls, each later
// event gets them too and none expires. It returns how many there were.
func MendTime(dir string, now time.Time) (mended int64, err error) {
	s, state, err := Open(dir, Design{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	latest := now.UTC().Format(receivedLayout)
	if state.LastReceivedAt <= latest {
		return 0, nil
	}
	a, c := NewApplier(s), s.writer
	err = c.Transaction(func() error {
		if s.Info.Layout == LayoutRows {
			mended, err = mendRows(c, latest)
		} else {
			mended, err = a.mendBlocks(c, latest)
		}
		if err != nil {
			return err
		}
		for _, sql := range []string{
			"UPDATE dead_letters SET received_at = '" + latest + "' WHERE received_at > '" + latest + "'",
			"UPDATE dead_letters SET failed_at = '" + latest + "' WHERE failed_at > '" + latest + "'",
		} {
			if err := c.Exec(sql); err != nil {
				return err
			}
		}
		state.LastReceivedAt = latest
		state.Commits++
		return writeState(c, state)
	})
	if err != nil {
		return 0, fmt.Errorf("store: mend the time: %w", err)
	}
	return mended, nil
}

func mendRows(c *sqlite.Conn, latest string) (int64, error) {
	s, err := c.Prepare("UPDATE events SET received_at = '" + latest + "' WHERE received_at > '" + latest + "'")
	if err != nil {
		return 0, err
	}
	return s.Run()
}

const selectBlockBefore = "SELECT " + blockColumns + " FROM blocks WHERE first_seq < ? ORDER BY first_seq DESC LIMIT 1"

// mendBlocks goes from the last block back to the first with nothing to mend: received_at never
// falls.
func (a *Applier) mendBlocks(c *sqlite.Conn, latest string) (mended int64, err error) {
	for before := int64(1)<<62 - 1; ; {
		b, later, err := blockWithout(c, before, latest)
		if err != nil || later == 0 {
			return mended, err
		}
		if err := a.rewrite(c, b); err != nil {
			return mended, err
		}
		mended += later
		before = b.first
	}
}

// blockWithout returns the block before a seq as it is without times after latest, and how many it
// has.
func blockWithout(c *sqlite.Conn, before int64, latest string) (b *block, later int64, err error) {
	err = c.Rows(selectBlockBefore, func(s *sqlite.Statement) error {
		b = &block{}
		stored := readBlock(s)
		b.begin(stored.first)
		var failed error
		err := eachEvent(stored, func(seq int64, r Row) bool {
			if r.ReceivedAt > latest {
				later++
				r.ReceivedAt = latest
			}
			failed = b.add(seq, &Row{Event: event.Event{Topic: r.Topic, ID: r.ID, Timestamp: r.Timestamp, Source: r.Source, Payload: r.Payload},
				ReceivedAt: r.ReceivedAt})
			return failed == nil
		})
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("block %d: %w", b.first, err)
		}
		return nil
	}, before)
	return b, later, err
}
