package runner

import (
	"sync"
	"time"
)

const (
	// caseOverhead is what a case takes beside its load: the ceiling, the disk's probe, the start, the
	// drain, the audit. 33 cases on 2 slow cores took 162 s more than their phases.
	caseOverhead = 4500 * time.Millisecond
	// assumedEventsPerS is how fast a phase without a duration is taken to go, until cases have shown
	// it.
	assumedEventsPerS = 300_000
	// steadyAfter is the planned time that has to be behind us before what was learnt counts in full.
	steadyAfter = 30 * time.Second
)

// estimate says how long it is until all cases have ended, from the plan and from how much longer
// than planned the cases before took. It may be used from several goroutines.
type estimate struct {
	planned []time.Duration // by job

	mu      sync.Mutex
	at      int
	began   time.Time     // of the job at at
	took    time.Duration // by the jobs that have ended
	expects time.Duration // planned for them
}

func newEstimate(jobs []job) *estimate {
	e := &estimate{}
	for _, j := range jobs {
		load := j.settings.Load
		total := caseOverhead + load.Duration() + time.Duration(j.settings.Fault.RestartAfter)
		for _, p := range load.Phases {
			events := float64(p.Requests) * float64(load.EventsPerRequest)
			total += time.Duration(events / assumedEventsPerS * float64(time.Second))
		}
		e.planned = append(e.planned, total)
	}
	return e
}

// begin says that a job starts now.
func (e *estimate) begin(at int, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at, e.began = at, now
}

// finish says that the job has ended. One that was skipped is not finished: it says nothing about
// time.
func (e *estimate) finish(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.took += now.Sub(e.began)
	e.expects += e.planned[e.at]
}

// left is the estimate; a case that takes longer than expected counts as about to end.
func (e *estimate) left(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	var rest time.Duration
	for _, planned := range e.planned[e.at+1:] {
		rest += planned
	}
	// As if a stretch of steadyAfter had gone exactly as planned before.
	pace := float64(e.took+steadyAfter) / float64(e.expects+steadyAfter)
	current := time.Duration(pace*float64(e.planned[e.at])) - now.Sub(e.began)
	return max(current, 0) + time.Duration(pace*float64(rest))
}
