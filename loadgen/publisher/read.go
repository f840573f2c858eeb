package publisher

import (
	"context"
	"errors"
)

// readAhead is how many events are read before they are asked for.
const readAhead = 256

// item is what a source gave.
type item struct {
	event []byte
	at    place
	err   error
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
