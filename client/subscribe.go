package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sekali/internal/attempt"
)

const (
	// silence is after how long without a byte a stream is opened anew: the aggregator writes every
	// 5 s.
	silence = 20 * time.Second
	// maxLineBytes bounds an event that comes: one that is published has 16 MiB at most by default.
	maxLineBytes = 64 << 20
	// maxProblemBytes bounds what is read of a refusal.
	maxProblemBytes = 4 << 10
)

// StoredEvent is an event as the aggregator stored it.
type StoredEvent struct {
	Seq        uint64          `json:"seq"` // its place, in the order of commits; there are gaps
	Topic      string          `json:"topic"`
	ID         string          `json:"event_id"`
	Timestamp  string          `json:"timestamp"` // RFC 3339 as published; package time cannot read second 60
	Source     string          `json:"source"`
	Payload    json.RawMessage `json:"payload"` // nil: none was published
	ReceivedAt time.Time       `json:"received_at"`
}

// Step is what SubscribeRaw yields: an event, or only how far the stream is.
type Step struct {
	Event  json.RawMessage // as the aggregator wrote it, on one line; nil: none
	Cursor string          // up to here all was yielded: a Seq, in a cluster behind its log's epoch, 1-4711
	More   bool            // more has come already, so what the loop writes may wait for it
	Broken error           // why the stream ended, which is opened anew after this step; nil: it did not
}

// Subscribe yields the events of a topic, "" for all, whose Seq is greater than after, each once,
// and goes on with new ones as they are committed. A connection that breaks, or is silent for 20 s,
// is opened anew where it stopped. It ends with an error: that of ctx, a refusal (*RejectedError:
// a token, or a Seq of another store), an event that cannot be read, or ErrGaveUp after
// Options.GiveUp without an event or a sign of life. It may be used before Publish and after Close.
func (c *Client) Subscribe(ctx context.Context, topic string, after uint64) iter.Seq2[StoredEvent, error] {
	return func(yield func(StoredEvent, error) bool) {
		for step, err := range c.SubscribeRaw(ctx, topic, strconv.FormatUint(after, 10)) {
			if err != nil {
				yield(StoredEvent{}, err)
				return
			}
			if step.Event == nil {
				continue
			}
			var e StoredEvent
			if err := json.Unmarshal(step.Event, &e); err != nil {
				yield(StoredEvent{}, fmt.Errorf("client: an event of the stream: %w", err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// SubscribeRaw is Subscribe for a program that passes events on, and keeps its place. It begins
// after a Cursor, or a Seq. It yields each event as it came, and every 5 s how far the stream is.
func (c *Client) SubscribeRaw(ctx context.Context, topic, cursor string) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		seq, err := parseCursor(cursor)
		s := subscription{client: c, topic: topic, cursor: cursor, seq: seq, yield: yield, silence: c.silence, heard: time.Now()}
		for n := 1; err == nil; n++ {
			heard := s.heard
			asked, broken := s.stream(ctx)
			if s.heard != heard {
				n = 1
			}
			pause := c.policy.Pause(n, asked)
			if err = s.final(ctx, broken, pause); err != nil {
				break
			}
			if !yield(Step{Cursor: s.cursor, Broken: broken}, nil) {
				return
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if !errors.Is(err, errStopped) {
			yield(Step{}, err)
		}
	}
}

var (
	// errStopped says that the loop over a subscription was left.
	errStopped = errors.New("client: the loop was left")
	errTooLong = errors.New("client: an event is too long")
)

// subscription is one loop; its goroutine owns it.
type subscription struct {
	client  *Client
	topic   string
	cursor  string // up to here all was yielded
	seq     uint64 // the cursor's
	yield   func(Step, error) bool
	silence time.Duration
	heard   time.Time // when a line came last
}

// final is the error that ends the subscription when a stream has; nil: it is opened anew.
func (s *subscription) final(ctx context.Context, broken error, pause time.Duration) error {
	var refused *RejectedError
	giveUp := s.client.options.GiveUp
	switch {
	case errors.Is(broken, errStopped), errors.Is(broken, errTooLong), errors.As(broken, &refused):
		return broken
	case ctx.Err() != nil:
		return ctx.Err()
	case giveUp > 0 && time.Since(s.heard)+pause > giveUp:
		return fmt.Errorf("%w after seq %d: %w", ErrGaveUp, s.seq, broken)
	}
	return nil
}

// stream yields what one connection brings. It returns how long the server asks to wait.
func (s *subscription) stream(ctx context.Context) (asked time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(s.silence, func() { cancel(fmt.Errorf("client: nothing came for %v", s.silence)) })
	defer quiet.Stop()
	target := s.client.base.JoinPath("events", "stream")
	query := url.Values{"after": {s.cursor}}
	if s.topic != "" {
		query.Set("topic", s.topic)
	}
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return 0, err
	}
	request.Header.Set("Accept", "text/event-stream")
	s.client.identify(request)
	response, err := s.client.http.Do(request)
	if err != nil {
		return 0, errors.Join(err, context.Cause(ctx))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return attempt.RetryAfter(response.Header, time.Now()), refusal(response)
	}
	in := bufio.NewReaderSize(response.Body, 64<<10)
	var f frame
	var line []byte
	for {
		if line, err = readLine(in, line[:0], s.client.maxLine); err != nil {
			return 0, errors.Join(err, context.Cause(ctx))
		}
		s.heard = time.Now()
		if len(line) > 0 {
			f.take(line)
			continue
		}
		quiet.Stop() // the loop's body may take its time
		if err := s.take(f, in.Buffered() > 0); err != nil {
			return 0, err
		}
		f = frame{}
		s.heard = time.Now()
		quiet.Reset(s.silence)
	}
}

// refusal is the error of an answer that is no stream: a *RejectedError if the same request would
// be refused again.
func refusal(response *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes)) // the status says enough
	a := attempt.ParseAnswer(text)
	if a.Code == "" && a.Detail == "" {
		a.Detail = http.StatusText(response.StatusCode)
	}
	e := &RejectedError{response.StatusCode, a.Code, a.Detail}
	switch {
	case e.Status >= 500, e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooManyRequests:
		return errors.New(e.Error())
	}
	return e
}

// take yields what a frame brings, and keeps the place.
func (s *subscription) take(f frame, more bool) error {
	if f.id == "" && f.data == nil {
		return nil
	}
	seq, err := parseCursor(f.id)
	if err != nil {
		return err
	}
	if seq < s.seq || seq == s.seq && f.data != nil {
		return nil
	}
	s.seq, s.cursor = seq, f.id
	if !s.yield(Step{Event: f.data, Cursor: f.id, More: more}, nil) {
		return errStopped
	}
	return nil
}

// parseCursor is the seq of a cursor, which the stream has as its ids.
func parseCursor(text string) (seq uint64, err error) {
	if seq, err = strconv.ParseUint(text[strings.IndexByte(text, '-')+1:], 10, 64); err != nil {
		return 0, fmt.Errorf("client: %.40q is no cursor", text)
	}
	return seq, nil
}

// readLine appends a line to dst, without its end. One longer than limit and the buffer is an
// errTooLong.
func readLine(in *bufio.Reader, dst []byte, limit int) ([]byte, error) {
	for {
		part, err := in.ReadSlice('\n')
		dst = append(dst, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(dst, "\r\n"), nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(dst) > limit:
			return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, limit)
		}
	}
}

// frame is what came of a server-sent event, which an empty line ends.
type frame struct {
	id   string
	data []byte // nil: none
}

func (f *frame) take(line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	value = bytes.TrimPrefix(value, []byte{' '})
	switch string(name) {
	case "id":
		f.id = string(value)
	case "data":
		if f.data != nil {
			f.data = append(f.data, '\n')
		}
		f.data = append(f.data, value...)
	}
}
