package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// The server's codes for a value that has changed meanwhile, and for one that is not there.
const (
	wrongRevision = 10071
	noMessage     = 10037
)

// Registry returns the log's registry.
func (l *Log) Registry() cluster.Registry { return &registry{l} }

type registry struct{ log *Log }

// Get implements cluster.Registry. It asks the leader: any server may answer the client's own get,
// also one that is behind.
func (r *registry) Get(ctx context.Context, node string) (value []byte, revision uint64, err error) {
	question, err := json.Marshal(map[string]string{"last_by_subj": "$KV." + bucket + "." + node})
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := r.log.conn.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET.KV_"+bucket, question)
	if err != nil {
		return nil, 0, r.log.unreachable(err)
	}
	var answer struct {
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return nil, 0, r.log.unreachable(fmt.Errorf("the registry's answer %.80q: %w", m.Data, err))
	case answer.Error != nil && answer.Error.ErrorCode == noMessage:
		return nil, 0, nil
	case answer.Error != nil:
		return nil, 0, r.log.unreachable(answer.Error)
	case answer.Message.Seq == 0:
		return nil, 0, r.log.unreachable(fmt.Errorf("the registry's answer %.80q has no revision", m.Data))
	}
	return answer.Message.Data, answer.Message.Seq, nil
}

// Told are the nodes that have told anything since the registry was made.
func (l *Log) Told(ctx context.Context) (nodes []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return nil, l.unreachable(err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter("$KV."+bucket+".>"))
	if err != nil {
		return nil, l.unreachable(err)
	}
	for subject := range info.State.Subjects {
		nodes = append(nodes, strings.TrimPrefix(subject, "$KV."+bucket+"."))
	}
	return nodes, nil
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
