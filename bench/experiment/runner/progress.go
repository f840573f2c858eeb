package runner

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sekali/loadgen/attack"
)

const (
	// barCells is the width of the bar; the whole line has under 80 columns with the usual names.
	barCells = 16
	// plainInterval is how often a line is printed where no terminal redraws it.
	plainInterval = 5 * time.Second
	// silence is how long a step may tell nothing before what it told last is shown again.
	silence = time.Second
)

// state is what a run is doing now.
type state struct {
	label      string        // scenario, case and repeat
	phase      string        // a phase's name, or start, drain, a step of the audit
	lasted     time.Duration // the phase, so far
	fraction   float64       // 0 to 1 of the planned time
	ratePerS   float64       // events acknowledged a second, since the last state
	queueDepth uint64        // events
	left       time.Duration // estimated, until all cases have ended; 0: not known
}

// progress shows a state: redrawn in place on a terminal, as plain lines at phase changes and now
// and then elsewhere. It may be called from several goroutines.
type progress struct {
	w        io.Writer
	terminal bool
	width    func() int // of the terminal now, 0 if it does not say

	mu      sync.Mutex
	now     state     // no label: nothing is shown
	told    time.Time // when it was
	began   time.Time // its phase
	last    state     // that was printed
	printed time.Time
	drawn   bool // a line is on the terminal and not ended
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, terminal: isTerminal(w), width: func() int { return columnsOf(w) }}
}

func (p *progress) show(now time.Time, s state) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.label != p.now.label || s.phase != p.now.phase {
		p.began = now
	}
	p.now, p.told = s, now
	p.write(now)
}

// write writes what goes on.
func (p *progress) write(now time.Time) {
	s := p.now
	s.lasted = now.Sub(p.began)
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", cut(s.line(), p.width()))
		p.drawn = true
		return
	}
	if s.label == p.last.label && s.phase == p.last.phase && now.Sub(p.printed) < plainInterval {
		return
	}
	p.last, p.printed = s, now
	fmt.Fprintln(p.w, s.line())
}

// again shows anew what goes on, where nothing was told of it lately.
func (p *progress) again(now time.Time, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.label != "" && now.Sub(p.told) >= silence {
		p.now.ratePerS, p.now.left = 0, left
		p.write(now)
	}
}

// keep calls again until the function that it returns is called.
func (p *progress) keep(left func(now time.Time) time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for sleep(ctx, silence) {
			now := time.Now()
			p.again(now, left(now))
		}
	})
	return func() { cancel(); running.Wait() }
}

// clear ends the redrawn line, so that other output starts on a line of its own.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = state{}
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// cut keeps a line on one row of the terminal: a wrapped one could not be drawn over. A terminal
// that does not say its width is taken for one of 80 columns.
func cut(line string, width int) string {
	if width <= 0 {
		width = 80
	}
	letters := []rune(line)
	if len(letters) < width {
		return line
	}
	return string(letters[:max(width-2, 0)]) + "…"
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
	if s.lasted >= 2*silence {
		line += fmt.Sprintf(", for %s", s.lasted.Round(time.Second))
	}
	if s.left > 0 {
		line += fmt.Sprintf(", %s left", s.left.Round(time.Second))
	}
	return line
}

// status shows a step that has no rate.
func (s *session) status(phase string, fraction float64) {
	s.show(state{phase: phase, fraction: fraction})
}

// showAttack shows how far the load has come: by time where that is planned, by requests elsewhere.
func (s *session) showAttack(now attack.Progress, rate float64) {
	shown := state{phase: now.Phase, ratePerS: rate, queueDepth: s.sampler.last().stats.QueueDepth}
	if planned := s.job.settings.Load.Duration(); planned > 0 {
		gone := time.Since(now.StartedAt)
		shown.fraction = gone.Seconds() / planned.Seconds()
	} else if now.Planned > 0 {
		shown.fraction = float64(now.Answered) / float64(now.Planned)
	}
	s.show(shown)
}
