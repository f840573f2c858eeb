package aggregator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sekali/aggregator/internal/cluster"
)

// appendPause is after how long a control is appended again that the log has not taken.
const appendPause = time.Second

// ClusterSkip tells all replicas to pass over a message of the log, at which they have halted. They
// look for that when they are started again.
func ClusterSkip(ctx context.Context, c ClusterConfig, w io.Writer) error {
	if c.Position == 0 {
		return fmt.Errorf("%w: -position is needed: the message at which the replicas have halted", ErrConfig)
	}
	ctx, cancel := context.WithTimeout(ctx, clusterBudget)
	defer cancel()
	log, head, err := c.reachLatest(ctx)
	if err != nil {
		return err
	}
	defer log.Close()
	if c.Position < head.First || c.Position > head.Last {
		return fmt.Errorf("%w: -position=%d, and the log has %d to %d", ErrConfig, c.Position, head.First, head.Last)
	}
	if err := checkSkip(ctx, log.Registry(), head, c.Position); err != nil {
		return err
	}
	control := cluster.Control{Skip: c.Position}
	message, err := control.Message(0)
	if err != nil {
		return err
	}
	at, err := awaitAppend(ctx, log, message)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "message %d of the log tells to pass over message %d: start the aggregators again\n", at, c.Position)
	return nil
}

// checkSkip refuses to skip a message that a node has applied: it would differ from the others. One
// at least has to have halted there. What a node has told of another epoch is of another log.
func checkSkip(ctx context.Context, registry cluster.Registry, head cluster.Head, position uint64) error {
	halted := false
	for _, name := range head.Nodes {
		value, revision, err := registry.Get(ctx, name)
		if err != nil {
			return err
		}
		if revision == 0 {
			continue
		}
		var b cluster.Beat
		if err := json.Unmarshal(value, &b); err != nil {
			return fmt.Errorf("what %s has told is not understood: %w", name, err)
		}
		if b.Epoch != head.Epoch {
			continue
		}
		if b.Position >= position && !b.Forgotten {
			return fmt.Errorf("%s has applied message %d: it is at %d", name, position, b.Position)
		}
		halted = halted || b.Halted != "" && b.Position == position-1
	}
	if !halted {
		return fmt.Errorf("no node has halted at message %d", position)
	}
	return nil
}

// awaitAppend appends a message until the log has taken it, or ctx ends. It may be there twice.
func awaitAppend(ctx context.Context, log cluster.Log, message []byte) (at uint64, err error) {
	type answer struct {
		at  uint64
		err error
	}
	answers := make(chan answer, 1)
	for {
		err = log.Append(message, func(at uint64, err error) {
			select {
			case answers <- answer{at, err}:
			default: // to an attempt before
			}
		})
		select {
		case a := <-answers:
			if a.err == nil {
				return a.at, nil
			}
			err = a.err
		case <-time.After(appendPause):
		case <-ctx.Done():
			return 0, fmt.Errorf("the log has not taken it: %w", errors.Join(ctx.Err(), err))
		}
		if err != nil { // it has said so at once
			select {
			case <-time.After(joinPause):
			case <-ctx.Done():
			}
		}
	}
}
