package mutants

import (
	"bufio"
	"bytes"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// event is a JSON object, its values as they came.
type event struct {
	names  []string
	values map[string]jsontext.Value
}

func readEvent(text []byte) (event, error) {
	e := event{values: map[string]jsontext.Value{}}
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := d.ReadToken(); err != nil {
		return e, err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return e, err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return e, err
		}
		e.set(key, value.Clone())
	}
	_, err := d.ReadToken()
	return e, err
}

func (e *event) set(name string, value jsontext.Value) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e event) text(name string) string {
	text, _ := jsontext.AppendUnquote(nil, e.values[name]) // what is no string is ""
	return string(text)
}

func (e event) setText(name, text string) {
	quoted, err := jsontext.AppendQuote(nil, text)
	if err == nil {
		e.values[name] = quoted
	}
}

func (e event) seq() int64 {
	n, _ := strconv.ParseInt(string(e.values["seq"]), 10, 64) // an event without one has 0
	return n
}

func (e event) setSeq(n int64) { e.values["seq"] = strconv.AppendInt(nil, n, 10) }

func (e event) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, name := range e.names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, _ = jsontext.AppendQuote(dst, name) // a name that was read
		dst = append(append(dst, ':'), e.values[name]...)
	}
	return append(dst, '}')
}

// list reads a JSON array of objects.
func list(text []byte) ([]event, error) {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var events []event
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		e, err := readEvent(value)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

func appendList(dst []byte, events []event) []byte {
	dst = append(dst, '[')
	for i, e := range events {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = e.append(dst)
	}
	return append(dst, ']')
}

// eachLine hands every event of an NDJSON answer, or of a stream's data lines, to change, which may
// take it out.
func eachLine(body io.ReadCloser, prefix string, change func(*event) (keep bool)) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() {
		defer body.Close()
		lines := bufio.NewReaderSize(body, maxLine)
		for {
			line, err := lines.ReadBytes('\n')
			if text, found := bytes.CutPrefix(line, []byte(prefix)); found && len(text) > 0 && text[0] == '{' {
				if e, err := readEvent(text); err == nil {
					if !change(&e) {
						continue
					}
					line = append(e.append([]byte(prefix)), '\n')
				}
			}
			if _, err := writer.Write(line); err != nil {
				return // the reader has gone
			}
			if err != nil {
				writer.CloseWithError(err)
				return
			}
		}
	}()
	return reader
}
