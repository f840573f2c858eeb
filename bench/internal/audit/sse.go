package audit

import (
	"bufio"
	"bytes"
	"io"
	"iter"
)

// readStream yields the events of a stream's data lines; one is an event whole.
func readStream(body io.Reader) iter.Seq2[*Event, error] {
	return func(yield func(*Event, error) bool) {
		lines := bufio.NewReaderSize(body, readBuffer)
		decoder := newDecoder()
		var event Event
		for {
			line, err := lines.ReadBytes('\n')
			if text, found := bytes.CutPrefix(line, []byte("data:")); found && err == nil {
				err := event.read(bytes.TrimSpace(text), decoder)
				if !yield(&event, err) || err != nil {
					return
				}
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, &brokenError{err})
				return
			}
		}
	}
}
