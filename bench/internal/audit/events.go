package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"sekali/loadgen/stream"
)

const (
	// maxReconnects bounds how often a broken export is taken up again without an event having come in
	// between.
	maxReconnects = 5
	// reconnectWait is the pause before each of them.
	reconnectWait = 200 * time.Millisecond
	// readBuffer is sized for a few hundred events a read.
	readBuffer = 256 << 10
	// maxLineBytes is more than any event has.
	maxLineBytes = 64 << 20
	// maxProblemBytes is how much of a refusal's body is quoted.
	maxProblemBytes = 512
)

// Event is one stored event as GET /events gives it. Its bytes are valid until the next one is
// read.
type Event struct {
	Seq        int64
	Topic      []byte
	EventID    []byte
	Timestamp  []byte
	Source     []byte
	Payload    []byte // the JSON text
	ReceivedAt []byte

	// Worked out once, by the first who asks.
	received received
	of       *stream.Stream // nil: match is not known
	match    Match
}

// Export streams every event with a seq above after from the aggregator at url, in the order it
// gives them. A broken connection is taken up again behind the last whole event.
func Export(ctx context.Context, client *http.Client, url, token string, after int64) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		failures := 0
		for {
			last, err := exportOnce(ctx, client, url, token, after, yield)
			if err == nil || errors.Is(err, errStopped) {
				return
			}
			if last > after {
				after, failures = last, 0
			}
			var broken *brokenError
			if failures++; !errors.As(err, &broken) || failures > maxReconnects {
				yield(nil, err)
				return
			}
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-time.After(reconnectWait):
			}
		}
	}
}

// errStopped says that the consumer wants no more.
var errStopped = errors.New("stopped")

// brokenError is a failure of the connection, not of what was sent over it.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "audit: /events broke off: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// exportOnce reads one answer to its end and returns the last seq that it gave.
func exportOnce(ctx context.Context, client *http.Client, url, token string, after int64, yield func(*Event, error) bool) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events?after="+strconv.FormatInt(after, 10), nil)
	if err != nil {
		return after, fmt.Errorf("audit: %w", err)
	}
	request.Header.Set("Accept", "application/x-ndjson")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(request)
	if err != nil {
		return after, &brokenError{err}
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxProblemBytes))
		err := fmt.Errorf("audit: GET /events: %s: %s", answer.Status, text)
		if answer.StatusCode == http.StatusServiceUnavailable {
			return after, &brokenError{err}
		}
		return after, err
	}
	for event, err := range Read(answer.Body) {
		if err != nil {
			return after, err
		}
		after = event.Seq
		if !yield(event, nil) {
			return after, errStopped
		}
	}
	return after, nil
}

// Read parses events, one JSON object a line. A connection that breaks in the middle ends it with a
// *brokenError.
func Read(r io.Reader) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		lines := lines{r: bufio.NewReaderSize(r, readBuffer)}
		decoder := newDecoder()
		var event Event
		for {
			line, end := lines.next()
			if end != nil && end != io.EOF {
				yield(nil, &brokenError{end})
				return
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				err := event.read(line, decoder)
				if err != nil && end == io.EOF && errors.Is(err, io.ErrUnexpectedEOF) {
					err = &brokenError{err}
				}
				if !yield(&event, err) || err != nil {
					return
				}
			}
			if end != nil {
				return
			}
		}
	}
}

// newDecoder is for Event.read.
func newDecoder() *jsontext.Decoder { return jsontext.NewDecoder(bytes.NewReader(nil)) }

// lines reads line by line.
type lines struct {
	r    *bufio.Reader
	long []byte
}

// next returns the next line, valid until the line after it is asked for; io.EOF comes with the
// last.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err != bufio.ErrBufferFull {
		return line, err
	}
	l.long = append(l.long[:0], line...)
	for err == bufio.ErrBufferFull && len(l.long) <= maxLineBytes {
		line, err = l.r.ReadSlice('\n')
		l.long = append(l.long, line...)
	}
	return l.long, err
}

// read takes the event of a line. The decoder holds every name to be given once.
func (e *Event) read(line []byte, d *jsontext.Decoder) error {
	*e = Event{}
	if e.readPlain(line) {
		return nil
	}
	return e.decode(line, d)
}

// decode reads any line.
func (e *Event) decode(line []byte, d *jsontext.Decoder) error {
	*e = Event{Seq: -1}
	d.Reset(bytes.NewReader(line))
	if d.PeekKind() != '{' {
		if _, err := d.ReadToken(); err != nil {
			return readError(err)
		}
		return errors.New("audit: /events gave something else than an object")
	}
	if _, err := d.ReadToken(); err != nil {
		return readError(err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return readError(err)
		}
		if err := e.readField(d, e.field(string(name)), string(name)); err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return readError(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errors.New("audit: /events gave a line with more than an event")
	}
	if len(e.Payload) == 0 {
		e.Payload = null
	}
	if e.Seq < 0 {
		return errors.New("audit: /events gave an event without a seq")
	}
	return nil
}

// field returns where a text field goes; the switch on the quoted name does not allocate.
func (e *Event) field(name string) *[]byte {
	switch name {
	case `"topic"`:
		return &e.Topic
	case `"event_id"`:
		return &e.EventID
	case `"timestamp"`:
		return &e.Timestamp
	case `"source"`:
		return &e.Source
	case `"received_at"`:
		return &e.ReceivedAt
	}
	return nil
}

func (e *Event) readField(d *jsontext.Decoder, text *[]byte, name string) error {
	value, err := d.ReadValue()
	if err != nil {
		return readError(err)
	}
	switch {
	case text != nil:
		if *text, err = jsontext.AppendUnquote(*text, value); err != nil {
			return fmt.Errorf("audit: /events: %s: %w", name, err)
		}
	case name == `"payload"`:
		e.Payload = append(e.Payload, value...)
	case name == `"seq"`:
		if e.Seq, err = strconv.ParseInt(string(value), 10, 64); err != nil {
			return fmt.Errorf("audit: /events: seq: %w", err)
		}
	}
	return nil
}

func readError(err error) error {
	if err == io.EOF { // in the middle of an object
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("audit: /events: %w", err)
}
