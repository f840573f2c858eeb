package runner

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/bench/judge"
	"sekali/bench/record"
	"sekali/bench/system/memoryserver"
)

const small = `
name: short
question: Does it work?
stream: {seed: 1}
yardstick: bare
load:
  events_per_request: 1
  client: light
  phases:
    - {name: warm-up, clients: 8, requests: 50}
    - {name: measured, clients: 8, requests: 1500, measured: true}
`

// TestYardstick: a bare server gets the same load just before, and what it took is recorded and
// computed again.
func TestYardstick(t *testing.T) {
	t.Setenv(serveVariable, "honest")
	for _, ack := range []string{"memory", "store"} {
		o := runBench(t, context.Background(), Config{Scenarios: parse(t, small+"aggregator: {ack: "+ack+"}"), Aggregator: os.Args[0], Self: os.Args[0]})
		run := o.run(t, 0)
		s := run.Summary
		if !run.Held() || run.Yardstick == nil || run.Yardstick.Kind != "bare" || len(run.Yardstick.Phases) != 2 || run.Yardstick.Phases[1].Planned != 1500 {
			t.Fatalf("%+v\n%s", run.Yardstick, o.output)
		}
		if s.RateToBare == nil || *s.RateToBare <= 0 || s.ServiceTimeP99ToBare == nil || s.BareServiceTimeMS.Count != 1500 || s.GeneratorCeilingShare != nil || run.Load.Client != "light" {
			t.Errorf("%+v\n%s", s, o.output)
		}
		recomputed(t, o)
	}
	// A yardstick that no bare server can be started for is no result.
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, small), Aggregator: os.Args[0]})
	if len(o.index.Results) != 0 || !strings.Contains(o.output, "yardstick") {
		t.Errorf("%s", o.output)
	}
}

const read = short + `
readers:
  - {kind: topic, rate: 20/s, limit: 7}
  - {kind: seq, rate: 40/s}
  - {kind: time, rate: 10/s}
`

// TestReaders: pages are read from the first measured phase to the load's end, at their rates. A
// busy machine reads fewer, and its load ends later.
func TestReaders(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, read), Aggregator: server.URL})
	run := o.run(t, 0)
	if !run.Held() || expectation(t, run, "failed_reads").Got != "0" {
		t.Errorf("%s", o.output)
	}
	for kind, perS := range map[string]float64{"topic": 20, "seq": 40, "time": 10} {
		r, planned := run.Summary.ReaderOf(kind), uint64(perS*0.8)
		if r.Reads < planned/4 || r.Reads > 2*planned || r.Failed > 0 || r.WaitMS.Max == nil || kind != "time" && r.Events == 0 || kind == "topic" && r.Events > 7*r.Reads {
			t.Errorf("by %s: %+v, %d planned", kind, r, planned)
		}
	}
	recomputed(t, o)
}

// TestReaderThatFails: a page that is refused, or a stream that ends, fails the run.
func TestReaderThatFails(t *testing.T) {
	server := httptest.NewServer(memoryserver.New()) // whose streams end
	defer server.Close()
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, short+"readers: [{kind: stream, clients: 3}]"), Aggregator: server.URL})
	run := o.run(t, 0)
	if e := expectation(t, run, "failed_reads"); e.Held || e.Got != "3" || o.outcome != Failed && run.Validity.Valid {
		t.Errorf("%+v\n%s", e, o.output)
	}
	recomputed(t, o)
}

// recomputed holds a run to what its raw files come to once more.
func recomputed(t *testing.T, o outcome) {
	t.Helper()
	dir := filepath.Join(o.dir, o.index.Results[0].Dir)
	before, err := os.ReadFile(filepath.Join(dir, record.RunFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := judge.Finish(dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, record.RunFile))
	if err != nil || string(before) != string(after) {
		t.Errorf("computed again it is another: %v\n%s\n%s", err, before, after)
	}
	raw, err := record.ReadRaw(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Recompute(raw); err != nil {
		t.Error(err)
	}
}
