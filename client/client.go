// Package client publishes events to an aggregator and reads them back. It needs the standard
// library only.
//
// Publish takes an event and returns; one goroutine sends what waits, in order, a request at a
// time, and repeats each until it is answered. The aggregator drops repeats by topic and id, so
// each event is stored once, however often an answer is lost.
package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sekali/internal/attempt"
)

var (
	// ErrClosed is of a Publish after Close.
	ErrClosed = errors.New("client: closed")
	// ErrUnsent is of a Flush or Close whose context ended before all events were answered.
	ErrUnsent = errors.New("client: events wait unanswered")
	// ErrFailed is of a Flush or Close when events will not be stored.
	ErrFailed = errors.New("client: events failed")
)

// Client sends events; safe for concurrent use. It owns one goroutine until Close.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client

	wake    chan struct{}      // capacity 1: the sender looks again
	stop    context.CancelFunc // ends the sender and its request
	ended   chan struct{}      // closed when the sender is gone
	policy  attempt.Policy
	silence time.Duration // of a subscription's stream, until it is opened anew
	maxLine int           // of such a stream

	mu       sync.Mutex
	queue    queue
	closed   bool
	taken    uint64        // events put
	answered uint64        // events dropped, stored or not
	changed  chan struct{} // closed, and replaced, when events are dropped or the client is closed
	flushing int           // callers of Flush: no batch lingers
	failed   int           // events that failed since the last Flush
	failure  error         // the first of them
	trouble  error         // of the newest attempt; nil: it was answered
	broken   error         // of the queue; nothing is sent any more
}

// New returns a client of the aggregator at an http or https URL. Nothing is sent yet, so the
// aggregator need not be there. The error is of the URL or the options, or of the spool: an
// ErrSpoolInUse, an ErrSpoolDamaged, or of the disk. What a spool holds is sent first.
func New(url string, options Options) (*Client, error) {
	base, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if err := options.complete(); err != nil {
		return nil, err
	}
	queue, err := options.open()
	if err != nil {
		return nil, err
	}
	left, _ := queue.waiting()
	ctx, stop := context.WithCancel(context.Background())
	c := &Client{
		options: options,
		base:    base,
		http: &http.Client{
			Transport:     options.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		queue:   queue,
		taken:   uint64(left),
		wake:    make(chan struct{}, 1),
		stop:    stop,
		ended:   make(chan struct{}),
		changed: make(chan struct{}),
		policy:  options.policy(),
		silence: silence,
		maxLine: maxLineBytes,
	}
	go c.run(ctx)
	return c, nil
}

// Publish takes an event, to be sent soon; it returns before it is stored, and Flush tells when it
// is. While the queue in memory is full it waits for room until ctx ends; a full spool is an
// ErrSpoolFull at once. After that, an ErrInvalid, an ErrClosed or the error of ctx the event is
// not taken. After an error of the spool's disk it may be stored all the same.
func (c *Client) Publish(ctx context.Context, event Event) error {
	text, err := encode(event, c.options.BatchBytes)
	if err != nil {
		return err
	}
	return c.publish(ctx, text)
}

// PublishRaw takes an event as a JSON object with the fields that /publish reads, for a program
// that passes events on: what it says is the aggregator's to judge, and it gets no ID and no time.
func (c *Client) PublishRaw(ctx context.Context, object json.RawMessage) error {
	text, err := encodeRaw(object, c.options.BatchBytes)
	if err != nil {
		return err
	}
	return c.publish(ctx, text)
}

func (c *Client) publish(ctx context.Context, text []byte) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		if c.closed || c.broken != nil {
			err := cmp.Or(c.broken, ErrClosed)
			c.mu.Unlock()
			return err
		}
		place, err := c.queue.put(text)
		if err == nil {
			c.taken++
		}
		changed := c.changed
		c.mu.Unlock()
		if err == nil {
			c.notify()
			return c.queue.sync(place)
		}
		if !errors.Is(err, errNoRoom) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Flush returns once every event published before is stored, or will not be: then the error is an
// ErrFailed with the first reason, once for each failed event. If ctx ends first it is an ErrUnsent
// with the newest trouble, and the events wait on.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flushing++
	defer func() { c.flushing-- }()
	c.notify()
	for target := c.taken; c.answered < target; {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-c.ended:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if c.answered < target && (ctx.Err() != nil || c.hasEnded()) {
			events, _ := c.queue.waiting()
			return errors.Join(fmt.Errorf("%w: %d", ErrUnsent, events), ctx.Err(), c.trouble)
		}
	}
	return c.failures()
}

// failures returns what failed since it was called last.
func (c *Client) failures() error {
	if c.failed == 0 {
		return nil
	}
	err := fmt.Errorf("%w: %d, the first: %w", ErrFailed, c.failed, c.failure)
	c.failed, c.failure = 0, nil
	return err
}

// Close takes no more events, sends what waits as Flush does, with the same errors, and frees
// everything. What waits in memory when ctx ends is lost, what waits in a spool stays. A second
// Close is an ErrClosed.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.closed = true
	c.announce()
	c.mu.Unlock()
	err := c.Flush(ctx)
	c.stop()
	<-c.ended
	c.http.CloseIdleConnections()
	return errors.Join(err, c.queue.close())
}

func (c *Client) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// announce wakes who waits for a change; the caller holds mu.
func (c *Client) announce() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *Client) hasEnded() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// run sends batches until ctx ends.
func (c *Client) run(ctx context.Context) {
	defer close(c.ended)
	for {
		batch, err := c.next(ctx)
		if err == nil {
			err = c.deliver(ctx, batch)
		}
		c.mu.Lock()
		if err == nil {
			err = c.queue.drop(len(batch))
			c.answered += uint64(len(batch))
			c.announce()
		}
		if err != nil && ctx.Err() == nil {
			c.broken, c.trouble = err, err
			c.announce()
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// next waits for events, and then until they fill a batch or have waited for the linger.
func (c *Client) next(ctx context.Context) ([][]byte, error) {
	var since time.Time // when the oldest was first seen here
	for {
		c.mu.Lock()
		events, bytes := c.queue.waiting()
		hurry := c.flushing > 0 || events >= c.options.BatchEvents || bytes >= int64(c.options.BatchBytes)
		if events > 0 && (hurry || c.options.Linger < 0 || !since.IsZero() && time.Since(since) >= c.options.Linger) {
			batch, err := c.queue.peek(c.options.BatchEvents, c.options.BatchBytes)
			c.mu.Unlock()
			return batch, err
		}
		c.mu.Unlock()
		var linger <-chan time.Time
		if events > 0 {
			if since.IsZero() {
				since = time.Now()
			}
			linger = time.After(c.options.Linger - time.Since(since))
		}
		select {
		case <-c.wake:
		case <-linger:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
