package logs

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryLineIsWrittenOnClose(t *testing.T) {
	var out bytes.Buffer
	l := NewWriter(&out)
	var want strings.Builder
	for i := range queued {
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	l.Close()
	l.Close()
	if n, err := l.Write([]byte("late")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if out.String() != want.String() {
		t.Errorf("%d bytes, want %d", out.Len(), want.Len())
	}
}

// TestNobodyReads: a pipe that is full holds up neither who logs nor the end, and what was dropped
// is counted once it is read.
func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		l := NewWriter(w)
		l.Write([]byte("0\n"))
		synctest.Wait() // the goroutine stands in its write
		for range queued + 7 {
			l.Write([]byte("x\n"))
		}
		began := time.Now()
		l.Close()
		if waited := time.Since(began); waited != closeBudget {
			t.Errorf("Close took %v", waited)
		}
		r.Close() // ends the write
	})
	var out bytes.Buffer
	gate := make(chan struct{})
	l := NewWriter(writer(func(p []byte) (int, error) { <-gate; return out.Write(p) }))
	for range queued + 8 {
		l.Write([]byte("x\n"))
	}
	dropped := l.dropped
	close(gate)
	for len(l.lines) > 0 {
		time.Sleep(time.Millisecond)
	}
	l.Write([]byte("last\n"))
	l.Close()
	if text := out.String(); dropped == 0 || !strings.Contains(text, fmt.Sprintf(`"lines":%d}`+"\nlast\n", dropped)) {
		t.Errorf("%d dropped: %.200s", dropped, text[max(len(text)-200, 0):])
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
