package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// The stream's metadata has what init has drawn and was told.
const (
	metaCluster  = "sekali_cluster"
	metaEpoch    = "sekali_epoch"
	metaNodes    = "sekali_nodes"
	metaReplicas = "sekali_replicas"
	metaBase     = "sekali_base"
	metaFrom     = "sekali_from_position"
	metaFromHash = "sekali_from_hash"
	metaApply    = "sekali_apply"
)

// Head implements cluster.Log.
func (l *Log) Head(parent context.Context) (cluster.Head, error) {
	ctx, cancel := context.WithTimeout(parent, askTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return cluster.Head{}, l.missing(parent)
	}
	if err != nil {
		if silent := errors.Is(err, context.DeadlineExceeded) && parent.Err() == nil; silent && l.conn.IsConnected() || apiCode(err) == unavailable {
			err = errLeaderless
		}
		return l.headless(parent, err)
	}
	head := headOf(s.CachedInfo(), l.subject())
	if most := l.conn.MaxPayload(); most < messageBytes {
		head.Faults = append(head.Faults, fmt.Sprintf("a server's max_payload is %d, want %d at least", most, messageBytes))
	}
	if leaderless(s.CachedInfo()) { // it is a survivor's view: who is away, and how far the log is, it does not know
		l.mu.Lock()
		if len(l.peers) == 0 {
			l.peers = head.Peers
		}
		l.mu.Unlock()
		return l.headless(parent, errLeaderless)
	}
	l.mu.Lock()
	l.peers = head.Peers
	l.mu.Unlock()
	return head, nil
}

// missing says who makes the log that is not there. If there is one of a later epoch, nobody does.
func (l *Log) missing(ctx context.Context) error {
	if epochs, err := l.Epochs(ctx); err == nil && len(epochs) > 0 && epochs[len(epochs)-1] > l.epoch {
		return fmt.Errorf("%w: there is no stream %s any more, but one of epoch %d: `aggregator cluster new-epoch` takes this replica there, or `cluster join` makes it anew",
			cluster.ErrUnreachable, l.stream(), epochs[len(epochs)-1])
	}
	made := "init"
	if l.epoch > 1 {
		made = "new-epoch -begin"
	}
	return fmt.Errorf("%w: there is no stream %s: it is made by `aggregator cluster %s`", cluster.ErrUnreachable, l.stream(), made)
}

var errLeaderless = errors.New("it has no leader")

// unavailable is the server's code where those that list the streams have no leader.
const unavailable = 10008

// apiCode is a server's code for what it refuses; 0: it has not said one.
func apiCode(err error) jetstream.ErrorCode {
	var refused *jetstream.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode
	}
	return 0
}

// leaderless reports that of several servers one has answered that does not lead, whomever it
// names: who was started a moment ago does so, and who takes the log for one without a leader. It
// may be behind what a reader has. Only a leader says since when it is one.
func leaderless(info *jetstream.StreamInfo) bool {
	return info.Cluster != nil && info.Config.Replicas > 1 && info.Cluster.LeaderSince == nil
}

// headless is what is known of a log that cannot be asked: which of its servers answer at all.
func (l *Log) headless(ctx context.Context, why error) (cluster.Head, error) {
	if err := l.ask(ctx, headlessEvery, true); err != nil {
		return cluster.Head{}, l.unreachable(why)
	}
	return l.answering(why)
}

// answering judges by who has answered since all were asked. A server that is left of a log without
// a leader calls all away, itself too.
func (l *Log) answering(why error) (cluster.Head, error) {
	l.mu.Lock()
	peers := make([]cluster.Peer, len(l.peers))
	var away []string
	for i, p := range l.peers {
		peers[i] = cluster.Peer{Name: p.Name, Offline: l.proofs[p.Name].at.Before(l.asked), Behind: p.Behind}
		if peers[i].Offline {
			away = append(away, p.Name)
		}
	}
	l.peers = slices.Clone(peers)
	var there []string
	for name, p := range l.proofs {
		if !p.at.Before(l.asked) {
			there = append(there, name)
		}
	}
	l.mu.Unlock()
	switch slices.Sort(there); {
	case len(away) > 0:
		why = fmt.Errorf("%w; of its servers these do not answer: %s", why, strings.Join(away, ", "))
	case len(peers) == 0 && len(there) > 0: // who belongs to it was never told
		why = fmt.Errorf("%w; these servers answer: %s", why, strings.Join(there, ", "))
	}
	return cluster.Head{Peers: peers}, l.unreachable(why)
}

// Epochs returns the epochs of which there is a log, in order.
func (l *Log) Epochs(ctx context.Context) (epochs []uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	names := l.js.StreamNames(ctx)
	for name := range names.Name() {
		var epoch uint64
		if n, _ := fmt.Sscanf(name, stream, &epoch); n == 1 {
			epochs = append(epochs, epoch)
		}
	}
	slices.Sort(epochs)
	if err := names.Err(); err != nil {
		return nil, l.unreachable(err)
	}
	return epochs, nil
}

// headOf is what a stream says of itself.
func headOf(info *jetstream.StreamInfo, subject string) cluster.Head {
	meta := info.Config.Metadata
	epoch, _ := strconv.ParseUint(meta[metaEpoch], 10, 64)
	h := cluster.Head{
		Identity: cluster.Identity{Cluster: meta[metaCluster], Epoch: epoch, Created: info.Created},
		First:    info.State.FirstSeq, Last: info.State.LastSeq, Bytes: int64(info.State.Bytes), MaxBytes: max(0, info.Config.MaxBytes),
		Faults: faults(&info.Config, subject),
	}
	h.Base, _ = strconv.ParseInt(meta[metaBase], 10, 64)
	if apply, err := strconv.ParseUint(meta[metaApply], 10, 16); err == nil {
		h.Apply = uint16(apply)
	}
	h.From.Position, _ = strconv.ParseUint(meta[metaFrom], 10, 64)
	h.From.Hash, _ = cluster.ParseHash(meta[metaFromHash]) // what is not there is no hash of any replica's
	if nodes := meta[metaNodes]; nodes != "" {
		h.Nodes = strings.Split(nodes, ",")
	}
	if c := info.Cluster; c != nil {
		h.Leader, h.Copies = c.Leader, info.Config.Replicas
		if c.Leader != "" {
			h.Peers = append(h.Peers, cluster.Peer{Name: c.Leader})
		}
		for _, p := range c.Replicas {
			h.Peers = append(h.Peers, cluster.Peer{Name: p.Name, Offline: away(p), Behind: p.Lag})
		}
	}
	if state := info.State; state.NumDeleted > 0 {
		h.Faults = append(h.Faults, fmt.Sprintf("%d messages were deleted from within it", state.NumDeleted))
	}
	return h
}

// awayAfter is how long the leader may have heard nothing of a server. The log itself calls one
// offline a minute after it was killed.
const awayAfter = 3 * time.Second

// away reports a server that the leader does not hear, or has not heard yet: it takes no part in
// what the log promises now.
func away(p *jetstream.PeerInfo) bool {
	return p.Offline || p.Active > awayAfter || p.Active == 0 && !p.Current
}

// messageBytes is what servers have to take: a frame, and what is around it. One that is refused
// would be sent again for ever, and all behind it would wait.
const messageBytes = 2 << 20

// faults are the settings that would lose what was acknowledged, or hold back what was not.
func faults(c *jetstream.StreamConfig, subject string) (faults []string) {
	for _, f := range []struct {
		wrong bool
		what  string
	}{
		{c.Storage != jetstream.FileStorage, "it is kept in memory"},
		{strconv.Itoa(c.Replicas) != c.Metadata[metaReplicas], fmt.Sprintf("it has %d copies, and was made with %s", c.Replicas, c.Metadata[metaReplicas])},
		{c.Retention != jetstream.LimitsPolicy, "its retention is not limits"},
		{c.Discard != jetstream.DiscardNew, "it discards old messages when it is full"},
		{c.MaxAge != 0, "it removes messages by age"},
		{c.MaxMsgs > 0, "it has a limit of messages"},
		{c.MaxMsgsPerSubject > 0 || c.DiscardNewPerSubject, "it has a limit of messages of a subject"},
		{c.MaxMsgSize > 0 && c.MaxMsgSize < messageBytes, fmt.Sprintf("it refuses messages of more than %d bytes", c.MaxMsgSize)},
		{c.MaxBytes <= 0, "it has no limit of bytes"},
		{!c.DenyDelete, "messages can be deleted from within it"},
		{c.AllowRollup, "a message can remove others"},
		{c.AllowMsgTTL || c.SubjectDeleteMarkerTTL != 0, "messages can have a time to live"},
		{c.AllowMsgCounter || c.AllowMsgSchedules, "messages can be changed on their way"},
		{c.Mirror != nil || len(c.Sources) > 0, "it takes messages from another stream"},
		{c.SubjectTransform != nil, "it changes subjects"},
		{c.NoAck, "it does not answer"},
		{c.Sealed, "it takes nothing"},
		{c.PersistMode != jetstream.DefaultPersistMode, "it answers before it has stored"},
		{!slices.Equal(c.Subjects, []string{subject}), fmt.Sprintf("it has the subjects %v, want %s alone", c.Subjects, subject)},
	} {
		if f.wrong {
			faults = append(faults, f.what)
		}
	}
	return faults
}
