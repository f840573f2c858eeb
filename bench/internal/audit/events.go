package audit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxReconnects bounds how often a broken export is taken up again without an event having come in
	// between.
	maxReconnects = 5
	// reconnectWait is the pause before each of them.
	reconnectWait = 200 * time.Millisecond
	// readBuffer is sized for a few hundred events a read.
	readBuffer = 256 << 10
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
		decoder := jsontext.NewDecoder(bufio.NewReaderSize(r, readBuffer))
		var event Event
		for {
			switch err := event.read(decoder); {
			case err == io.EOF:
				return
			case err != nil:
				yield(nil, err)
				return
			}
			if !yield(&event, nil) {
				return
			}
		}
	}
}

// read takes one event from the decoder, which holds every name to be given once.
func (e *Event) read(d *jsontext.Decoder) error {
	if d.PeekKind() != '{' {
		if _, err := d.ReadToken(); err != nil {
			return readError(err)
		}
		return errors.New("audit: /events gave something else than an object")
	}
	if _, err := d.ReadToken(); err != nil {
		return readError(err)
	}
	e.Seq = -1
	for _, field := range []*[]byte{&e.Topic, &e.EventID, &e.Timestamp, &e.Source, &e.Payload, &e.ReceivedAt} {
		*field = (*field)[:0]
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
	if len(e.Payload) == 0 { // NDJSON leaves none out, where a page says null
		e.Payload = append(e.Payload, "null"...)
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

// readError tells a broken connection from malformed JSON.
func readError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case err == io.EOF:
		return err
	case errors.As(err, &syntax) && !errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("audit: /events: %w", err)
	}
	return &brokenError{err}
}
