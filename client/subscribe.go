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

// Subscribe yields the events of a topic, "" for all, whose Seq is greater than after, each once,
// and goes on with new ones as they are committed. A connection that breaks, or is silent for 20 s,
// is opened anew where it stopped. It ends with an error: that of ctx, a refusal (*RejectedError:
// a token, or a Seq of another store), or ErrGaveUp after Options.GiveUp without an event or a sign
// of life. It may be used before Publish and after Close.
func (c *Client) Subscribe(ctx context.Context, topic string, after uint64) iter.Seq2[StoredEvent, error] {
	return func(yield func(StoredEvent, error) bool) {
		s := subscription{client: c, topic: topic, after: after, yield: yield, silence: c.silence, heard: time.Now()}
		for n := 1; ; n++ {
			heard := s.heard
			asked, err := s.stream(ctx)
			if s.heard != heard {
				n = 1
			}
			pause := c.policy.Pause(n, asked)
			var refused *RejectedError
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				err = ctx.Err()
			case errors.As(err, &refused):
			case c.options.GiveUp > 0 && time.Since(s.heard)+pause > c.options.GiveUp:
				err = fmt.Errorf("%w after seq %d: %w", ErrGaveUp, s.after, err)
			default:
				select {
				case <-time.After(pause):
				case <-ctx.Done():
				}
				continue
			}
			yield(StoredEvent{}, err)
			return
		}
	}
}

// errStopped says that the loop over a subscription was left.
var errStopped = errors.New("client: the loop was left")

// subscription is one loop; its goroutine owns it.
type subscription struct {
	client  *Client
	topic   string
	after   uint64 // up to here all was yielded
	epoch   string // of a cluster's log, with a "-": that after is of; "": none is known
	yield   func(StoredEvent, error) bool
	silence time.Duration
	heard   time.Time // when a line came last
}

// stream yields what one connection brings. It returns how long the server asks to wait.
func (s *subscription) stream(ctx context.Context) (asked time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(s.silence, func() { cancel(fmt.Errorf("client: nothing came for %v", s.silence)) })
	defer quiet.Stop()
	target := s.client.base.JoinPath("events", "stream")
	query := url.Values{"after": {s.epoch + strconv.FormatUint(s.after, 10)}}
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
	for {
		line, err := readLine(in)
		if err != nil {
			return 0, errors.Join(err, context.Cause(ctx))
		}
		s.heard = time.Now()
		if len(line) > 0 {
			f.take(line)
			continue
		}
		quiet.Stop() // the loop's body may take its time
		if err := s.take(f); err != nil {
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

// take yields the event of a frame, if it has one, and keeps the place.
func (s *subscription) take(f frame) error {
	if f.data != nil {
		var e StoredEvent
		if err := json.Unmarshal(f.data, &e); err != nil {
			return fmt.Errorf("client: an event of the stream: %w", err)
		}
		if e.Seq > s.after {
			s.after = e.Seq
			if !s.yield(e, nil) {
				return errStopped
			}
		}
	}
	if f.id != "" { // without an event: up to there is none
		at := strings.IndexByte(f.id, '-') + 1
		seq, err := strconv.ParseUint(f.id[at:], 10, 64)
		if err != nil {
			return fmt.Errorf("client: the stream has the id %.40q", f.id)
		}
		s.after, s.epoch = max(s.after, seq), f.id[:at]
	}
	return nil
}

// readLine returns a line without its end.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxLineBytes:
			return nil, fmt.Errorf("client: a line of more than %d bytes", maxLineBytes)
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
