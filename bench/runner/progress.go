package runner

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// barCells is the width of the bar; the whole line stays under 80 columns with the usual names.
	barCells = 16
	// plainInterval is how often a line is printed where no terminal redraws it.
	plainInterval = 5 * time.Second
)

// state is what a run is doing now.
type state struct {
	label      string        // scenario, case and repeat
	phase      string        // a phase's name, or start, drain, audit
	fraction   float64       // 0 to 1 of the planned time
	ratePerS   float64       // events acknowledged a second, since the last state
	queueDepth uint64        // events
	left       time.Duration // planned; 0 where nothing is planned
}

// progress shows a state: redrawn in place on a terminal, as plain lines at phase changes and now and then elsewhere.
// It may be called from several goroutines.
type progress struct {
	w        io.Writer
	terminal bool

	mu      sync.Mutex
	last    state
	printed time.Time
	drawn   bool // a line is on the terminal and not ended
}

func newProgress(w io.Writer) *progress {
	file, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

func (p *progress) show(now time.Time, s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", s.line())
		p.drawn = true
		return
	}
	if s.label == p.last.label && s.phase == p.last.phase && now.Sub(p.printed) < plainInterval {
		return
	}
	p.last, p.printed = s, now
	fmt.Fprintln(p.w, s.line())
}

// clear ends the redrawn line, so that other output starts on a line of its own.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (s state) line() string {
	cells := int(min(max(s.fraction, 0), 1) * barCells)
	line := fmt.Sprintf("[%s%s] %s %s", strings.Repeat("#", cells), strings.Repeat(".", barCells-cells), s.label, s.phase)
	if s.ratePerS > 0 {
		line += fmt.Sprintf(", %.0f events/s", s.ratePerS)
	}
	if s.queueDepth > 0 {
		line += fmt.Sprintf(", queue %d", s.queueDepth)
	}
	if s.left > 0 {
		line += fmt.Sprintf(", %s left", s.left.Round(time.Second))
	}
	return line
}
