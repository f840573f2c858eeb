// Package attack loads an aggregator with the event stream through vegeta, and
// tells the ledger exactly what happened.
//
//	schedule ─▶ pacer ─▶ vegeta's workers ─▶ targeter ─▶ deliver ─▶ net/http
//	                                            ▲           │
//	stream ─▶ encoder ─▶ ahead (bounded) ───────┘           └─▶ ledger, tally
//
// The schedule is a function of the config alone, and every request keeps the
// moment it was due. Whatever delays it afterwards (a late timer, no free worker, no
// body, no connection, a stalled server, a retry) shows up as lag or as latency;
// nothing that was due is skipped. So a server that stalls cannot make the load
// wait unseen (coordinated omission).
//
// vegeta numbers a hit before it asks for its body, and its timestamps begin when
// a worker is free; neither is used. A request is known by its number alone,
// which the header Sekali-Request carries.
//
// Memory is bounded by AheadBytes twice (bodies waiting, and spare memory) and
// by maxInFlightBytes of bodies that are being sent or retried.
package attack

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
)

const (
	// requestHeader carries the number of the request.
	requestHeader = "Sekali-Request"

	// maxInFlight and maxInFlightBytes bound the requests under way, each a worker
	// of vegeta. At the bound requests are sent late, which their lag shows. 4096
	// outlast a stall of 20 s at 200 requests/s.
	maxInFlight      = 4096
	maxInFlightBytes = 1 << 30
	minInFlight      = 8

	dialTimeout = 5 * time.Second
	// bufferBytes of a connection, each way: a body of 500 events is written in a
	// few calls instead of forty.
	bufferBytes = 64 << 10
)

// Attack is one attack: Run runs once.
type Attack struct {
	config   Config
	segments []segment
	tally    *tally
	ahead    *ahead
	end      uint64 // the requests are numbered [FirstRequest, end), or unlimited

	deliver *deliverer
}

// New validates the config.
func New(c Config) (*Attack, error) {
	c, err := c.filled()
	if err != nil {
		return nil, err
	}
	var targets []*url.URL
	for _, one := range append([]string{c.URL}, c.Others...) {
		target, err := delivery.Target(one, c.AckLevel)
		if err != nil {
			return nil, fmt.Errorf("attack: %w", err)
		}
		targets = append(targets, target)
	}
	encoder, err := newEncoder(c)
	if err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	a := &Attack{
		config:   c,
		segments: segments(c.Phases),
		tally:    newTally(c.Phases),
		ahead:    newAhead(encoder, c.AheadBytes),
		end:      c.FirstRequest,
	}
	for _, s := range a.segments {
		if s.end == unlimited {
			a.end = unlimited
			break
		}
		a.end += s.end
	}
	a.deliver = newDeliverer(c, targets, a.tally, a.ahead)
	return a, nil
}

// Progress is cheap, and may be called at any time.
func (a *Attack) Progress() Progress { return a.tally.progress() }

// Run builds bodies ahead, sends all phases and returns when every request is
// over. When ctx ends it aborts what is under way and writes the requests that
// were not sent to the ledger as such; the error is then that of ctx, and the
// summary tells what had happened.
func (a *Attack) Run(ctx context.Context) (Summary, error) {
	building := sync.WaitGroup{}
	building.Go(func() { a.ahead.build(a.config.FirstRequest, a.end) })
	defer building.Wait()
	defer a.ahead.stop()
	defer a.ahead.stopWith(ctx)()
	a.ahead.waitFull()

	dialer := &dialer{open: a.config.Dial}
	transport, stop := a.transport(ctx, dialer)
	defer stop()
	startedAt := a.start(ctx, transport)
	next := a.config.FirstRequest
	for i := range a.segments {
		next += a.runSegment(ctx, &a.segments[i], next)
	}

	a.tally.mu.Lock()
	defer a.tally.mu.Unlock()
	for i := range a.tally.phases {
		p := &a.tally.phases[i]
		p.Planned = max(p.Planned, p.Sent)
	}
	return Summary{StartedAt: startedAt, Phases: a.tally.phases, Connections: dialer.connections()}, ctx.Err()
}

// start is the zero of all times.
func (a *Attack) start(ctx context.Context, transport http.RoundTripper) time.Time {
	startedAt := time.Now()
	a.tally.mu.Lock()
	a.tally.started = startedAt
	a.tally.mu.Unlock()
	a.deliver.begin(ctx, delivery.Sender{
		Transport: transport, Policy: a.config.Retry, Timeout: a.config.Timeout, Start: startedAt,
	})
	if a.config.OnStart != nil {
		a.config.OnStart(startedAt)
	}
	return startedAt
}

// transport is what requests go over; stop closes its connections.
func (a *Attack) transport(ctx context.Context, dialer *dialer) (over http.RoundTripper, stop func()) {
	if a.config.Light {
		l := newLight(dialer)
		forget := context.AfterFunc(ctx, l.stop)
		return l, func() { forget(); l.stop() }
	}
	t := &http.Transport{
		Proxy:               nil, // never the environment's
		DialContext:         dialer.dial,
		MaxConnsPerHost:     a.config.MaxConnections,
		MaxIdleConnsPerHost: a.config.MaxConnections,
		DisableCompression:  true,
		WriteBufferSize:     bufferBytes,
		ReadBufferSize:      bufferBytes,
	}
	return t, t.CloseIdleConnections
}

// runSegment sends a segment, whose first request has the number first. It
// returns how many requests the segment took from the numbering.
func (a *Attack) runSegment(ctx context.Context, s *segment, first uint64) uint64 {
	workers := a.inFlight()
	initial := min(workers, vegeta.DefaultWorkers)
	if !s.open {
		workers = uint64(s.phases[0].Clients)
		initial = workers
	}
	run := &segmentRun{segment: s, first: first, start: time.Now(), attack: a, ctx: ctx}
	for _, p := range s.phases {
		a.tally.mu.Lock()
		a.tally.phases[p.index].StartNS = int64(run.start.Sub(a.tally.started) + p.start)
		a.tally.phases[p.index].FirstRequest = first + p.first
		a.tally.mu.Unlock()
	}
	if a.config.Light && !s.open {
		run.drive(s.phases[0].Clients)
		return run.settle()
	}
	attacker := vegeta.NewAttacker(
		vegeta.Client(&http.Client{
			Transport:     a.deliver,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
		vegeta.Workers(initial), vegeta.MaxWorkers(workers), vegeta.MaxBody(0),
	)
	for range attacker.Attack(run.target, run, 0, "") {
		// The ledger has it already, with every attempt.
	}
	return run.settle()
}

// inFlight is how many requests may be under way.
func (a *Attack) inFlight() uint64 {
	return uint64(min(maxInFlight, max(minInFlight, maxInFlightBytes/max(1, a.ahead.first()))))
}

var _ vegeta.Pacer = (*segmentRun)(nil)

// segmentRun is vegeta's pacer and targeter of one segment.
type segmentRun struct {
	segment *segment
	first   uint64
	start   time.Time
	attack  *Attack
	ctx     context.Context // ends the attack

	mu   sync.Mutex
	sent uint64
}

// Pace waits itself until a hit is due, because vegeta's own wait could not be
// interrupted, and would hit after it in any case.
func (r *segmentRun) Pace(_ time.Duration, hits uint64) (time.Duration, bool) {
	if hits >= r.segment.end || r.ctx.Err() != nil {
		return 0, true
	}
	if !r.segment.open {
		d := r.segment.phases[0].Duration
		return 0, d > 0 && time.Since(r.start) >= d
	}
	if !sleepUntil(r.ctx, r.start.Add(r.segment.due(hits))) {
		return 0, true
	}
	return 0, false
}

// Rate is never asked for by an attack.
func (r *segmentRun) Rate(time.Duration) float64 { return r.segment.phases[0].Rate }

// drive is a closed loop without vegeta.
func (r *segmentRun) drive(clients int) {
	var hits atomic.Uint64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for {
				if _, over := r.Pace(0, hits.Add(1)-1); over {
					return
				}
				p, ok := r.take()
				if !ok {
					return
				}
				r.attack.deliver.send(p)
			}
		})
	}
	group.Wait()
}

// target gives a hit its request.
func (r *segmentRun) target(t *vegeta.Target) error {
	p, ok := r.take()
	if !ok {
		return vegeta.ErrNoTargets
	}
	r.attack.deliver.prepare(t, p)
	return nil
}

// take is the next request. The k-th call gets the segment's k-th request and the moment that one
// was due; the pacer has let at least k hits go by then, so nothing is sent before its time. False
// when the attack is stopped.
func (r *segmentRun) take() (prepared, bool) {
	asked := time.Since(r.attack.deliver.sender.Start)
	b, ok := r.attack.ahead.next()
	if !ok {
		return prepared{}, false
	}
	i := b.number - r.first
	phase := r.segment.phaseOf(i).index
	planned := asked // a client of a closed loop is due when it is free
	if r.segment.open {
		planned = r.start.Sub(r.attack.deliver.sender.Start) + r.segment.due(i)
	}
	r.mu.Lock()
	r.sent++
	r.mu.Unlock()
	r.attack.tally.sent(phase, b.number)
	return prepared{body: b, phase: phase, plannedNS: int64(planned)}, true
}

// settle writes what was planned and not sent, and returns the number of
// requests that the segment was.
func (r *segmentRun) settle() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.segment.end == unlimited || !r.segment.open && r.segment.phases[0].Duration > 0 {
		return r.sent
	}
	for i := r.sent; i < r.segment.end; i++ {
		a := ledger.Attempt{
			Request: r.first + i, Phase: r.segment.phaseOf(i).index, Cause: ledger.CauseNotSent,
			PlannedNS: int64(r.start.Sub(r.attack.deliver.sender.Start)),
		}
		if r.segment.open {
			a.PlannedNS += int64(r.segment.due(i))
		}
		a.SentNS, a.DoneNS = a.PlannedNS, a.PlannedNS
		r.attack.config.Ledger.Write(a)
	}
	return r.segment.end
}

// waitSlice bounds how long a wait overlooks the end of its context.
const waitSlice = 20 * time.Millisecond

// sleepUntil is false if ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	for ctx.Err() == nil {
		wait := time.Until(at)
		if wait <= 0 {
			return true
		}
		sleep(min(wait, waitSlice)) // cut short by a signal: the loop goes on
	}
	return false
}
