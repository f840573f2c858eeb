package audit

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// model is a sender and a perfect aggregator: what attempts were made, and what they led to.
type model struct {
	stream   *stream.Stream
	perReq   uint64
	requests uint64
	attempts []ledger.Attempt
	promised func(ledger.Attempt) bool
	life     *Life
	began    time.Time // zero: times are not looked at
	outside  *Outside  // nil: nor how long events waited

	order    []uint64 // originals in the order of storing
	seen     map[uint64]bool
	counters Counters
}

func newModel(t interface{ Fatal(...any) }, perRequest, requests uint64, duplicates float64) *model {
	s, err := stream.New(stream.Config{Seed: 1, Duplicates: duplicates})
	if err != nil {
		t.Fatal(err)
	}
	return &model{stream: s, perReq: perRequest, requests: requests, seen: map[uint64]bool{}}
}

// apply processes the first n events of a request.
func (m *model) apply(request uint64, n int) {
	for i := range uint64(n) {
		original := m.stream.Original(request*m.perReq + i)
		m.counters.Received++
		if m.seen[original] {
			m.counters.DuplicateDropped++
			continue
		}
		m.seen[original] = true
		m.order = append(m.order, original)
		m.counters.UniqueProcessed++
	}
}

func (m *model) attempt(request uint64, a ledger.Attempt) {
	a.Request, a.Attempt = request, 1
	m.attempts = append(m.attempts, a)
}

func (m *model) acknowledged(request uint64) {
	m.attempt(request, ledger.Attempt{Status: 202, Accepted: int(m.perReq)})
	m.apply(request, int(m.perReq))
}

// events are the stored events as an export gives them.
func (m *model) events() []Event {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var events []Event
	for i, original := range m.order {
		e := m.stream.Event(original)
		events = append(events, Event{Seq: int64(i)*3 + 1, Topic: []byte(e.Topic), EventID: []byte(e.EventID), Timestamp: []byte(e.Timestamp),
			Source: []byte(e.Source), Payload: []byte(e.Payload), ReceivedAt: at.Add(time.Duration(i/10)*time.Microsecond).AppendFormat(nil, time.RFC3339Nano)})
	}
	return events
}

func (m *model) audit(t interface{ Fatal(...any) }, events iter.Seq[*Event]) Report {
	checker, err := NewChecker(Sent{Stream: m.stream, EventsPerRequest: m.perReq, Requests: m.requests, Promised: m.promised, Life: m.life, StartedAt: m.began, Outside: m.outside,
		Attempts: func() iter.Seq2[ledger.Attempt, error] {
			return func(yield func(ledger.Attempt, error) bool) {
				for _, a := range m.attempts {
					if !yield(a, nil) {
						return
					}
				}
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	for event := range events {
		checker.Add(event)
	}
	report, err := checker.Finish(&m.counters)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func each(events []Event) iter.Seq[*Event] {
	return func(yield func(*Event) bool) {
		for i := range events {
			if !yield(&events[i]) {
				return
			}
		}
	}
}

// clean says that nothing was found.
func clean(r Report) bool {
	return r.Lost+r.Duplicated+r.Unexpected+r.OutOfOrder == 0 && len(r.FailedChecks()) == 0
}

func TestEveryMutantIsCaught(t *testing.T) {
	for _, test := range []struct {
		name   string
		mutate func(*model, *[]Event)
		want   func(Report) bool
	}{
		{"control", func(*model, *[]Event) {}, clean},
		{"one lost", func(m *model, e *[]Event) { *e = slices.Delete(*e, 7, 8) },
			func(r Report) bool { return r.Lost == 1 && r.Unexpected == 0 }},
		{"one lost, and its counter with it", func(m *model, e *[]Event) {
			*e = slices.Delete(*e, 7, 8)
			m.counters.UniqueProcessed--
			m.counters.Received--
		}, func(r Report) bool { return r.Lost == 1 }},
		{"one stored twice", func(m *model, e *[]Event) {
			again := (*e)[7]
			again.Seq++
			*e = slices.Insert(*e, 8, again)
		}, func(r Report) bool { return r.Duplicated == 1 && r.OutOfOrder == 0 }},
		{"one stored twice instead of dropped", func(m *model, e *[]Event) {
			again := (*e)[7]
			again.Seq++
			*e = slices.Insert(*e, 8, again)
			m.counters.UniqueProcessed++
			m.counters.DuplicateDropped--
		}, func(r Report) bool { return r.Duplicated == 1 }},
		{"a byte of a payload changed", func(m *model, e *[]Event) { (*e)[7].Payload[100] ^= 1 },
			func(r Report) bool { return r.Unexpected == 1 && r.Lost == 0 }},
		{"the number in a payload changed", func(m *model, e *[]Event) { (*e)[7].Payload[5]++ },
			func(r Report) bool { return r.Unexpected == 1 && r.Lost == 1 }},
		{"a payload that is none of ours", func(m *model, e *[]Event) { (*e)[7].Payload = []byte("null") },
			func(r Report) bool { return r.Unexpected == 1 && r.Lost == 1 }},
		{"another topic", func(m *model, e *[]Event) { (*e)[7].Topic = []byte("elsewhere") },
			func(r Report) bool { return r.Unexpected == 1 }},
		{"another timestamp", func(m *model, e *[]Event) { (*e)[7].Timestamp = []byte("2026-01-01T00:00:00.0Z") },
			func(r Report) bool { return r.Unexpected == 1 }},
		{"another source", func(m *model, e *[]Event) { (*e)[7].Source = nil }, func(r Report) bool { return r.Unexpected == 1 }},
		{"one from beyond the stream", func(m *model, e *[]Event) {
			other := m.stream.Event(1 << 40)
			*e = append(*e, Event{Seq: 1 << 40, Topic: []byte(other.Topic), EventID: []byte(other.EventID), Payload: []byte(other.Payload),
				ReceivedAt: (*e)[len(*e)-1].ReceivedAt})
		}, func(r Report) bool { return r.Unexpected == 1 }},
		{"two in the wrong order", func(m *model, e *[]Event) { (*e)[7], (*e)[8] = (*e)[8], (*e)[7] },
			func(r Report) bool { return r.OutOfOrder == 1 && r.Lost == 0 }},
		{"a seq used twice", func(m *model, e *[]Event) { (*e)[8].Seq = (*e)[7].Seq }, func(r Report) bool { return r.OutOfOrder == 1 }},
		{"received_at falling", func(m *model, e *[]Event) { (*e)[20].ReceivedAt = (*e)[0].ReceivedAt },
			func(r Report) bool { return r.OutOfOrder == 1 }},
		{"received_at not in UTC", func(m *model, e *[]Event) { (*e)[0].ReceivedAt = []byte("2026-01-01T01:00:00+01:00") },
			func(r Report) bool { return r.OutOfOrder == 1 }},
		{"one duplicate not counted", func(m *model, e *[]Event) { m.counters.DuplicateDropped-- }, failed("received", "duplicate_dropped")},
		{"one duplicate counted twice", func(m *model, e *[]Event) { m.counters.DuplicateDropped++; m.counters.Received++ },
			failed("received_by_ledger", "duplicate_dropped")},
		{"one duplicate miscounted as stored", func(m *model, e *[]Event) { m.counters.DuplicateDropped--; m.counters.UniqueProcessed++ },
			failed("unique_processed", "duplicate_dropped")},
		{"one left in the queue", func(m *model, e *[]Event) { m.counters.QueueDepth++; m.counters.Received++ },
			failed("queue_depth", "received_by_ledger")},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newModel(t, 50, 20, 0.2)
			for request := range m.requests {
				m.acknowledged(request)
			}
			events := m.events()
			test.mutate(m, &events)
			report := m.audit(t, each(events))
			if !test.want(report) {
				t.Errorf("report: %+v", report)
			}
			if clean(report) != (test.name == "control") {
				t.Errorf("clean: %v", clean(report))
			}
			if test.name != "control" && len(report.Findings)+len(report.FailedChecks()) == 0 {
				t.Error("nothing is said in words")
			}
		})
	}
}

// failed wants exactly these checks to fail.
func failed(names ...string) func(Report) bool {
	return func(r Report) bool {
		var got []string
		for _, c := range r.FailedChecks() {
			got = append(got, c.Name)
		}
		return slices.Equal(got, names)
	}
}

// TestOneInAMillion loses one event of a million, and stores another one twice: the audit finds
// these two and no other.
func TestOneInAMillion(t *testing.T) {
	const lost, twice = 765_432, 234_567
	m := newModel(t, 1000, 1250, 0.2)
	for request := range m.requests {
		m.attempt(request, ledger.Attempt{Status: 202, Accepted: 1000})
	}
	originals := m.stream.Originals(m.requests * m.perReq)
	if originals != 1_000_000 {
		t.Fatal(originals)
	}
	m.counters = Counters{Received: 1_250_000, UniqueProcessed: originals, DuplicateDropped: 250_000}
	seq := int64(0)
	report := m.audit(t, func(yield func(*Event) bool) {
		for original := range originals {
			copies := 1
			switch original {
			case lost:
				copies = 0
			case twice:
				copies = 2
			}
			for range copies {
				seq++
				e := m.stream.Event(original)
				if !yield(&Event{Seq: seq, Topic: []byte(e.Topic), EventID: []byte(e.EventID), Timestamp: []byte(e.Timestamp),
					Source: []byte(e.Source), Payload: []byte(e.Payload), ReceivedAt: []byte("2026-01-01T00:00:00Z")}) {
					return
				}
			}
		}
	})
	if report.Lost != 1 || report.Duplicated != 1 || report.Unexpected+report.OutOfOrder != 0 || len(report.FailedChecks()) != 0 {
		t.Errorf("%+v", report)
	}
	if found := fmt.Sprint(report.Findings); !strings.Contains(found, "original 765432") || len(report.Findings) != 2 {
		t.Errorf("findings: %s", found)
	}
}

// TestHonestAggregatorIsClean draws attempts of every fate, has the model apply them, and wants a
// clean audit: the bounds must never accuse an aggregator that did what it may.
func TestHonestAggregatorIsClean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, uint64(rapid.IntRange(1, 30).Draw(t, "events a request")), 12, 0.4)
		exact := true
		for request := range m.requests {
			for range rapid.IntRange(1, 3).Draw(t, "attempts") {
				switch rapid.SampledFrom([]string{"acknowledged", "refused", "absent", "applied", "torn", "partial"}).Draw(t, "fate") {
				case "acknowledged":
					m.acknowledged(request)
				case "refused":
					m.attempt(request, ledger.Attempt{Status: 503, Cause: "queue_full"})
				case "absent":
					m.attempt(request, ledger.Attempt{Cause: ledger.CauseEOF})
					exact = false
				case "applied":
					m.attempt(request, ledger.Attempt{Cause: ledger.CauseTimeout})
					m.apply(request, int(m.perReq))
					exact = false
				case "torn":
					m.attempt(request, ledger.Attempt{Cause: ledger.CauseReset})
					m.apply(request, rapid.IntRange(0, int(m.perReq)).Draw(t, "applied"))
					exact = false
				case "partial":
					accepted := rapid.IntRange(1, int(m.perReq)).Draw(t, "accepted")
					m.attempt(request, ledger.Attempt{Status: 202, Accepted: accepted, Rejected: int(m.perReq) - accepted})
					m.apply(request, accepted)
					exact = exact && accepted == int(m.perReq)
				}
			}
		}
		events := m.events()
		report := m.audit(t, each(events))
		if !clean(report) {
			t.Fatalf("accused: %+v\nfindings: %q", report, report.Findings)
		}
		if exact && (report.Bounds.DuplicatesMin != report.Bounds.DuplicatesMax || report.Bounds.ReceivedMin != report.Bounds.ReceivedMax) {
			t.Fatalf("nothing was unknown, and yet the bounds are %+v", report.Bounds)
		}
		if exact && report.Bounds.DuplicatesMin != m.counters.DuplicateDropped {
			t.Fatalf("%d duplicates, bounds %+v", m.counters.DuplicateDropped, report.Bounds)
		}
		// Whatever the unknown attempts allow, an acknowledged event that is absent is lost.
		checkLoss(t, m, events, report.Acknowledged)
	})
}

func checkLoss(t *rapid.T, m *model, events []Event, acknowledged uint64) {
	if acknowledged == 0 {
		return
	}
	whole := map[uint64]bool{}
	for _, a := range m.attempts {
		if a.Outcome() == ledger.Acknowledged && a.Accepted == int(m.perReq) {
			for i := range m.perReq {
				whole[m.stream.Original(a.Request*m.perReq+i)] = true
			}
		}
	}
	at := slices.IndexFunc(m.order, func(original uint64) bool { return whole[original] })
	report := m.audit(t, each(slices.Delete(slices.Clone(events), at, at+1)))
	if report.Lost == 0 || clean(report) {
		t.Fatalf("the loss of original %d was not seen: %+v", m.order[at], report)
	}
}

// TestUnpromisedAcknowledgements: ack=memory before a SIGKILL. The loss is reported; the counters
// are not blamed for it.
func TestUnpromisedAcknowledgements(t *testing.T) {
	m := newModel(t, 10, 4, 0.2)
	m.promised = func(a ledger.Attempt) bool { return a.Request >= 2 }
	m.attempt(0, ledger.Attempt{Status: 202, Accepted: 10})
	m.apply(0, 10)
	m.attempt(1, ledger.Attempt{Status: 202, Accepted: 10}) // in the queue when the kill came
	m.apply(1, 3)
	m.acknowledged(2)
	m.acknowledged(3)
	report := m.audit(t, each(m.events()))
	if report.Lost == 0 || len(report.FailedChecks()) != 0 || report.Unexpected != 0 {
		t.Errorf("%+v", report)
	}
	m.promised = nil
	if report := m.audit(t, each(m.events())); len(report.FailedChecks()) == 0 {
		t.Errorf("with a promise the counters had to fail: %+v", report)
	}
}

func TestRecovered(t *testing.T) {
	m := newModel(t, 10, 3, 0)
	m.acknowledged(0)
	m.attempt(1, ledger.Attempt{Cause: ledger.CauseReset})
	m.apply(1, 10)
	m.attempt(2, ledger.Attempt{Status: 503, Cause: "shutting_down"})
	report := m.audit(t, each(m.events()))
	if !clean(report) || report.Recovered != 10 || report.Acknowledged != 10 || report.Stored != 20 {
		t.Errorf("%+v", report)
	}
	m.apply(2, 1) // a refused request's event is stored all the same
	if report := m.audit(t, each(m.events())); report.Unexpected != 1 {
		t.Errorf("stored though refused: %+v", report)
	}
}
