package publisher

import (
	"context"
	"errors"
	"io"
	"time"
)

const (
	// flushBytes ends a batch before it has its number of events. With one more line
	// of 1 MiB, each byte of it escaped to six, a body stays under 16 MiB.
	flushBytes = 4 << 20
	// linger bounds how long an event waits for others to fill its request, for an
	// input that comes slowly (tail -f).
	linger = 200 * time.Millisecond
	// readAhead is how many events are read before they are asked for.
	readAhead = 256
)

// item is what a source gave.
type item struct {
	event []byte
	at    place
	err   error
}

// batch is the body of a request: NDJSON.
type batch struct {
	body   []byte
	places []place // of each event
}

// read gives what src has, up to count events (0: all), then closes the channel
// and src. It is a goroutine of its own because a read from a pipe cannot be interrupted; if ctx
// ends meanwhile, it is left behind, for the process to end with.
func read(ctx context.Context, src source, count uint64) <-chan item {
	items := make(chan item, readAhead)
	go func() {
		defer close(items)
		defer src.Close()
		for n := uint64(0); count == unbounded || n < count; n++ {
			event, at, err := src.next(nil)
			select {
			case items <- item{event, at, err}:
			case <-ctx.Done():
				return
			}
			if skipped := (*skipError)(nil); err != nil && !errors.As(err, &skipped) {
				return
			}
		}
	}()
	return items
}

// nextBatch fills a batch with up to events events. Skipped ones are told to
// skip, and do not count. The error is io.EOF with the last batch, which may be
// empty; ctx's, when that ended; or the source's.
func nextBatch(ctx context.Context, items <-chan item, events int, skip func(at place, reason error)) (batch, error) {
	var b batch
	var enough <-chan time.Time // once there is an event
	for len(b.places) < events && len(b.body) < flushBytes {
		select {
		case next, ok := <-items:
			skipped := (*skipError)(nil)
			switch {
			case !ok:
				return b, io.EOF
			case errors.As(next.err, &skipped):
				skip(next.at, skipped)
				continue
			case next.err != nil:
				return b, next.err
			}
			b.body = append(append(b.body, next.event...), '\n')
			b.places = append(b.places, next.at)
			if enough == nil {
				timer := time.NewTimer(linger)
				defer timer.Stop()
				enough = timer.C
			}
		case <-enough:
			return b, nil
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
	return b, nil
}
