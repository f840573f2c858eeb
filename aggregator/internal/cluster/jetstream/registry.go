package jetstream

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// wrongRevision is the server's code for a value that has changed meanwhile.
const wrongRevision = 10071

// Registry returns the log's registry.
func (l *Log) Registry() cluster.Registry { return &registry{l} }

type registry struct{ log *Log }

// Get implements cluster.Registry.
func (r *registry) Get(ctx context.Context, node string) (value []byte, revision uint64, err error) {
	kv, err := r.log.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, 0, r.log.unreachable(err)
	}
	entry, err := kv.Get(ctx, node)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, r.log.unreachable(err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Put implements cluster.Registry.
func (r *registry) Put(ctx context.Context, node string, value []byte, revision uint64) (uint64, error) {
	kv, err := r.log.js.KeyValue(ctx, bucket)
	if err != nil {
		return 0, r.log.unreachable(err)
	}
	next, err := kv.Update(ctx, node, value, revision)
	var refused *jetstream.APIError
	if errors.As(err, &refused) && refused.ErrorCode == wrongRevision {
		return 0, cluster.ErrReplaced
	}
	if err != nil {
		return 0, r.log.unreachable(err)
	}
	return next, nil
}
