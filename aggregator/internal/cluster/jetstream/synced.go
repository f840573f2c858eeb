package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// pingServers asks every server for its settings. sync_interval is one of the server's, and no
// stream shows it.
const pingServers = "$SYS.REQ.SERVER.PING.VARZ"

// proofWait is how long servers may take to answer.
const proofWait = 1500 * time.Millisecond

// headlessEvery is how often the servers of a log that cannot be asked are asked whether they are
// there.
const headlessEvery = 3 * time.Second

// proof is what a server has said of itself. It stands until the server says something else: one
// that is away syncs nothing, and stores nothing.
type proof struct {
	synced bool
	at     time.Time
}

// varz is what is read of a server's answer.
type varz struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Data struct {
		JetStream struct {
			Config *struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"jetstream"`
	} `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// Synced implements cluster.Log. While the log has no leader, who its servers are is known from
// before.
func (l *Log) Synced(ctx context.Context) error {
	if _, err := l.Head(ctx); err != nil {
		return l.provenWithout(err)
	}
	if err := l.ask(ctx, 0, false); err != nil {
		return err
	}
	return l.proven()
}

// provenWithout judges what is known of a log that cannot be asked now. Of one whose servers were
// never seen nothing is: that it cannot be reached is the reason.
func (l *Log) provenWithout(why error) error {
	l.mu.Lock()
	known := len(l.peers) > 0
	l.mu.Unlock()
	if !known {
		return why
	}
	return l.proven()
}

// ask has the servers say what they are set to, unless they were asked so short a time ago. It
// waits for those that are there, or for those, too, that are said to be away.
func (l *Log) ask(ctx context.Context, recent time.Duration, all bool) error {
	l.mu.Lock()
	asked := time.Now()
	if asked.Sub(l.asked) < recent {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	err := l.eachServer(ctx, pingServers, nil, func() bool { return l.allAnswered(asked, all) }, func(answer []byte) { l.note(answer, time.Now()) })
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if asked.After(l.asked) {
		l.asked = asked
	}
	return nil
}

// eachServer asks all servers, and hands their answers over until those are enough, or proofWait is
// over.
func (l *Log) eachServer(ctx context.Context, subject string, question []byte, enough func() bool, take func(answer []byte)) error {
	answers, err := l.conn.SubscribeSync(l.conn.NewInbox())
	if err != nil {
		return l.unreachable(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := l.conn.PublishRequest(subject, answers.Subject, question); err != nil {
		return l.unreachable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	for !enough() {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil || len(m.Data) == 0 {
			break
		}
		take(m.Data)
	}
	return nil
}

// note takes what a server says of itself. One that says nothing of syncing does not sync. One that
// has no log stores nothing, and has said nothing: so answers who turns it off at a full disk, and
// ends.
func (l *Log) note(answer []byte, now time.Time) {
	var v varz
	if json.Unmarshal(answer, &v) != nil || v.Server.Name == "" || v.Error != nil {
		return
	}
	config := v.Data.JetStream.Config
	if config == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.proofs[v.Server.Name] = proof{config.SyncAlways, now}
}

// allAnswered reports that every server that is there, or all, have answered since they were asked.
func (l *Log) allAnswered(asked time.Time, all bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.peers {
		if (all || !p.Offline) && l.proofs[p.Name].at.Before(asked) {
			return false
		}
	}
	return len(l.peers) > 0
}

// proven judges what is known.
func (l *Log) proven() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.peers) == 0 {
		return errors.New("the log's servers are not known: it is no cluster")
	}
	for _, p := range l.peers {
		switch proof, ok := l.proofs[p.Name]; {
		case ok && !proof.synced:
			return fmt.Errorf("the log's server %s answers before it has synced: it needs sync_interval always", p.Name)
		case !ok && !p.Offline:
			return fmt.Errorf("the log's server %s has not said whether it syncs", p.Name)
		}
	}
	return nil
}
