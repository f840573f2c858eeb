package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sekali/bench/system/ports"
	"sekali/client"
)

// TestClient publishes with the package client, with a spool, to an aggregator that is killed twice
// with SIGKILL at one address, while a subscription reads along. Every event is stored once, and
// comes once, in order.
func TestClient(t *testing.T) {
	const events = 3000
	data := dataFolder(t)
	held, err := ports.Hold(1)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	a := start(t, data, "-listen="+held.Addresses[0])
	c, err := client.New(a.URL, client.Options{Spool: t.TempDir(), BatchEvents: 50})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read := make(chan error, 1)
	go func() { read <- followNumbers(ctx, c, events) }()
	var taken atomic.Int32
	written := make(chan error, 1)
	go func() {
		for i := range events {
			if err := c.Publish(ctx, client.Event{Topic: "t", Payload: json.RawMessage(fmt.Sprint(i))}); err != nil {
				written <- err
				return
			}
			taken.Add(1)
		}
		written <- nil
	}()
	until := func(n int32) {
		for taken.Load() < n && ctx.Err() == nil {
			time.Sleep(samplePeriod)
		}
	}
	for kill := range int32(2) {
		until((3*kill + 1) * events / 7)
		a.kill()
		until((3*kill + 2) * events / 7) // these are published while it is away
		a = start(t, data, "-listen="+held.Addresses[0])
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
	counts := a.drained(t)
	if lines := bytes.Count(a.export(t), []byte("\n")); lines != events || counts.Unique != events {
		t.Errorf("%d events exported, %d processed, %d published", lines, counts.Unique, events)
	}
	a.stop(t)
}

// followNumbers reads events whose payloads are 0 to n-1, in order.
func followNumbers(ctx context.Context, c *client.Client, n int) error {
	next := 0
	for e, err := range c.Subscribe(ctx, "t", 0) {
		if err != nil {
			return err
		}
		if string(e.Payload) != fmt.Sprint(next) {
			return fmt.Errorf("seq %d is event %s, want %d", e.Seq, e.Payload, next)
		}
		if next++; next == n {
			return nil
		}
	}
	return errors.New("the subscription ended without an error")
}
