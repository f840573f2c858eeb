package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestOutageIsLoggedOnce: a log without a leader refuses five readings a second, for minutes.
func TestOutageIsLoggedOnce(t *testing.T) {
	var text bytes.Buffer
	o := outage{logger: slog.New(slog.NewTextHandler(&text, nil))}
	now := time.Now()
	o.over()
	for i := range 5 * 90 { // a minute and a half
		o.failed(7, errors.New("no leader"), now.Add(time.Duration(i)*readPause))
	}
	o.over()
	o.over()
	if n, again := strings.Count(text.String(), "is not read"), strings.Count(text.String(), "read again"); n != 2 || again != 1 {
		t.Errorf("%d lines that it is not read, want 2, and %d that it is, want 1:\n%s", n, again, text.String())
	}
	o.failed(8, errors.New("no leader"), now.Add(100*time.Second))
	if n := strings.Count(text.String(), "is not read"); n != 3 {
		t.Errorf("a second outage is not logged: %d", n)
	}
}
