// Package jetstream is the cluster's log on NATS JetStream.
//
// It adds no promise to the server's: what is sent once is sent once, what is read is handed on as
// it comes, and what the log says of itself is compared and never mended.
package jetstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/aggregator/internal/cluster"
)

const (
	// subject is of the only partition; the epoch is in it, so that what is sent to an old log does
	// not reach a new one.
	subject = "sekali.%d.log.0"
	stream  = "SEKALI_%d"
	bucket  = "SEKALI_NODES"
	// leaderElected is what a server tells all clients that leads the stream from now on.
	leaderElected = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
	// expectedStream makes a server refuse what would go into another stream.
	expectedStream = "Nats-Expected-Stream"

	// A server that is gone without a word is noticed after two of these: the defaults are minutes.
	pingEvery     = time.Second
	pingsMissed   = 2
	dialTimeout   = 2 * time.Second
	reconnectWait = 100 * time.Millisecond
	// refusedWait is it while the servers refuse the login, each time with a line in their logs.
	refusedWait = time.Second
	// askTimeout bounds a question to the log.
	askTimeout = 2 * time.Second
	// user is how an aggregator is known to sekali-log.
	user = "sekali"
)

// Config says where the log's servers are.
type Config struct {
	URLs      string // with commas between them
	TokenFile string // the password of the user sekali; "": none is needed
	CAFile    string // of the servers' certificates; "": the system's
	Name      string // of this client, in the servers' lists
	Logger    *slog.Logger
}

// Log is a cluster.Log and its cluster.Registry.
type Log struct {
	epoch uint64
	conn  *nats.Conn
	js    jetstream.JetStream
	inbox string        // the answers to what is appended come here, each under its number
	gap   atomic.Uint64 // the message that the reading before this one missed at its beginning; 0: none

	mu      sync.Mutex // guards all below
	number  uint64
	pending map[string]pending
	peers   []cluster.Peer // as they were seen last
	proofs  map[string]proof
	asked   time.Time // when the servers were asked last what they are set to
	refused error     // why none lets this client in; nil: one has, or none was there to ask
}

// Dial returns a connection to the log of an epoch. The servers need not be there yet.
func Dial(cfg Config, epoch uint64) (*Log, error) {
	l := &Log{epoch: epoch, pending: map[string]pending{}, proofs: map[string]proof{}}
	options := []nats.Option{
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.Timeout(dialTimeout),
		nats.CustomReconnectDelay(l.reconnectDelay),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsMissed),
		// What is sent while there is no connection is refused: kept, it would come behind what is sent
		// again meanwhile, after its sender has given up.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { l.failPending(cluster.ErrUnreachable) }),
		// Whose login is refused goes on to try: a token that was replaced on the servers is replaced
		// here, too, some time. Without this the client gives up for good at the second refusal.
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !isRefusal(err) {
				cfg.Logger.Warn("log client", "error", err)
			} else if l.noteRefused(cluster.ErrLogin) {
				cfg.Logger.Error("a server of the log does not let this client in", "error", cluster.ErrLogin)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { l.letIn(cfg.Logger) }),
		nats.ConnectHandler(func(*nats.Conn) { l.letIn(cfg.Logger) }),
	}
	secrets, err := cfg.secrets()
	if err != nil {
		return nil, err
	}
	if l.conn, err = nats.Connect(cfg.URLs, append(options, secrets...)...); err != nil {
		return nil, err
	}
	l.inbox = l.conn.NewInbox()
	_, err = l.conn.Subscribe(l.inbox+".*", l.answer)
	if err == nil {
		_, err = l.conn.Subscribe(leaderElected+l.stream(), func(*nats.Msg) { l.failPending(errNewLeader) })
	}
	if err == nil {
		l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(askTimeout))
	}
	if err != nil {
		l.conn.Close()
		return nil, err
	}
	if !l.conn.IsConnected() { // the client tells nobody whom the servers refuse at first
		if why := Reach(context.Background(), cfg, 0); errors.Is(why, cluster.ErrLogin) && l.noteRefused(why) {
			cfg.Logger.Error("the log does not let this client in", "error", why)
		}
	}
	return l, nil
}

// reconnectDelay is how long the client rests when it has tried all servers.
func (l *Log) reconnectDelay(int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused != nil {
		return refusedWait
	}
	return reconnectWait + rand.N(reconnectWait)
}

// isRefusal reports an error by which a server says that it does not let this client in.
func isRefusal(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) ||
		errors.Is(err, nats.ErrAuthRevoked) || errors.Is(err, nats.ErrAccountAuthExpired)
}

// noteRefused notes why this client is not let in. It reports whether that is new.
func (l *Log) noteRefused(why error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.refused != nil
	l.refused = why
	return !known
}

// letIn notes that a server lets this client in.
func (l *Log) letIn(logger *slog.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused != nil {
		logger.Info("the log lets this client in again")
	}
	l.refused = nil
}

// secrets reads what the configuration keeps in files.
func (cfg *Config) secrets() (options []nats.Option, err error) {
	if cfg.TokenFile != "" {
		l := &login{file: cfg.TokenFile}
		if err := l.read(); err != nil {
			return nil, err
		}
		options = append(options, nats.UserInfoHandler(l.show))
	}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("-cluster-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-cluster-ca: %s holds no certificate", cfg.CAFile)
		}
		options = append(options, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	return options, nil
}

// login is what the servers are shown. The file is read at each connection, so that a token that
// was replaced in it is taken without a restart. While it cannot be read, the token before is
// shown.
type login struct {
	file  string
	token string // of one goroutine at a time: the client connects under its lock
}

func (l *login) read() error {
	text, err := os.ReadFile(l.file)
	if err != nil {
		return fmt.Errorf("-cluster-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return fmt.Errorf("-cluster-token-file: %s is empty", l.file)
	}
	l.token = token
	return nil
}

// show is a nats.UserInfoCB.
func (l *login) show() (name, password string) {
	_ = l.read() // the token before stays: the servers say whether it is right
	return user, l.token
}

// Close ends the connection. Nobody is answered any more.
func (l *Log) Close() error {
	l.conn.Close()
	return nil
}

func (l *Log) stream() string  { return fmt.Sprintf(stream, l.epoch) }
func (l *Log) subject() string { return fmt.Sprintf(subject, l.epoch) }

// unreachable marks what goes away by itself. Of a client that is not let in, that is the reason,
// whatever its own error says.
func (l *Log) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	l.mu.Lock()
	refused := l.refused
	l.mu.Unlock()
	if refused != nil && !l.conn.IsConnected() {
		if errors.Is(refused, cluster.ErrUnreachable) {
			return refused
		}
		err = refused
	}
	return fmt.Errorf("%w: %w", cluster.ErrUnreachable, err)
}

// Truncate implements cluster.Log.
func (l *Log) Truncate(ctx context.Context, through uint64) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s, err := l.js.Stream(ctx, l.stream())
	if err == nil {
		err = s.Purge(ctx, jetstream.WithPurgeSequence(through+1))
	}
	return err
}

var _ cluster.Log = (*Log)(nil)
