package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// Wanted is what a new log is made with.
type Wanted struct {
	Nodes    []string
	Replicas int
	Bytes    int64
	Base     int64 // the last seq of the store that the log begins with
	Apply    uint16

	// Of a later epoch.
	Cluster string             // "": it is drawn
	From    cluster.Checkpoint // where the first replica was in the epoch before
	// May says why the log must not be made. It is asked once there is a registry, and before there is
	// a log: nobody removes that again. nil: it may.
	May func(ctx context.Context) error
}

var (
	// ErrExists means that there is a log already.
	ErrExists = errors.New("the log exists")
	// ErrLater means that the cluster has gone on with another log.
	ErrLater = errors.New("there is a log of a later epoch")
)

// Init makes the log and its registry. A log that is there is left as it is: ErrExists, with what
// it says of itself.
func (l *Log) Init(ctx context.Context, w Wanted) (cluster.Head, error) {
	if err := l.initRegistry(ctx, w.Replicas); apiCode(err) == unavailable {
		_, err = l.headless(ctx, fmt.Errorf("the log's servers have no leader, for which most of those that have ever belonged to them have to be there: %w", err))
		return cluster.Head{}, err
	} else if err != nil {
		return cluster.Head{}, err
	}
	if s, err := l.js.Stream(ctx, l.stream()); err == nil {
		return headOf(s.CachedInfo(), l.subject()), ErrExists
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return cluster.Head{}, l.unreachable(err)
	}
	if err := l.mayMake(ctx, w); err != nil {
		return cluster.Head{}, err
	}
	id := w.Cluster
	if id == "" {
		id = hex.EncodeToString(random())
	}
	s, err := l.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: l.stream(), Subjects: []string{l.subject()}, Description: "the log of a cluster of aggregators",
		Storage: jetstream.FileStorage, Replicas: w.Replicas, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxBytes: w.Bytes, MaxMsgSize: -1, MaxConsumers: -1, DenyDelete: true,
		Metadata: map[string]string{metaCluster: id, metaEpoch: strconv.FormatUint(l.epoch, 10),
			metaNodes: strings.Join(w.Nodes, ","), metaReplicas: strconv.Itoa(w.Replicas), metaBase: strconv.FormatInt(w.Base, 10),
			metaFrom: strconv.FormatUint(w.From.Position, 10), metaFromHash: w.From.Hash.String(),
			metaApply: strconv.FormatUint(uint64(w.Apply), 10)},
	})
	if err != nil {
		return cluster.Head{}, l.notMade(ctx, err, w.Bytes)
	}
	head := headOf(s.CachedInfo(), l.subject())
	if len(head.Faults) > 0 {
		return head, fmt.Errorf("the stream %s was not made as it was asked for: %s", l.stream(), strings.Join(head.Faults, "; "))
	}
	return head, nil
}

// mayMake says why a log that is not there must not be made.
func (l *Log) mayMake(ctx context.Context, w Wanted) error {
	epochs, err := l.Epochs(ctx)
	if err != nil {
		return err
	}
	if n := len(epochs); n > 0 && epochs[n-1] > l.epoch {
		return fmt.Errorf("%w, %d: the log of epoch %d is not made", ErrLater, epochs[n-1], l.epoch)
	}
	if w.May == nil {
		return nil
	}
	return w.May(ctx)
}

// noPeers is the server's code where too few servers can have a stream, as for want of room.
const noPeers = 10005

// notMade is why the log was not made. A log of before keeps its share of the servers' room, though
// nothing comes into it any more.
func (l *Log) notMade(ctx context.Context, why error, bytes int64) error {
	why = fmt.Errorf("make the stream %s: %w", l.stream(), why)
	if apiCode(why) != noPeers || !strings.Contains(why.Error(), "insufficient storage") {
		return why
	}
	epochs, err := l.Epochs(ctx)
	if err != nil || len(epochs) == 0 {
		return fmt.Errorf("%w: the servers' -store-bytes has no room for %d bytes", why, bytes)
	}
	return fmt.Errorf("%w: the servers' -store-bytes has no room for %d bytes beside the logs of the epochs %d: docs/howto/cluster.md says what to do", why, bytes, epochs)
}

func random() []byte {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // it never fails
	return id
}

func (l *Log) initRegistry(ctx context.Context, replicas int) error {
	_, err := l.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Description: "how far each aggregator is",
		History: 1, Storage: jetstream.FileStorage, Replicas: replicas, MaxBytes: 16 << 20})
	if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
		return fmt.Errorf("make the bucket %s: %w", bucket, err)
	}
	return nil
}
