package aggregator

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"sekali/aggregator/internal/api"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
	"sekali/internal/certificate"
)

// Config is the aggregator's configuration; DefaultConfig has the defaults, and
// docs/reference/flags.md the meaning of each.
type Config struct {
	Listen, Admin   string // Admin "" turns the admin listener off
	Data            string
	Ack             string // memory, journal, store
	QueueEvents     int
	QueueBytes      int64
	BacklogBytes    int64
	Dedup           string // table or runs; "": as the data folder was made, runs for a new one
	Layout          string // rows or blocks; "": as the data folder was made, blocks for a new one
	BatchEvents     int
	Retention       time.Duration // 0: events stay
	MaxBodyBytes    int
	MaxStreams      int
	Metrics         string // address of /metrics alone; empty: none
	TokenFile       string // of the one token that may do everything
	TokensFile      string // of tokens with their rights and topics
	CORSOrigin      string // the origin whose pages may read; "": none
	KeepRejected    bool   // what /publish refuses becomes dead letters
	HMACSecretFile  string // of signed webhooks to /ingest
	TLSCert, TLSKey string
	Insecure        bool // listen beyond loopback with neither token nor TLS

	Cluster          string        // URLs of a cluster's log; "": this aggregator is alone
	Node             string        // its name in the cluster
	ClusterTokenFile string        // of the log's token
	ClusterCA        string        // file of the certificates that the log's are signed with
	MaxLag           time.Duration // beyond which a replica is not ready
	LogKeep          int64         // bytes that a node that is away may hold of the log

	Version string

	// DedupMemory is told how many bytes of memory deduplication takes, whenever that has changed;
	// nil: nobody is.
	DedupMemory func(bytes int64)
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8080",
		Admin:  "127.0.0.1:8081",
		Data:   "./data",
		Ack:    string(pipeline.Journal),
		// A second or two of load at the memory and store levels. The bytes are what
		// bounds the process's memory, together with one batch.
		QueueEvents: 200_000,
		QueueBytes:  64 << 20,
		// Some 3.5 million events of 290 bytes: ten seconds at several times the
		// sustained rate.
		BacklogBytes: 1 << 30,
		// The store costs half as much an event at 50 000 in a transaction as at 5 000,
		// for neighbours in the index share pages. A batch is what waits, so this size
		// is reached only under load.
		BatchEvents:  50_000,
		MaxBodyBytes: 16 << 20,
		MaxStreams:   api.DefaultMaxStreams,
		MaxLag:       5 * time.Second,
		LogKeep:      4 << 30,
	}
}

// Bounds of the numeric settings: below, the pipeline could not take one request of
// usual size; above, the stated memory bounds would mean nothing.
const (
	maxQueueEvents  = 100_000_000
	maxQueueBytes   = 64 << 30
	maxBacklogBytes = 1 << 40
	maxBatchEvents  = 1_000_000
	maxStreams      = 10_000
	minRetention    = time.Second
	minBodyBytes    = 1 << 10
	maxBodyBytes    = 24 << 20 // a request must fit into one journal frame, its re-encoding included
)

// check names the first setting that cannot be.
func (c Config) check() error {
	for _, n := range []struct {
		name               string
		value, least, most int64
	}{
		{"queue-events", int64(c.QueueEvents), 1, maxQueueEvents},
		{"queue-bytes", c.QueueBytes, 1 << 10, maxQueueBytes},
		{"backlog-bytes", c.BacklogBytes, 1 << 10, maxBacklogBytes},
		{"batch-events", int64(c.BatchEvents), 1, maxBatchEvents},
		{"max-streams", int64(c.MaxStreams), 1, maxStreams},
		{"max-body-bytes", int64(c.MaxBodyBytes), minBodyBytes, maxBodyBytes},
	} {
		if n.value < n.least || n.value > n.most {
			return fmt.Errorf("-%s=%d, want %d to %d", n.name, n.value, n.least, n.most)
		}
	}
	if _, err := pipeline.ParseLevel(c.Ack); err != nil {
		return fmt.Errorf("-ack: %w", err)
	}
	if c.Dedup != "" {
		if _, err := store.ParseDedup(c.Dedup); err != nil {
			return fmt.Errorf("-dedup: %w", err)
		}
	}
	if c.Layout != "" {
		if _, err := store.ParseLayout(c.Layout); err != nil {
			return fmt.Errorf("-layout: %w", err)
		}
	}
	if err := c.checkRetention(store.Layout(c.Layout)); err != nil {
		return err
	}
	if c.Data == "" {
		return errors.New("-data is empty")
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	if err := checkOrigin(c.CORSOrigin); err != nil {
		return err
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("-tls-cert and -tls-key go together")
	}
	if err := c.checkAddress("listen", c.Listen, c.Insecure || c.guarded() || c.TLSCert != ""); err != nil {
		return err
	}
	// A token guards these two where they are not on the loopback.
	for _, other := range []struct{ flag, address string }{{"admin", c.Admin}, {"metrics", c.Metrics}} {
		if other.address == "" {
			continue
		}
		if err := c.checkAddress(other.flag, other.address, c.Insecure || c.guarded()); err != nil {
			return err
		}
	}
	return nil
}

// checkRetention refuses a time that is too short, or any where the layout cannot let events
// expire.
func (c Config) checkRetention(layout store.Layout) error {
	switch {
	case c.Retention == 0:
		return nil
	case c.Retention < minRetention:
		return fmt.Errorf("-retention=%v, want 0 or %v at least", c.Retention, minRetention)
	case layout == store.LayoutRows:
		return fmt.Errorf("-retention=%v: events in the layout %s cannot expire", c.Retention, layout)
	}
	return nil
}

// checkOrigin wants an origin as browsers send it, so that it can be compared.
func checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if origin == "" || err == nil && (u.Scheme == "http" || u.Scheme == "https") && origin == u.Scheme+"://"+strings.ToLower(u.Host) && u.Host != "" {
		return nil
	}
	return fmt.Errorf("-cors-origin=%q, want an origin such as https://dashboard.example, without a path", origin)
}

// checkAddress refuses an address that others could reach unless that is wanted.
func (c Config) checkAddress(flag, address string, open bool) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("-%s=%q: %w", flag, address, err)
	}
	ip := net.ParseIP(host)
	if host == "localhost" || ip != nil && ip.IsLoopback() || open {
		return nil
	}
	return fmt.Errorf("-%s=%s is not a loopback address: give -token-file or -tokens (or, for -listen, -tls-cert), or say -insecure", flag, address)
}

// hmacSecret reads the secret of signed webhooks, "" without -hmac-secret-file.
func (c Config) hmacSecret() (string, error) {
	text, err := secret("hmac-secret-file", c.HMACSecretFile)
	if text == api.HMACPrefix { // as ?hmac=standard reads it nothing is left, and that anybody has
		return "", fmt.Errorf("-hmac-secret-file: %s has no secret behind %s", c.HMACSecretFile, api.HMACPrefix)
	}
	return text, err
}

// secret is the text of a flag's file, "" where there is none.
func secret(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("-%s: %w", flag, err)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("-%s: %s is empty", flag, file)
	}
	return text, nil
}

// secrets are what the configuration keeps in files.
type secrets struct {
	tokens      []api.Token
	hmac        string            // "": none
	certificate *certificate.Pair // nil: none
}

// secrets reads them.
func (c Config) secrets(log *slog.Logger) (s secrets, err error) {
	if s.tokens, err = c.tokens(); err != nil {
		return s, err
	}
	if s.hmac, err = c.hmacSecret(); err != nil {
		return s, err
	}
	if c.TLSCert != "" {
		s.certificate, err = certificate.Open(c.TLSCert, c.TLSKey, log)
	}
	return s, err
}
