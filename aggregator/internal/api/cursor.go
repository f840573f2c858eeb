package api

import (
	"context"
	"fmt"

	"github.com/valyala/fasthttp"
)

// checkCursor answers a reader who goes on after something that was never stored here, and reports
// whether it may go on. Such a cursor is of another store: of before a restore, or of another
// volume. Without an error its reader would wait in silence until the numbers have come so far, and
// miss all before.
func (a *Server) checkCursor(ctx *fasthttp.RequestCtx, after int64, last func(context.Context) (int64, error)) bool {
	if after == 0 {
		return true
	}
	read, cancel := context.WithTimeout(context.Background(), readBudget)
	defer cancel()
	end, err := last(read)
	switch {
	case err != nil:
		a.unreadable(ctx, err)
	case after > end:
		problem(ctx, fasthttp.StatusConflict, "cursor_beyond_end",
			fmt.Sprintf("there is nothing up to %d, the last is %d: the cursor is of another store, or of before a restore; begin at after=0", after, end))
	default:
		return true
	}
	return false
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
