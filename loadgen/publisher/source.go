package publisher

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sekali/loadgen/stream"
)

// source gives the events to publish, one by one.
type source interface {
	// next appends the JSON object of the next event. The place names it to a
	// person: the number of its line, or its number in the stream. A *skipError is
	// an event that cannot be sent, and others follow; io.EOF is the end.
	next(dst []byte) (event []byte, place uint64, err error)
	io.Closer
}

// skipError says why an event cannot be sent.
type skipError struct{ reason error }

func (e *skipError) Error() string { return e.reason.Error() }

// openSource opens what the config asks for.
func openSource(c Config) (source, error) {
	if c.Input == "" {
		s, err := stream.New(stream.Config{Seed: c.Seed, Duplicates: c.Duplicates, Topic: c.Topic})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		return &streamSource{stream: s}, nil
	}
	in, modified, err := openInput(c)
	if err != nil {
		return nil, err
	}
	if c.Lines {
		return newLogSource(c, in, modified), nil
	}
	return &jsonSource{Closer: in, lines: newLineReader(in), topic: c.Topic}, nil
}

// openInput also tells when the input was written last.
func openInput(c Config) (io.ReadCloser, time.Time, error) {
	if c.Input == "-" {
		return io.NopCloser(c.Stdin), time.Now(), nil
	}
	file, err := os.Open(c.Input)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: -input: %w", ErrConfig, err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", c.Input)
	}
	if err != nil {
		file.Close()
		return nil, time.Time{}, fmt.Errorf("%w: -input: %w", ErrConfig, err)
	}
	return file, info.ModTime(), nil
}

// streamSource is the seeded stream; it has no end.
type streamSource struct {
	stream *stream.Stream
	n      uint64
}

func (s *streamSource) next(dst []byte) ([]byte, uint64, error) {
	s.n++
	return s.stream.AppendEvent(dst, s.n-1), s.n - 1, nil
}

func (*streamSource) Close() error { return nil }

// jsonSource reads events as NDJSON. They are sent as they were written; only a
// missing topic or event_id is filled in. Everything else about an event is the
// aggregator's to judge.
type jsonSource struct {
	io.Closer
	lines *lineReader
	topic string
}

func (s *jsonSource) next(dst []byte) ([]byte, uint64, error) {
	for {
		line, err := s.lines.next()
		if errors.Is(err, errLineTooLong) {
			return dst, s.lines.number, &skipError{err}
		}
		if err != nil {
			return dst, s.lines.number, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		dst, err = s.appendEvent(dst, line)
		return dst, s.lines.number, err
	}
}

func (s *jsonSource) appendEvent(dst, line []byte) ([]byte, error) {
	var names struct {
		Topic   *json.RawMessage `json:"topic"`
		EventID *json.RawMessage `json:"event_id"`
	}
	if err := json.Unmarshal(line, &names); err != nil {
		return dst, &skipError{err}
	}
	if line[0] != '{' {
		return dst, &skipError{errors.New("not a JSON object")} // null
	}
	topic := s.topic
	dst = append(dst, '{')
	if names.Topic != nil {
		topic = string(*names.Topic)
	} else if topic != "" {
		dst = append(append(append(dst, `"topic":"`...), topic...), `",`...)
	}
	if names.EventID == nil {
		dst = append(append(append(dst, `"event_id":"`...), lineID(topic, "", s.lines.number, line)...), `",`...)
	}
	rest := bytes.TrimLeft(line[1:], " \t")
	if rest[0] == '}' { // nothing for the last comma to part
		dst = bytes.TrimSuffix(dst, []byte(","))
	}
	return append(dst, rest...), nil
}

// logSource makes an event of each line that is not blank.
type logSource struct {
	io.Closer
	lines  *lineReader
	config Config
	latest time.Time
	last   time.Time // time of the line before

	encoded bytes.Buffer
	encoder *json.Encoder
}

func newLogSource(c Config, in io.ReadCloser, modified time.Time) *logSource {
	s := &logSource{Closer: in, lines: newLineReader(in), config: c, latest: modified.UTC(), last: time.Unix(0, 0).UTC()}
	s.encoder = json.NewEncoder(&s.encoded)
	s.encoder.SetEscapeHTML(false)
	return s
}

// logEvent is a line as an event. Bytes that are not UTF-8 become U+FFFD in the
// text; the id is made of the bytes as they are.
type logEvent struct {
	Topic     string     `json:"topic"`
	EventID   string     `json:"event_id"`
	Timestamp string     `json:"timestamp"`
	Source    string     `json:"source"`
	Payload   logPayload `json:"payload"`
}

type logPayload struct {
	Line uint64 `json:"line"`
	Text string `json:"text"`
}

func (s *logSource) next(dst []byte) ([]byte, uint64, error) {
	for {
		line, err := s.lines.next()
		if errors.Is(err, errLineTooLong) {
			return dst, s.lines.number, &skipError{err}
		}
		if err != nil {
			return dst, s.lines.number, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		// A line without a time belongs to the one before it, as those of a stack
		// trace do. Before any time it is 1970: never the clock, so that every run of
		// a file makes the same events.
		if at, ok := timestampOf(line, s.latest); ok {
			s.last = at
		}
		s.encoded.Reset()
		err = s.encoder.Encode(logEvent{
			Topic:     s.config.Topic,
			EventID:   lineID(s.config.Topic, s.config.Source, s.lines.number, line),
			Timestamp: s.last.Format(time.RFC3339Nano),
			Source:    s.config.Source,
			Payload:   logPayload{Line: s.lines.number, Text: string(line)},
		})
		return append(dst, bytes.TrimSuffix(s.encoded.Bytes(), []byte("\n"))...), s.lines.number, err
	}
}

// lineID is the event_id of a line: 32 hexadecimal digits of a SHA-256 over
// topic, source, line number and content. Not the file's name or its inode: a
// rotated or copied log is the same log, and is not stored again. The number is
// part of it because two equal lines of a log are two events.
func lineID(topic, source string, number uint64, line []byte) string {
	hash := sha256.New()
	var field [8]byte
	for _, text := range []string{topic, source} {
		binary.BigEndian.PutUint64(field[:], uint64(len(text)))
		hash.Write(field[:])
		io.WriteString(hash, text)
	}
	binary.BigEndian.PutUint64(field[:], number)
	hash.Write(field[:])
	hash.Write(line)
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
