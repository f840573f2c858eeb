package jetstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"sekali/aggregator/internal/cluster"
)

const reachPause = 200 * time.Millisecond

// Reach waits until one of the log's servers lets this client in, for so long at most. The error
// says of each what it has answered. One that refuses the login is not waited for.
func Reach(ctx context.Context, cfg Config, most time.Duration) error {
	cfg.Logger = slog.New(slog.DiscardHandler)
	secrets, err := cfg.secrets()
	if err != nil {
		return err
	}
	options := append(secrets, nats.Name(cfg.Name), nats.NoReconnect(), nats.Timeout(dialTimeout),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	for end := time.Now().Add(most); ; {
		var said []error
		refused := false
		for server := range strings.SplitSeq(cfg.URLs, ",") {
			server = strings.TrimSpace(server)
			conn, err := nats.Connect(server, options...)
			if err == nil {
				conn.Close()
				return nil
			}
			if isRefusal(err) {
				err, refused = cluster.ErrLogin, true
			} else if errors.Is(err, nats.ErrNoServers) {
				err = errors.New("no server answers there")
			}
			said = append(said, fmt.Errorf("%s: %w", withoutSecret(server), err))
		}
		if refused || time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("%w: %w", cluster.ErrUnreachable, errors.Join(said...))
		}
		select {
		case <-ctx.Done():
		case <-time.After(reachPause):
		}
	}
}

// withoutSecret is a server's URL as it may be shown.
func withoutSecret(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return "a URL that is none"
	}
	return u.Redacted()
}
