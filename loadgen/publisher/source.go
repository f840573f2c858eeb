package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"sekali/loadgen/stream"
)

// source gives the events to publish, one by one.
type source interface {
	// next appends the JSON object of the next event, and says where it is from. A
	// *skipError is an event that cannot be sent, and others follow; io.EOF is the end.
	next(dst []byte) (event []byte, at place, err error)
	io.Closer
}

// place is where an event is from.
type place struct {
	number  uint64 // names it to a person: of its line, or in the stream
	undated bool   // it was given the time of reading
	mark    *mark  // how far its log was read with it, if that is to be saved
	unsure  bool   // a request that had it, and went in halves, may have been taken before
}

// skipError says why an event cannot be sent.
type skipError struct{ reason error }

func (e *skipError) Error() string { return e.reason.Error() }

// lines is an input, line by line.
type lines interface {
	next() ([]byte, error) // as lineReader's
	from() *file           // what the last line is of
	io.Closer
}

// openSource opens what the config asks for, behind what was saved.
func openSource(ctx context.Context, c Config, saved position, warn func(string)) (source, error) {
	if c.Input == "" {
		s, err := stream.New(stream.Config{Seed: c.Seed, Duplicates: c.Duplicates, Topic: c.Topic})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		return &streamSource{stream: s}, nil
	}
	if c.Follow || c.State != "" {
		in, err := openFollower(ctx, c, saved.Files, saved.SavedAt, warn)
		if err != nil {
			return nil, err
		}
		return newLinesSource(c, in, saved.window()), nil
	}
	in, err := openPlain(c)
	if err != nil {
		return nil, err
	}
	return newLinesSource(c, in, newWindow()), nil
}

func newLinesSource(c Config, in lines, seen *window) source {
	if c.Lines {
		s := newLogSource(c, in)
		s.names.seen = seen
		return s
	}
	s := newJSONSource(c, in)
	s.names.seen = seen
	return s
}

// markOf is how far the input was read, if that is to be saved. It tells what
// the names took in since before.
func markOf(c Config, in lines, names *namer) *mark {
	f, ok := in.(*follower)
	if !ok || c.State == "" {
		return nil
	}
	m := f.mark()
	m.line, m.dated = names.last, names.last != timedLine{}
	names.last = timedLine{}
	return m
}

// streamSource is the seeded stream; it has no end.
type streamSource struct {
	stream *stream.Stream
	n      uint64
}

func (s *streamSource) next(dst []byte) ([]byte, place, error) {
	s.n++
	return s.stream.AppendEvent(dst, s.n-1), place{number: s.n - 1}, nil
}

func (*streamSource) Close() error { return nil }

// jsonSource reads events as NDJSON. They are sent as they were written, but for
// text that is not UTF-8, which is repaired; a missing topic or event_id is
// filled in. Everything else about an event is the aggregator's to judge.
type jsonSource struct {
	lines
	config Config
	topic  string
	names  namer
	clock  clock
}

func newJSONSource(c Config, in lines) *jsonSource {
	return &jsonSource{lines: in, config: c, topic: c.Topic, names: namer{seen: newWindow()}, clock: c.clock()}
}

func (s *jsonSource) next(dst []byte) ([]byte, place, error) {
	for {
		line, err := s.lines.next()
		at := place{number: s.from().number}
		if errors.Is(err, errLineTooLong) {
			return dst, at, &skipError{err}
		}
		if err != nil {
			return dst, at, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		dst, err = s.appendEvent(dst, line)
		at.mark = markOf(s.config, s.lines, &s.names)
		return dst, at, err
	}
}

func (s *jsonSource) appendEvent(dst, line []byte) ([]byte, error) {
	var names struct {
		Topic     *json.RawMessage `json:"topic"`
		EventID   *json.RawMessage `json:"event_id"`
		Timestamp json.RawMessage  `json:"timestamp"`
	}
	if line[0] != '{' {
		return dst, &skipError{errors.New("is no JSON object; -lines takes plain log lines")}
	}
	if err := json.Unmarshal(line, &names); err != nil {
		return dst, &skipError{fmt.Errorf("is not JSON: %w", err)}
	}
	s.names.topic = s.topic
	dst = append(dst, '{')
	if names.Topic != nil {
		s.names.topic = string(*names.Topic)
	} else if s.topic != "" {
		dst = append(append(append(dst, `"topic":"`...), s.topic...), `",`...)
	}
	if names.EventID == nil {
		dst = append(append(append(dst, `"event_id":"`...), s.id(line, names.Timestamp)...), `",`...)
	}
	rest := bytes.TrimLeft(repaired(line[1:]), " \t")
	if rest[0] == '}' { // nothing for the last comma to part
		dst = bytes.TrimSuffix(dst, []byte(","))
	}
	return append(dst, rest...), nil
}

// id names an event as a line of a log is named.
func (s *jsonSource) id(line []byte, timestamp []byte) string {
	if at, ok := s.clock.ofText(bytes.Trim(timestamp, `"`)); ok {
		return s.names.dated(s.from(), line, at, 0).String()
	}
	return s.names.placed(s.from(), line).String()
}

// repaired is JSON with U+FFFD for what is not UTF-8, and for half a surrogate
// pair: a sender must not be able to keep his line out of a log with a byte.
func repaired(text []byte) []byte {
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\ufffd"))
	}
	if !bytes.Contains(text, []byte(`\u`)) {
		return text
	}
	text = bytes.Clone(text)
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		unit := escaped(text[i:])
		switch {
		case unit >= 0xd800 && unit < 0xdc00 && escaped(text[min(i+6, len(text)):]) >= 0xdc00 && escaped(text[i+6:]) < 0xe000:
			i += 11
		case unit >= 0xd800 && unit < 0xe000:
			copy(text[i:], `\ufffd`)
			i += 5
		default:
			i++ // the character after it is no escape's beginning
		}
	}
	return text
}

// escaped is the code unit that text begins with as \u1234; 0 if it does not.
func escaped(text []byte) (unit int) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// logSource makes an event of each line that is not blank.
type logSource struct {
	lines
	config Config
	names  namer
	clock  clock

	encoded bytes.Buffer
	encoder *json.Encoder
}

func newLogSource(c Config, in lines) *logSource {
	s := &logSource{lines: in, config: c, clock: c.clock(), names: namer{topic: c.Topic, source: c.Source, seen: newWindow()}}
	s.encoder = json.NewEncoder(&s.encoded)
	s.encoder.SetEscapeHTML(false)
	return s
}

// logEvent is a line as an event. Bytes that are not UTF-8 become U+FFFD in the
// text; the id is made of the bytes as they are. Nothing of it but the time of an
// undated line depends on where or when the line is read: a repeat is no conflict.
type logEvent struct {
	Topic     string     `json:"topic"`
	EventID   string     `json:"event_id"`
	Timestamp string     `json:"timestamp"`
	Source    string     `json:"source"`
	Payload   logPayload `json:"payload"`
}

type logPayload struct {
	Text string `json:"text"`
}

func (s *logSource) next(dst []byte) ([]byte, place, error) {
	for {
		line, err := s.lines.next()
		at := place{number: s.from().number}
		if errors.Is(err, errLineTooLong) {
			return dst, at, &skipError{err}
		}
		if err != nil {
			return dst, at, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		event := logEvent{Topic: s.config.Topic, Source: s.config.Source, Payload: logPayload{string(line)}}
		at.undated = s.name(&event, line)
		at.mark = markOf(s.config, s.lines, &s.names)
		s.encoded.Reset()
		err = s.encoder.Encode(event)
		return append(dst, bytes.TrimSuffix(s.encoded.Bytes(), []byte("\n"))...), at, err
	}
}

// name gives the event its id and time. A line without a time belongs to the one
// before it, as those of a stack trace do. If there is none the time is that of reading.
func (s *logSource) name(event *logEvent, line []byte) (undated bool) {
	f := s.from()
	var id digest
	found, ok := s.clock.of(line, &f.years)
	at := found.at
	if ok {
		id = s.names.dated(f, line, at, found.year)
	} else if id, at, ok = s.names.continued(f, line); !ok {
		id, at, undated = s.names.placed(f, line), s.clock.now().UTC(), true
	}
	event.EventID, event.Timestamp = id.String(), at.Format(time.RFC3339Nano)
	return undated
}
