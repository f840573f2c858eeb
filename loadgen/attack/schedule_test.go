package attack

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

func TestSegments(t *testing.T) {
	cut := segments([]Phase{
		{Name: "warm-up", Rate: 50, Duration: time.Second},
		{Name: "steady", Rate: 100, Duration: 2 * time.Second},
		{Name: "closed", Clients: 4, Requests: 10},
		{Name: "closed for a time", Clients: 2, Duration: time.Second},
		{Name: "burst", Rate: 1000, Requests: 300},
		{Name: "after", Rate: 10, Duration: time.Second},
	})
	if len(cut) != 4 {
		t.Fatalf("%d segments", len(cut))
	}
	if first := cut[0]; !first.open || first.end != 250 || len(first.phases) != 2 {
		t.Errorf("%+v", first)
	}
	if cut[1].open || cut[1].end != 10 || cut[2].open || cut[2].end != unlimited {
		t.Errorf("%+v, %+v", cut[1], cut[2])
	}
	for _, c := range []struct {
		segment int
		request uint64
		due     time.Duration
		phase   int
	}{
		{0, 0, 0, 0},
		{0, 1, 20 * time.Millisecond, 0},
		{0, 49, 980 * time.Millisecond, 0},
		{0, 50, time.Second, 1},
		{0, 249, 2990 * time.Millisecond, 1},
		{3, 299, 299 * time.Millisecond, 4},
		{3, 300, 300 * time.Millisecond, 5}, // 300 at 1000/s last 0.3 s
		{3, 301, 400 * time.Millisecond, 5},
	} {
		s := &cut[c.segment]
		if due, phase := s.due(c.request), s.phaseOf(c.request).index; due != c.due || phase != c.phase {
			t.Errorf("segment %d request %d: due %v in phase %d, want %v in %d", c.segment, c.request, due, phase, c.due, c.phase)
		}
	}
}

// A schedule never runs backwards, and each phase has its rate.
func TestScheduleRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		phases := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Phase {
			p := Phase{Rate: rapid.Float64Range(0.5, 20_000).Draw(t, "rate")}
			if rapid.Bool().Draw(t, "by requests") {
				p.Requests = rapid.Uint64Range(1, 500).Draw(t, "requests")
			} else {
				p.Duration = time.Duration(rapid.Float64Range(1, 200).Draw(t, "periods") / p.Rate * 1e9)
			}
			return p
		}).Filter(func(p Phase) bool { return p.validate() == nil }), 1, 5).Draw(t, "phases")
		s := segments(phases)[0]
		var counts [5]uint64
		last := time.Duration(0)
		for i := range s.end {
			p := s.phaseOf(i)
			counts[p.index]++
			due := s.due(i)
			if due < last {
				t.Fatalf("request %d is due at %v, after one at %v", i, due, last)
			}
			if p.Duration > 0 && due >= p.start+p.Duration+time.Microsecond {
				t.Fatalf("request %d is due at %v, and its phase ends at %v", i, due, p.start+p.Duration)
			}
			last = due
		}
		for i, p := range phases {
			if counts[i] != p.planned() {
				t.Fatalf("phase %d has %d requests, planned %d", i, counts[i], p.planned())
			}
		}
	})
}

func TestPlanned(t *testing.T) {
	for _, c := range []struct {
		phase Phase
		want  uint64
	}{
		{Phase{Rate: 100, Duration: 290 * time.Millisecond}, 29}, // 28.999… in binary
		{Phase{Rate: 100, Duration: 299 * time.Millisecond}, 29},
		{Phase{Rate: 1.0 / 3, Duration: 9 * time.Second}, 3},
		{Phase{Rate: 100, Requests: 7}, 7},
		{Phase{Rate: 100, Duration: time.Second, Requests: 7}, 7},
		{Phase{Rate: 100, Duration: time.Second, Requests: 700}, 100},
	} {
		if got := c.phase.planned(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.phase, got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	s, err := stream.New(stream.Config{})
	if err != nil {
		t.Fatal(err)
	}
	w := ledger.NewWriter(&strings.Builder{})
	defer w.Close()
	good := func() Config {
		return Config{
			URL: "http://127.0.0.1:1", Stream: s, Ledger: w, EventsPerRequest: 10, Retry: DefaultRetry(),
			Phases: []Phase{{Name: "a", Rate: 1, Duration: time.Second}},
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"no stream":         func(c *Config) { c.Stream = nil },
		"no ledger":         func(c *Config) { c.Ledger = nil },
		"no events":         func(c *Config) { c.EventsPerRequest = 0 },
		"too many events":   func(c *Config) { c.EventsPerRequest = MaxEventsPerRequest + 1 },
		"encoding":          func(c *Config) { c.Encoding = "xml" },
		"compression":       func(c *Config) { c.Compression = "br" },
		"ack level":         func(c *Config) { c.AckLevel = "disk" },
		"URL without host":  func(c *Config) { c.URL = "http://" },
		"URL of a file":     func(c *Config) { c.URL = "file:///etc/passwd" },
		"no phases":         func(c *Config) { c.Phases = nil },
		"no load":           func(c *Config) { c.Phases[0].Rate = 0 },
		"both loads":        func(c *Config) { c.Phases[0].Clients = 1 },
		"negative rate":     func(c *Config) { c.Phases[0].Rate = -1 },
		"no end":            func(c *Config) { c.Phases[0].Duration = 0 },
		"negative duration": func(c *Config) { c.Phases[0].Duration = -1 },
		"shorter than one":  func(c *Config) { c.Phases[0].Duration = time.Millisecond },
		"too many requests": func(c *Config) { c.Phases[0].Rate, c.Phases[0].Duration = MaxRate, time.Hour },
		"too many clients":  func(c *Config) { c.Phases[0] = Phase{Clients: MaxClients + 1, Requests: 1} },
		"retry":             func(c *Config) { c.Retry.MaxElapsed = 0 },
		"timeout":           func(c *Config) { c.Timeout = -1 },
	} {
		c := good()
		spoil(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
}
