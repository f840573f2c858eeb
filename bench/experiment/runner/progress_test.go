package runner

import (
	"strings"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	for want, s := range map[string]state{
		"[................] 1/2 smoke start": {label: "1/2 smoke", phase: "start"},
		"[########........] 2/2 kill/memory measured, 60000 events/s, queue 1200, 1m5s left": {label: "2/2 kill/memory", phase: "measured",
			fraction: 0.5, ratePerS: 60000, queueDepth: 1200, left: 65 * time.Second},
		"[################] x drain, queue 7": {label: "x", phase: "drain", fraction: 1.7, queueDepth: 7},
	} {
		if got := s.line(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestPlainProgressIsSparing(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	now := time.Now()
	for i := range 100 { // ten seconds
		p.show(now.Add(time.Duration(i)*100*time.Millisecond), state{label: "a", phase: "measured"})
	}
	p.show(now, state{label: "a", phase: "drain"})
	p.clear()
	if lines := strings.Count(out.String(), "\n"); lines != 3 || strings.Contains(out.String(), "\r") {
		t.Errorf("%d lines: %q", lines, out.String())
	}
}

func TestTerminalProgressIsOneLine(t *testing.T) {
	var out strings.Builder
	p := &progress{w: &out, terminal: true, width: func() int { return 20 }}
	p.show(time.Now(), state{label: "a", phase: "measured"})
	p.show(time.Now(), state{label: "a", phase: "drain"})
	p.clear()
	for drawn := range strings.SplitSeq(out.String(), "\r\x1b[K") {
		if n := len([]rune(drawn)); n >= 20 {
			t.Errorf("%d columns on a terminal of 20: %q", n, drawn)
		}
	}
	if strings.Contains(out.String(), "\n") || !strings.HasSuffix(out.String(), "\r\x1b[K") {
		t.Errorf("%q", out.String())
	}
}
