package api

import (
	"context"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// cursorPoll is after how long it is asked first whether a replica has come to a reader's cursor,
// and cursorPollMost after how long at most: many readers may wait for one replica, and each asks
// the store.
const (
	cursorPoll     = 20 * time.Millisecond
	cursorPollMost = 320 * time.Millisecond
)

// checkCursor answers a reader who goes on after something that was never stored here, and reports
// whether it may go on. Such a cursor is of another store: of before a restore, or of another
// volume. Without an error its reader would wait in silence until the numbers have come so far, and
// miss all before. In a cluster it may be of another replica, which is ahead by a moment: that is
// waited for. Where the cursor names this log's epoch it is only too early, and never refused; nor
// is any by a replica that has halted, which does not know what the others have.
func (a *Server) checkCursor(ctx *fasthttp.RequestCtx, after int64, last func(context.Context) (int64, error)) bool {
	if after == 0 {
		return true
	}
	read, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	end, err := last(read)
	var halted error
	if a.node != nil {
		end, err = a.awaitCursor(read, after, end, err, last)
		halted = a.node.Halted()
	}
	switch {
	case err != nil:
		a.unreadable(ctx, err)
	case after <= end:
		return true
	case halted != nil:
		problem(ctx, fasthttp.StatusServiceUnavailable, "halted", fmt.Sprintf("this replica does not come to after=%d: %v", after, halted))
	case isOfEpoch(ctx):
		problem(ctx, fasthttp.StatusServiceUnavailable, "lagging", fmt.Sprintf("this replica has not come to after=%d within %v: ask another", after, positionWait))
	default:
		problem(ctx, fasthttp.StatusConflict, "cursor_beyond_end",
			fmt.Sprintf("there is nothing up to %d, the last is %d: the cursor is of another store, or of before a restore; begin at after=0", after, end))
	}
	return false
}

// awaitCursor asks for the end again and again until the reader's cursor is not behind it, for
// positionWait at most. A replica that has halted comes no further.
func (a *Server) awaitCursor(ctx context.Context, after, end int64, err error, last func(context.Context) (int64, error)) (int64, error) {
	pause := cursorPoll
	for until := time.Now().Add(positionWait); err == nil && after > end && a.node.Halted() == nil && time.Now().Before(until); {
		select {
		case <-a.closing:
			return end, nil
		case <-time.After(pause):
		}
		pause = min(2*pause, cursorPollMost)
		end, err = last(ctx)
	}
	return end, err
}

// lastSeq is the end of the events: as the pipeline knows it, or, where that is too low for a
// reader who has just read what it is about to count, as the store has it.
func (a *Server) lastSeq(after int64) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		if last := a.pipeline.Counters().LastSeq; after <= last {
			return last, nil
		}
		return a.store.LastSeq(ctx)
	}
}
