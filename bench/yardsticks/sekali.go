package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

const (
	sekaliConnections = 4
	// settleInterval is how often a system is asked whether all is stored: the error of a round's
	// time.
	settleInterval = 5 * time.Millisecond
	// maxRefusals bounds how often one request is sent again after 503; with refusalPause a minute and
	// more, as long as the backlog, at most 1 GiB, takes to drain.
	maxRefusals  = 5000
	refusalPause = 20 * time.Millisecond
)

// sekaliYardstick is the aggregator as it is used: a process, over HTTP, at its default settings.
func sekaliYardstick(binary string) yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: record.Sekali, Name: "Sekali", Durable: "SIGKILL, power loss", Dedup: "exact, for ever",
			Includes: overHTTP + ", until the last event is committed", Settings: []string{"ack=journal", fmt.Sprintf("%d connections", sekaliConnections)}},
		connections: sekaliConnections, logs: []string{"data/journal"},
		version: func(ctx context.Context) (string, error) { return aggregatorVersion(ctx, binary) },
		make:    func() system { return &aggregator{binary: binary, client: newHTTPClient(sekaliConnections)} },
	}
}

type aggregator struct {
	binary string
	client *http.Client
	url    string
	server *server
}

// aggregatorVersion starts the binary on an empty folder and asks it.
func aggregatorVersion(ctx context.Context, binary string) (string, error) {
	dir, err := os.MkdirTemp("", "sekali-version-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	a := &aggregator{binary: binary, client: newHTTPClient(1)}
	defer a.stop()
	if err := a.start(ctx, dir); err != nil {
		return "", err
	}
	s, err := a.stats(ctx)
	return fmt.Sprintf("%s, SQLite %s", s.Version, s.Store.SQLiteVersion), err
}

// stats is what is read of GET /stats.
type stats struct {
	QueueDepth int          `json:"queue_depth"`
	Version    string       `json:"version"`
	Store      record.Store `json:"store"`
}

func (a *aggregator) start(ctx context.Context, dir string) error {
	port, err := heldPort()
	if err != nil {
		return err
	}
	a.url = "http://127.0.0.1:" + port
	ready := func() error {
		return get(ctx, a.client, a.url+"/readyz", "", func(io.Reader) error { return nil })
	}
	a.server, err = startServer(ctx, dir, nil, ready, a.binary, "-listen", "127.0.0.1:"+port, "-admin", "", "-data", filepath.Join(dir, "data"))
	return err
}

func (a *aggregator) encode(events []stream.Event) any { return lines(events) }

func (a *aggregator) append(ctx context.Context, _ int, request any) error {
	body := request.([]byte)
	for refusals := 0; ; refusals++ {
		status, err := post(ctx, a.client, a.url+"/publish?ack=journal", "application/x-ndjson", body)
		switch {
		case err != nil:
			return err
		case status == http.StatusAccepted:
			return nil
		case status != http.StatusServiceUnavailable || refusals == maxRefusals:
			return fmt.Errorf("publish: status %d after %d refusals", status, refusals)
		}
		time.Sleep(refusalPause)
	}
}

// settle waits for the queue to be empty: every request was acknowledged, so what is not committed
// is in it.
func (a *aggregator) settle(ctx context.Context) error {
	ticker := time.NewTicker(settleInterval)
	defer ticker.Stop()
	for {
		if s, err := a.stats(ctx); err != nil || s.QueueDepth == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (a *aggregator) stats(ctx context.Context) (stats, error) {
	var s stats
	return s, get(ctx, a.client, a.url+"/stats", "", func(body io.Reader) error { return json.NewDecoder(body).Decode(&s) })
}

// stored exports all events and counts the lines.
func (a *aggregator) stored(ctx context.Context) (int, error) {
	var n lineCounter
	err := get(ctx, a.client, a.url+"/events", "application/x-ndjson", func(body io.Reader) error {
		_, err := io.Copy(&n, body)
		return err
	})
	return int(n), err
}

type lineCounter int

func (n *lineCounter) Write(p []byte) (int, error) {
	*n += lineCounter(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

func (a *aggregator) stop() error      { return a.server.stop(syscall.SIGTERM) }
func (a *aggregator) process() *server { return a.server }
