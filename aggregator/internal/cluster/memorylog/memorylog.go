// Package memorylog is a log in memory, for tests: it loses, repeats and delays what it is told to.
package memorylog

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"sekali/aggregator/internal/cluster"
)

// Log is a cluster.Log and its cluster.Registry. What happens to a message says Fate.
type Log struct {
	// Fate is asked for each message; nil: each is kept and answered.
	Fate func(message []byte) Fate
	// Delay is how long the log takes to say what it is.
	Delay time.Duration

	mu       sync.Mutex // guards all below
	head     cluster.Head
	messages [][]byte // behind First
	changed  chan struct{}
	unsynced error
	down     error // why it cannot be reached; nil: it can
	stalled  bool  // readers get nothing
	mute     bool  // the registry does not answer
	values   map[string]value
}

// Fate is what becomes of a message.
type Fate struct {
	Lost     bool // it is not kept
	Silent   bool // its sender is told nothing
	Repeated bool // it is kept twice
	Refused  error
}

type value struct {
	value    []byte
	revision uint64
}

// New returns an empty log of those nodes.
func New(nodes ...string) *Log {
	return &Log{head: cluster.Head{Identity: cluster.Identity{Cluster: "memory", Epoch: 1, Created: time.Unix(1, 0)}, First: 1, Nodes: nodes, Leader: "memory",
		Peers: []cluster.Peer{{Name: "memory"}}}, changed: make(chan struct{}), values: map[string]value{}}
}

// Identity is what a replica of this log has to know it by.
func (l *Log) Identity() cluster.Identity { return l.head.Identity }

// Change changes what the log says of itself, as a log does that was lost or set otherwise.
func (l *Log) Change(change func(head *cluster.Head)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.head)
	l.tell()
}

// Unsync makes the log's servers say that they do not sync; nil: they do.
func (l *Log) Unsync(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsynced = why
}

// Down makes the log unreachable, or ends that.
func (l *Log) Down(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = nil
	if down {
		l.down = cluster.ErrUnreachable
	}
	l.tell()
}

// Refuse makes the log let nobody in, or ends that.
func (l *Log) Refuse(refused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = nil
	if refused {
		l.down = fmt.Errorf("%w: %w", cluster.ErrUnreachable, cluster.ErrLogin)
	}
	l.tell()
}

// Mute makes the registry answer nobody, or ends that.
func (l *Log) Mute(mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute = mute
}

// Stall makes readers wait, while the log goes on, or ends that.
func (l *Log) Stall(stalled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = stalled
	l.tell()
}

// Put appends a message as somebody else would.
func (l *Log) Put(message []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(message)
}

func (l *Log) put(message []byte) uint64 {
	l.messages = append(l.messages, append([]byte(nil), message...))
	l.head.Last++
	l.tell()
	return l.head.Last
}

func (l *Log) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Append implements cluster.Log.
func (l *Log) Append(message []byte, answered func(at uint64, err error)) error {
	fate := Fate{}
	if l.Fate != nil {
		fate = l.Fate(message)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		return l.down
	}
	var at uint64
	if !fate.Lost && fate.Refused == nil {
		at = l.put(message)
	}
	if fate.Repeated {
		at = l.put(message)
	}
	switch {
	case fate.Refused != nil:
		go answered(0, fate.Refused)
	case !fate.Silent && at > 0:
		go answered(at, nil)
	}
	return nil
}

// Read implements cluster.Log.
func (l *Log) Read(ctx context.Context, after uint64, each func(at uint64, message []byte) error) error {
	for {
		l.mu.Lock()
		var message []byte
		if l.down == nil && after+1 < l.head.First {
			after = l.head.First - 1 // the reader has to see it
		}
		if i := after + 1 - l.head.First; l.down == nil && !l.stalled && i < uint64(len(l.messages)) {
			message = l.messages[i]
		}
		changed, down := l.changed, l.down
		l.mu.Unlock()
		switch {
		case down != nil:
			return down
		case message != nil:
			after++
			if err := each(after, append([]byte(nil), message...)); err != nil {
				return err
			}
		default:
			select {
			case <-changed:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// Head implements cluster.Log.
func (l *Log) Head(context.Context) (cluster.Head, error) {
	time.Sleep(l.Delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil {
		return cluster.Head{}, l.down
	}
	return l.head, nil
}

// Truncate implements cluster.Log.
func (l *Log) Truncate(_ context.Context, through uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if through >= l.head.First {
		n := min(through+1-l.head.First, uint64(len(l.messages)))
		l.messages, l.head.First = l.messages[n:], l.head.First+n
	}
	return nil
}

// Synced implements cluster.Log.
func (l *Log) Synced(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unsynced
}

// Get is of a cluster.Registry.
func (l *Log) Get(_ context.Context, node string) ([]byte, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil || l.mute {
		return nil, 0, cmp.Or(l.down, cluster.ErrUnreachable)
	}
	v := l.values[node]
	return v.value, v.revision, nil
}

func (l *Log) putValue(node string, text []byte, revision uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down != nil || l.mute {
		return 0, cmp.Or(l.down, cluster.ErrUnreachable)
	}
	if l.values[node].revision != revision {
		return 0, cluster.ErrReplaced
	}
	l.values[node] = value{append([]byte(nil), text...), revision + 1}
	return revision + 1, nil
}

// Registry is the log's registry.
func (l *Log) Registry() cluster.Registry { return registry{l} }

type registry struct{ *Log }

// Put implements cluster.Registry.
func (r registry) Put(_ context.Context, node string, text []byte, revision uint64) (uint64, error) {
	return r.putValue(node, text, revision)
}

var _ cluster.Log = (*Log)(nil)
