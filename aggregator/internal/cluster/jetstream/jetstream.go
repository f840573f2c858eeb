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
	"os"
	"strings"
	"sync"
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
	// expectedStream makes a server refuse what would go into another stream.
	expectedStream = "Nats-Expected-Stream"

	// A server that is gone without a word is noticed after two of these: the defaults are minutes.
	pingEvery     = time.Second
	pingsMissed   = 2
	dialTimeout   = 2 * time.Second
	reconnectWait = 100 * time.Millisecond
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
	inbox string // the answers to what is appended come here, each under its number

	mu      sync.Mutex // guards all below
	number  uint64
	pending map[string]pending
	peers   []cluster.Peer // as they were seen last
	proofs  map[string]proof
	asked   time.Time // when the servers were asked last what they are set to
}

// Dial returns a connection to the log of an epoch. The servers need not be there yet.
func Dial(cfg Config, epoch uint64) (*Log, error) {
	l := &Log{epoch: epoch, pending: map[string]pending{}, proofs: map[string]proof{}}
	options := []nats.Option{
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.Timeout(dialTimeout),
		nats.ReconnectWait(reconnectWait), nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.PingInterval(pingEvery), nats.MaxPingsOutstanding(pingsMissed),
		// What is sent while there is no connection is refused: kept, it would come behind what is sent
		// again meanwhile, after its sender has given up.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { l.failPending(cluster.ErrUnreachable) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { cfg.Logger.Warn("log client", "error", err) }),
	}
	secrets, err := cfg.secrets()
	if err != nil {
		return nil, err
	}
	if l.conn, err = nats.Connect(cfg.URLs, append(options, secrets...)...); err != nil {
		return nil, err
	}
	l.inbox = l.conn.NewInbox()
	if _, err = l.conn.Subscribe(l.inbox+".*", l.answer); err == nil {
		l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(askTimeout))
	}
	if err != nil { // it was closed: the servers have refused the login
		l.conn.Close()
		if why := Reach(context.Background(), cfg, 0); why != nil {
			err = why
		}
		return nil, err
	}
	return l, nil
}

// secrets reads what the configuration keeps in files.
func (cfg *Config) secrets() (options []nats.Option, err error) {
	if cfg.TokenFile != "" {
		token, err := os.ReadFile(cfg.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("-cluster-token-file: %w", err)
		}
		if len(strings.TrimSpace(string(token))) == 0 {
			return nil, fmt.Errorf("-cluster-token-file: %s is empty", cfg.TokenFile)
		}
		options = append(options, nats.UserInfo(user, strings.TrimSpace(string(token))))
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

// Close ends the connection. Nobody is answered any more.
func (l *Log) Close() error {
	l.conn.Close()
	return nil
}

// Closed reports that the connection is over for good: the servers have refused the login.
func (l *Log) Closed() bool { return l.conn.IsClosed() }

func (l *Log) stream() string  { return fmt.Sprintf(stream, l.epoch) }
func (l *Log) subject() string { return fmt.Sprintf(subject, l.epoch) }

// unreachable marks what goes away by itself.
func unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
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
