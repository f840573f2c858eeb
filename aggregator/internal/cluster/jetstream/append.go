package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

// pending is a message that the log has not answered.
type pending struct {
	number   uint64
	answered func(at uint64, err error)
}

// pendingKept is how many are waited for: far more than a sender has under way. The answer to one
// that it has sent again long ago is not missed.
const pendingKept = 1024

// full is the server's code for a stream that has reached max_bytes, under discard new.
const full = 10077

// puback is what a server answers.
type puback struct {
	Stream string              `json:"stream"`
	Seq    uint64              `json:"seq"`
	Error  *jetstream.APIError `json:"error"`
}

// Append implements cluster.Log. There is no message id: whether a frame is a repeat, its number
// says for ever, and not for a window of minutes. Nor does the client try again: it would send
// behind what was sent since.
func (l *Log) Append(message []byte, answered func(at uint64, err error)) error {
	l.mu.Lock()
	l.number++
	number := l.number
	token := strconv.FormatUint(number, 36)
	l.pending[token] = pending{number, answered}
	if len(l.pending) > pendingKept {
		for old, p := range l.pending {
			if p.number+pendingKept/2 < number {
				delete(l.pending, old)
			}
		}
	}
	l.mu.Unlock()
	err := l.conn.PublishMsg(&nats.Msg{Subject: l.subject(), Reply: l.inbox + "." + token, Data: message, Header: nats.Header{expectedStream: {l.stream()}}})
	if err != nil {
		l.take(token)
		return l.unreachable(err)
	}
	return nil
}

// take ends the wait for an answer.
func (l *Log) take(token string) (pending, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, ok := l.pending[token]
	delete(l.pending, token)
	return p, ok
}

// errNewLeader means that the leader is gone that was to answer. It may have stored what it was
// sent: to send that again is a repeat then.
var errNewLeader = errors.New("the log has another leader")

// failPending ends all waits: the answers went to a connection that is gone, or a leader that is
// gone was to give them.
func (l *Log) failPending(err error) {
	l.mu.Lock()
	failed := l.pending
	l.pending = map[string]pending{}
	l.mu.Unlock()
	for _, p := range failed {
		p.answered(0, err)
	}
}

// answer takes what a server says of a message.
func (l *Log) answer(m *nats.Msg) {
	p, ok := l.take(m.Subject[len(l.inbox)+1:])
	if ok {
		p.answered(l.placeOf(m))
	}
}

// placeOf reads an answer.
func (l *Log) placeOf(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 { // no leader takes it now
		return 0, l.unreachable(errors.New("no server of the log answers, status " + m.Header.Get("Status")))
	}
	var a puback
	switch err := json.Unmarshal(m.Data, &a); {
	case err != nil:
		return 0, fmt.Errorf("the log's answer %.80q: %w", m.Data, err)
	case a.Error != nil && a.Error.ErrorCode == full:
		return 0, cluster.ErrFull
	case a.Error != nil:
		return 0, a.Error
	case a.Stream != l.stream() || a.Seq == 0:
		return 0, fmt.Errorf("the log's answer %.80q names no place in %s", m.Data, l.stream())
	}
	return a.Seq, nil
}
