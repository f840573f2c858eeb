package jetstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// What a reader asks for at one time.
	readMessages = 256
	readBytes    = 8 << 20
	// readHeartbeat is how often a server says that it is there while it has nothing; two that are
	// missing end the reading.
	readHeartbeat = time.Second
	readExpiry    = 10 * time.Second
	// consumerRests is when a server forgets a reader that does not ask any more.
	consumerRests = 10 * time.Second
)

var errGap = errors.New("messages were lost on the way: they are read again")

// Read implements cluster.Log. The consumer is a place to read from, and nothing else: it
// acknowledges nothing, since what is applied stands in the store, and it is made anew after any
// failure. That no message is missing is looked at here and again by each: clients have lost some
// in silence.
func (l *Log) Read(ctx context.Context, after uint64, each func(at uint64, message []byte) error) error {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := l.js.CreateConsumer(ask, l.stream(), jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerRests,
	})
	if err != nil {
		return l.unreachable(err)
	}
	defer func() { go l.forget(c.CachedInfo().Name) }() // the server that has it may be gone
	messages, err := c.Messages(jetstream.PullMaxMessagesWithBytesLimit(readMessages, readBytes), jetstream.PullExpiry(readExpiry),
		jetstream.PullHeartbeat(readHeartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return l.unreachable(err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	defer messages.Stop()
	for first := true; ; first = false {
		m, err := messages.Next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return l.unreachable(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return l.unreachable(err)
		}
		at := meta.Sequence.Stream
		if l.doubted(after, at, first) {
			return fmt.Errorf("%w: %d came behind %d", errGap, at, after)
		}
		if err := each(at, m.Data()); err != nil {
			return err
		}
		after = at
	}
}

// doubted reports that a message is missing which may have been lost on the way: a log that has a
// gap has it when it is read again, too, at the beginning of that reading and of the one behind it.
// One alone is not believed: a connection that breaks before the first message is taken loses it.
func (l *Log) doubted(after, at uint64, first bool) bool {
	if at == after+1 {
		if first {
			l.gap.Store(0)
		}
		return false
	}
	return !first || l.gap.Swap(after+1) != after+1
}

// forget removes a consumer; if that fails, the server does it by itself.
func (l *Log) forget(consumer string) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	_ = l.js.DeleteConsumer(ctx, l.stream(), consumer)
}
