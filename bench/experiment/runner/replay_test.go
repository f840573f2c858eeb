package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekali/bench/record"
	"sekali/bench/system/memoryserver"
	"sekali/loadgen/ledger"
)

// recorder keeps each request as it came, in a file of its number; a retry has to be the same to
// the byte.
type recorder struct {
	dir  string
	next http.Handler
}

func (r recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if request.URL.Path == "/publish" {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		whole := append([]byte(request.URL.String()+" "+request.Header.Get("Content-Type")+"\n"), body...)
		path := filepath.Join(r.dir, "request-"+request.Header.Get("Sekali-Request"))
		if before, err := os.ReadFile(path); err == nil && !bytes.Equal(before, whole) {
			http.Error(w, "a retry differs from its request", http.StatusBadRequest)
			return
		}
		// A SIGKILL must not leave half of it: the retry would look different.
		half := path + ".half"
		if err := errors.Join(os.WriteFile(half, whole, 0o600), os.Rename(half, path)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	r.next.ServeHTTP(w, request)
}

// sent are the requests of a result, by the name of the recorder's file.
func (o outcome) sent(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(o.dir, dataDir, o.index.Results[0].Dir, "request-*[0-9]"))
	if err != nil {
		t.Fatal(err)
	}
	sent := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sent[filepath.Base(file)] = string(text)
	}
	return sent
}

// planned are the ledger's planned columns, a line a request: its number, its phase, and when it
// was due after the first one. That itself is due when the attack is ready, some microseconds after
// its start.
func (o outcome) planned(t *testing.T) []string {
	t.Helper()
	file, err := os.Open(filepath.Join(o.dir, o.index.Results[0].Dir, record.RequestsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	due, first := map[uint64]ledger.Attempt{}, int64(0)
	for attempt, err := range ledger.Read(file) {
		if err != nil {
			t.Fatal(err)
		}
		due[attempt.Request] = attempt
		if attempt.Request == 0 {
			first = attempt.PlannedNS
		}
	}
	var lines []string
	for request, attempt := range due {
		lines = append(lines, fmt.Sprintf("%06d %d %d", request, attempt.Phase, attempt.PlannedNS-first))
	}
	slices.Sort(lines)
	return lines
}

// TestReplay runs a kill, and replays it twice from its run.json alone.
func TestReplay(t *testing.T) {
	t.Setenv(serveVariable, "records")
	text := strings.Replace(short, "seed: 1,", "seed: 99, payload_bytes: 300,", 1) +
		"fault: {kind: sigkill, at: 600ms, restart_after: 100ms}\ncases:\n  - {name: one, aggregator: {batch_events: 7}}\n  - {name: other}\n"
	scenarios := parse(t, text)
	scenarios[0].Cases = scenarios[0].Cases[:1]
	config := Config{Scenarios: scenarios, Aggregator: os.Args[0], KeepData: true}
	first := runBench(t, context.Background(), config)
	want, wantPlanned := first.sent(t), first.planned(t)
	if len(want) != 100 || len(wantPlanned) != 100 {
		t.Fatalf("%d requests, %d planned:\n%s", len(want), len(wantPlanned), first.output)
	}
	// Alone: nothing else of the folder, and no scenario file.
	alone := filepath.Join(t.TempDir(), record.RunFile)
	recorded, err := os.ReadFile(filepath.Join(first.dir, first.index.Results[0].Dir, record.RunFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, recorded, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again := Config{Aggregator: os.Args[0], KeepData: true}
		if _, err := again.Replay(alone); err != nil {
			t.Fatal(err)
		}
		o := runBench(t, context.Background(), again)
		sent := o.sent(t)
		for name := range want {
			if sent[name] != want[name] {
				t.Fatalf("%s is\n%.400s\nand was\n%.400s", name, sent[name], want[name])
			}
		}
		if planned := o.planned(t); len(sent) != len(want) || !slices.Equal(planned, wantPlanned) {
			t.Errorf("%d requests, planned\n%v\nand was\n%v", len(sent), planned, wantPlanned)
		}
		run, original := o.run(t, 0), first.run(t, 0)
		if run.Scenario.Text != text || run.Scenario.Case != "one" || run.Stream != original.Stream ||
			!slices.Equal(run.Aggregator.Flags, original.Aggregator.Flags) || !slices.Contains(run.Aggregator.Flags, "-batch-events=7") {
			t.Errorf("%+v\n%+v", run.Scenario, run.Aggregator)
		}
		if f := run.Fault; f == nil || f.Kind != "sigkill" || f.AtNS < 6e8 || f.RestartedNS-f.ExitedNS < 1e8 {
			t.Errorf("fault: %+v", f)
		}
	}
}

// TestReplayRefuses what would be another run, each for its reason and before anything is started.
func TestReplayRefuses(t *testing.T) {
	server := httptest.NewServer(memoryserver.New())
	defer server.Close()
	o := runBench(t, context.Background(), Config{Scenarios: parse(t, short), Aggregator: server.URL})
	good := o.run(t, 0)
	good.Aggregator.External = false
	good.Aggregator.Flags = []string{"-ack=journal"}
	good.Stream.Seed = 1 // the runner changes it for a server that goes on
	program := Config{Aggregator: os.Args[0]}
	for name, test := range map[string]struct {
		config Config
		change func(*record.Run)
		says   string // "": not refused
	}{
		"control":          {program, func(*record.Run) {}, ""},
		"profiled":         {program, func(r *record.Run) { r.Aggregator.Flags = append(r.Aggregator.Flags, profileFlag) }, ""},
		"external":         {program, func(r *record.Run) { r.Aggregator.External = true }, "a server that was running already"},
		"onto a server":    {Config{Aggregator: server.URL}, func(*record.Run) {}, "-aggregator must be a program"},
		"other seed":       {program, func(r *record.Run) { r.Stream.Seed++ }, "its stream is {Seed:2"},
		"other default":    {program, func(r *record.Run) { r.Stream.PayloadBytes = 151 }, "PayloadBytes:151"},
		"other load":       {program, func(r *record.Run) { r.Load.EventsPerRequest = 21 }, "its load is {EventsPerRequest:21"},
		"other ack":        {program, func(r *record.Run) { r.Aggregator.Ack = "store" }, "its ack level is store"},
		"other flags":      {program, func(r *record.Run) { r.Aggregator.Flags = []string{"-dedup=flat"} }, `its flags are ["-dedup=flat"]`},
		"other rate":       {program, func(r *record.Run) { r.Phases[1].Rate = 101 }, "rate 101/s"},
		"other fault":      {program, func(r *record.Run) { r.Fault = &record.FaultTimes{Kind: "sigkill"} }, "its fault is sigkill"},
		"other network":    {program, func(r *record.Run) { r.Environment.Network = &record.Network{RTTMS: 20} }, "its network is 20 ms there and back"},
		"no such case":     {program, func(r *record.Run) { r.Scenario.Case = "third" }, `has no case "short/third"`},
		"other name":       {program, func(r *record.Run) { r.Scenario.Name = "long" }, `its scenario "short" has no case "long"`},
		"unreadable now":   {program, func(r *record.Run) { r.Scenario.Text += "weather: fine\n" }, "scenario:10:1: unknown field"},
		"another question": {program, func(r *record.Run) { r.Scenario.Question = "Why?" }, "asks"},
	} {
		run := good
		run.Phases = slices.Clone(good.Phases)
		test.change(&run)
		dir := t.TempDir()
		if err := record.WriteRun(dir, run); err != nil {
			t.Fatal(err)
		}
		_, err := test.config.Replay(filepath.Join(dir, record.RunFile))
		if test.says == "" {
			if err != nil || test.config.Profile != (name == "profiled") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "cannot be replayed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"another version": `{"format": 1}`, "not JSON": "{", "an unknown field": `{"format": 2, "moon": "full"}`} {
		path := filepath.Join(t.TempDir(), record.RunFile)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := program.Replay(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := program.Replay("/nonexistent/run.json"); err == nil {
		t.Error("a missing file was replayed")
	}
}
