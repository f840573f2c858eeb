// Package publisher sends events to an aggregator until each is acknowledged:
// the seeded stream, NDJSON events, or plain log lines.
//
// It delivers at least once, in order, one request at a time; the aggregator
// makes it once. It may therefore be stopped or killed at any moment and run
// again: what it sent before is a duplicate.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

const (
	// stopGrace is what a request under way is given when the publisher is told to
	// stop, so that its answer is not lost; compose and systemd wait 10 s or more.
	stopGrace = 5 * time.Second

	dialTimeout = 5 * time.Second
)

// errIncomplete is the error of a run that ended with events not acknowledged.
var errIncomplete = errors.New("not everything was acknowledged")

// Run publishes, and ends with one line of JSON on stdout, a Report. Complaints
// about events go to stderr. The error is nil if all events that were there were
// acknowledged; when ctx ends that is so only for a stream without an end.
func Run(ctx context.Context, c Config, stdout, stderr io.Writer) error {
	token, err := c.token()
	if err != nil {
		return err
	}
	target, err := delivery.Target(c.URL, c.Ack)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	var saved position
	if c.State != "" {
		if saved, err = loadPosition(c.State, c.Input); err != nil {
			return err
		}
	}
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	stderr = &oneByOne{w: stderr}
	warn := func(text string) { fmt.Fprintln(stderr, printable(text)) }
	src, err := openSource(reading, c, saved, warn)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		Proxy:              http.ProxyFromEnvironment,
		DialContext:        (&net.Dialer{Timeout: dialTimeout}).DialContext,
		DisableCompression: true,
	}
	defer transport.CloseIdleConnections()
	p := &publisher{
		config:  c,
		sender:  delivery.Sender{Transport: transport, Policy: c.Retry, Timeout: c.Timeout, Start: time.Now()},
		target:  target,
		header:  http.Header{"Content-Type": {"application/x-ndjson"}, "User-Agent": {"sekali-publisher"}},
		account: account{what: "event", complainTo: stderr, started: time.Now()},
	}
	if token != "" {
		p.header.Set("Authorization", "Bearer "+token)
	}
	if c.Input != "" {
		p.account.what = "line"
	}
	if c.State != "" {
		if p.saver, err = newSaver(c, saved, src); err != nil {
			src.Close()
			return err
		}
	}
	if err := p.await(ctx); err != nil {
		src.Close()
		return errors.Join(err, p.account.print(stdout))
	}
	err = p.publish(ctx, reading, src)
	if p.saver != nil {
		err = errors.Join(err, p.saver.save())
	}
	return errors.Join(err, p.account.print(stdout))
}

type publisher struct {
	config  Config
	sender  delivery.Sender
	target  *url.URL
	header  http.Header
	account account
	saver   *saver // nil: no position is saved
}

// publish sends all of src, which is read until reading ends.
func (p *publisher) publish(ctx, reading context.Context, src source) error {
	items := read(reading, src, p.config.Count)

	sending, stopSending := withGrace(ctx, stopGrace)
	defer stopSending()

	begun := time.Now()
	var sent uint64
	for {
		b, err := nextBatch(ctx, items, p.config.PerRequest, p.account.skip)
		if ctx.Err() != nil {
			return p.ended(ctx.Err())
		}
		if len(b.places) > 0 { // also what was read before an error
			if !p.pace(ctx, begun, sent) {
				return p.ended(ctx.Err())
			}
			sent += uint64(len(b.places))
			if err := p.deliver(sending, b); err != nil {
				return err
			}
			if p.saver != nil {
				if err := p.saver.took(b); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return p.ended(err)
		}
	}
}

// ended is the error of a run whose batches ended with err.
func (p *publisher) ended(err error) error {
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case stopped && !p.config.Follow && (p.config.Count != unbounded || p.config.Input != ""):
		return fmt.Errorf("stopped: %w", errIncomplete)
	case !stopped && !errors.Is(err, io.EOF):
		return fmt.Errorf("input: %w", err)
	}
	if !p.account.complete() { // a stream without an end is complete where it was stopped
		return errIncomplete
	}
	return nil
}

// pace waits until the event after sent others is due at the rate; false if ctx
// ended first.
func (p *publisher) pace(ctx context.Context, begun time.Time, sent uint64) bool {
	if p.config.Rate == 0 {
		return ctx.Err() == nil
	}
	due := begun.Add(time.Duration(float64(sent) / p.config.Rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// deliver sends a batch. The error says that there is no point in sending more:
// the aggregator could not be reached within the policy, or it refused in a way
// that has nothing to do with this batch.
func (p *publisher) deliver(ctx context.Context, b batch) error {
	result := p.sender.Send(ctx, delivery.Request{
		Number: p.account.Requests, URL: p.target, Header: p.header, Body: b.body, Events: len(b.places),
	}, p.account.attempted)
	p.account.delivered(b, result)
	switch {
	case result.Outcome == ledger.Acknowledged:
		return nil
	case result.GaveUp || result.Last.Cause == ledger.CauseCanceled:
		return fmt.Errorf("gave up: %w", errIncomplete)
	}
	switch result.Last.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return nil // this batch only; the report counts it
	}
	return fmt.Errorf("the aggregator answers %s: %w", reason(result), errIncomplete)
}

// withGrace returns a context that ends a while after ctx does.
func withGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-later.Done():
		}
	})
	return later, func() { forget(); cancel() }
}
