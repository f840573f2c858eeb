// Package publisher sends events to an aggregator until each is acknowledged:
// the seeded stream, NDJSON events, or plain log lines. The package client batches,
// sends and repeats; here are the sources, the report and the position.
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
	"time"
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
	p := &publisher{config: c, token: token, transport: transport, account: account{what: "event", complainTo: stderr, started: time.Now()}}
	if c.Input != "" {
		p.account.what = c.inputName() + ": line"
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
	config    Config
	token     string
	transport *http.Transport
	account   account
	saver     *saver // nil: no position is saved
}

// publish sends all of src, which is read until reading ends.
func (p *publisher) publish(ctx, reading context.Context, src source) error {
	s, err := newSender(ctx, p.config, p.token, p.transport, &p.account, p.saver)
	if err != nil {
		src.Close()
		return err
	}
	err = p.feed(s, read(reading, src, p.config.Count))
	unsent, failure := s.close()
	switch {
	case failure != nil && !errors.Is(failure, errStopped):
		return failure
	case ctx.Err() != nil && (failure != nil || unsent > 0 || !errors.Is(err, io.EOF)):
		err = ctx.Err()
	}
	return p.ended(err, unsent)
}

// feed gives the events of items to the sender. The error is io.EOF once all are given, that of the
// source, or that of the sender's end.
func (p *publisher) feed(s *sender, items <-chan item) error {
	begun := time.Now()
	for sent := uint64(0); ; {
		if sent%uint64(p.config.PerRequest) == 0 && !p.pace(s.running, begun, sent) {
			return s.running.Err()
		}
		var next item
		var ok bool
		select {
		case next, ok = <-items:
		case <-s.running.Done():
			return s.running.Err()
		}
		if !ok {
			return io.EOF
		}
		if next.err == nil {
			next.err = s.publish(next.event, next.at)
		}
		skipped := (*skipError)(nil)
		switch {
		case next.err == nil:
			sent++
		case errors.As(next.err, &skipped):
			p.account.skip(next.at, skipped)
		default:
			return next.err
		}
	}
}

// ended is the error of a run whose batches ended with err, and of which so many events were read
// and not sent.
func (p *publisher) ended(err error, unsent int) error {
	stopped := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	endless := p.config.Follow || p.config.Count == unbounded && p.config.Input == "" // complete where it is stopped
	complete := p.account.complete()
	switch {
	case !stopped && !errors.Is(err, io.EOF):
		return fmt.Errorf("input: %w", err)
	case stopped && !(endless && complete):
		return fmt.Errorf("stopped: %w: %s. %s", errIncomplete, p.account.soFar(unsent), p.goOn())
	case !complete:
		return errIncomplete
	}
	return nil
}

// goOn says how to send what a run that was stopped has not.
func (p *publisher) goOn() string {
	switch c := p.config; {
	case c.State != "":
		return "Run it again with the same flags: by -state it goes on behind what is acknowledged"
	case c.Input == "-" && c.Run == "" && p.account.Undated > 0:
		return "Run it again with the same input: what is stored already is dropped as a duplicate, but not lines without a time, unless -run names the input"
	}
	return "Run it again with the same flags and input: what is stored already is dropped as a duplicate"
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
