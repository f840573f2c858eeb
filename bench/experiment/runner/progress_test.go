package runner

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestProgressLine(t *testing.T) {
	for want, s := range map[string]state{
		"[................] 1/2 smoke start": {label: "1/2 smoke", phase: "start"},
		"[########........] 2/2 kill/memory measured, 60000 events/s, queue 1200, 1m5s left": {label: "2/2 kill/memory", phase: "measured",
			fraction: 0.5, ratePerS: 60000, queueDepth: 1200, left: 65 * time.Second},
		"[################] x drain, queue 7":         {label: "x", phase: "drain", fraction: 1.7, queueDepth: 7},
		"[................] x drain, for 7s, 1s left": {label: "x", phase: "drain", lasted: 7200 * time.Millisecond, left: time.Second},
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

// TestSilentStepIsShownAgain: who waits sees that something goes on, whatever it is.
func TestSilentStepIsShownAgain(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		var out strings.Builder
		p := &progress{w: &out, terminal: terminal, width: func() int { return 80 }}
		now := time.Now()
		p.again(now, time.Minute)
		if out.Len() > 0 {
			t.Errorf("before anything was told: %q", out.String())
		}
		p.show(now, state{label: "a", phase: "audit", fraction: 0.5, left: time.Minute})
		for second := 1; second <= 12; second++ {
			p.again(now.Add(time.Duration(second)*time.Second), time.Duration(60-second)*time.Second)
		}
		p.clear()
		p.again(now.Add(time.Hour), time.Minute)
		lines, want := strings.Count(out.String(), "a audit"), 3
		if terminal {
			want = 13
		}
		if last := "[########........] a audit, for 10s, 50s left"; lines != want || !strings.Contains(out.String(), last) {
			t.Errorf("terminal %t: %d lines, want %d with %q: %q", terminal, lines, want, last, out.String())
		}
	}
}

// TestProgressEnds: nothing is left of it.
func TestProgressEnds(t *testing.T) {
	newProgress(io.Discard).keep(func(time.Time) time.Duration { return 0 })() // TestMain looks for goroutines
}
