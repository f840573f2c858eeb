package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Log is the replicated log. It orders messages and keeps them; it knows nothing of what is in
// them.
type Log interface {
	// Append hands a message over and returns before it is stored. What is appended one after the
	// other arrives in that order or not at all. answered is called at most once, from another
	// goroutine: with the message's place in the log, once the log has promised to keep it, or with
	// why that is not so or not known. The message must not change before. Nothing is sent again by
	// itself, and nothing is kept to be sent later: either could come behind what was sent since.
	Append(message []byte, answered func(at uint64, err error)) error
	// Read calls each for the messages behind a position, in their order, and waits for more, until
	// ctx ends or something fails. The message is each's to keep.
	Read(ctx context.Context, after uint64, each func(at uint64, message []byte) error) error
	// Head tells what the log is and how far it goes. With ErrUnreachable it has the Peers alone, if
	// they are known, and which of them are away.
	Head(ctx context.Context) (Head, error)
	// Truncate removes the messages up to a place.
	Truncate(ctx context.Context, through uint64) error
	// Synced is nil if every server of the log that is there has shown that it syncs what it is
	// given before it answers. No setting of the log itself says so.
	Synced(ctx context.Context) error
}

// Registry keeps a value for each node, where all see it.
type Registry interface {
	// Get returns a node's value, and its revision; 0: there is none. It asks who takes what is put,
	// or did a moment ago.
	Get(ctx context.Context, node string) (value []byte, revision uint64, err error)
	// Put replaces the revision, and returns the new one; ErrReplaced: there is a later one.
	Put(ctx context.Context, node string, value []byte, revision uint64) (uint64, error)
}

// ErrReplaced means that somebody else has written a node's value.
var ErrReplaced = errors.New("somebody else has written it")

// Head is what a log says of itself.
type Head struct {
	Identity
	First, Last uint64 // of its messages; Last 0: it never had one
	Bytes       int64
	MaxBytes    int64 // that it takes; 0: not known
	Leader      string
	Peers       []Peer   // its servers, the leader included
	Copies      int      // that it was made with; 0: not known
	Faults      []string // what of its settings would lose something
	Nodes       []string // the aggregators that apply it
	Base        int64    // the last seq of the store that the first replica was, before any message
	Apply       uint16   // version that it begins with; 0: the first
	// From is where the first replica was in the epoch before.
	From Checkpoint
}

// Lacking says which copies no server has; "": none. Where a server was taken out, another begins
// its copy seconds later, and until then the loss of one more is the loss of the quorum.
func (h *Head) Lacking() string {
	if len(h.Peers) >= h.Copies {
		return ""
	}
	return fmt.Sprintf("the log has %d of its %d copies: no server has the place yet of one that was taken out", len(h.Peers), h.Copies)
}

// Lost says which servers its leader does not hear, if the others are too few for a quorum; nil:
// they are not. Such a leader goes on to lead for some seconds, and takes nothing.
func (h *Head) Lost() error {
	var away []string
	for _, p := range h.Peers {
		if p.Offline {
			away = append(away, p.Name)
		}
	}
	there := len(h.Peers) - len(away)
	if len(away) == 0 || 2*there > max(h.Copies, len(h.Peers)) {
		return nil
	}
	slices.Sort(away)
	return fmt.Errorf("of the log's servers these do not answer: %s", strings.Join(away, ", "))
}

// Identity tells one log from another under the same name, whose numbers begin anew.
type Identity struct {
	Cluster string // which init has drawn
	Epoch   uint64
	Created time.Time
}

// Peer is a server of the log.
type Peer struct {
	Name    string `json:"name"`
	Offline bool   `json:"offline"`
	Behind  uint64 `json:"behind"` // operations that it has not stored yet
}

var (
	// ErrFull means that the log takes no more until something is removed from it.
	ErrFull = errors.New("the log is full")
	// ErrUnreachable means that no server of the log answers, or that they have no leader.
	ErrUnreachable = errors.New("the log cannot be reached")
	// ErrLogin means that its servers do not let in who has this token, or none. It is wrapped beside
	// ErrUnreachable, and ends once the token is right.
	ErrLogin = errors.New("it refuses the login: -cluster-token-file has to be that of its -token-file")
)
