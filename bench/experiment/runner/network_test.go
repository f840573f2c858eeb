package runner

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekali/bench/scenario"
	"sekali/bench/system/memoryserver"
)

// slow is a closed loop over a network on which a request of 20 events is under way for 10 ms and
// more: at 2 Mbit/s that is 2500 bytes, and it has twice as many.
const slow = `
name: slow
question: What does a publisher see?
stream: {seed: 1, duplicates: 0.2}
load:
  events_per_request: 20
  phases:
    - {name: warm-up, clients: 1, requests: 5}
    - {name: measured, clients: 1, requests: 60, measured: true}
`

// TestNetwork: publishers are held to the network, whose measures are recorded; the lab's own
// questions are not; nothing is left of it, also when a run is interrupted.
func TestNetwork(t *testing.T) {
	if why := cannotReach(scenario.Network{MbitPerS: 2}); why != nil {
		t.Skip("skipped: ", why)
	}
	t.Setenv(serveVariable, "honest")
	near := runBench(t, context.Background(), Config{Scenarios: parse(t, slow), Aggregator: os.Args[0]}).run(t, 0)
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, slow+"network: {mbit_per_s: 2}"), Aggregator: os.Args[0]})
	run := o.run(t, 0)
	n := run.Environment.Network
	if !run.Held() || near.Environment.Network != nil || n == nil || n.MbitPerS != 2 || n.MeasuredMbitPerS < 1.7 || n.MeasuredMbitPerS > 2.1 {
		t.Errorf("held %v, network %+v\n%s", run.Held(), n, o.output)
	}
	if far, here := run.Summary.ServiceTimeMS.P50, near.Summary.ServiceTimeMS.P50; far == nil || here == nil || *far < 10 || *here > *far/2 {
		t.Errorf("at 2 Mbit/s a request took %v ms, and %v ms without", far, here)
	}
	noNetworkLeft(t)

	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	o = runBench(t, ctx, Config{Scenarios: parse(t, strings.Replace(slow, "requests: 60", "duration: 60s", 1)+"network: {mbit_per_s: 2}"), Aggregator: os.Args[0]})
	if len(o.index.Results) != 0 || !strings.Contains(o.output, "interrupted") {
		t.Errorf("it was not interrupted:\n%s", o.output)
	}
	noNetworkLeft(t)
}

// TestNetworkAndRestart: the next process listens where publishers know it to be.
func TestNetworkAndRestart(t *testing.T) {
	if why := cannotReach(scenario.Network{MbitPerS: 100}); why != nil {
		t.Skip("skipped: ", why)
	}
	t.Setenv(serveVariable, "honest")
	o := runBench(t, context.Background(), Config{Aggregator: os.Args[0],
		Scenarios: parse(t, short+"network: {mbit_per_s: 100}\nfault: {kind: sigkill, at: 600ms, restart_after: 100ms}")})
	if run := o.run(t, 0); !run.Held() || run.Fault == nil || run.Fault.ReadyNS == 0 {
		t.Errorf("%+v\n%s", run.Fault, o.output)
	}
	noNetworkLeft(t)
}

func noNetworkLeft(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(fmt.Sprintf("/sys/class/net/sk%dw*", os.Getpid())); err != nil || len(left) > 0 {
		t.Errorf("left are %q, %v", left, err)
	}
}

// TestNetworkIsSkipped where it cannot be made, while other cases run. It is refused where the
// server is running already.
func TestNetworkIsSkipped(t *testing.T) {
	t.Setenv(serveVariable, "honest")
	t.Setenv("PATH", t.TempDir())
	cases := parse(t, short+"cases:\n  - {name: loopback}\n  - {name: far, network: {rtt: 1ms}}\n")
	o := runBench(t, context.Background(), Config{Scenarios: cases, Aggregator: os.Args[0]})
	if len(o.index.Results) != 1 || len(o.index.LeftOut) != 1 || !strings.Contains(o.output, "skipped: short/far: ip is not installed") {
		t.Errorf("%+v\n%s", o.index, o.output)
	}
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	var stderr strings.Builder
	if _, outcome := Run(context.Background(), Config{Scenarios: cases, Aggregator: server.URL, Repeat: 1, Out: t.TempDir()}, &stderr, &stderr); outcome != NotBegun ||
		!strings.Contains(stderr.String(), "network: a server that is running already listens where it is") {
		t.Errorf("outcome %d: %s", outcome, stderr.String())
	}
}
