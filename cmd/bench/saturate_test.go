package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/bench/experiment/saturation"
	"sekali/bench/system/memoryserver"
	"sekali/internal/programs"
)

const saturationText = `name: narrow
question: How much goes through a narrow server?
search: {objective: 'p50<60ms,unknown=0', start: 80/s}
stream: {duplicates: 0.2}
load:
  events_per_request: 5
  phases:
    - {name: measured, rate: 1/s, duration: 400ms, measured: true}
`

// narrow is a server that works off 100 requests a second: quick while at most 30 ms of work waits,
// so that a load that was held up for a moment and catches up is not slow, and at most 40 ms do.
func narrow(t *testing.T) *httptest.Server {
	const work, quick, most = 10 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond
	events := memoryserver.New()
	var lock sync.Mutex
	var free time.Time // when what waits will be done
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/publish" {
			lock.Lock()
			waits := max(time.Until(free), 0) + work
			free = time.Now().Add(min(waits, most))
			lock.Unlock()
			if waits > quick {
				time.Sleep(100 * time.Millisecond)
			}
		}
		events.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

// TestSaturate searches on a server whose capacity is known, and draws the curve.
func TestSaturate(t *testing.T) {
	out := t.TempDir()
	exit, stdout, stderr := callBuilt(t, "saturate", "-scenario", write(t, "narrow.yaml", saturationText), "-aggregator", narrow(t).URL, "-out", out)
	dirs, err := filepath.Glob(filepath.Join(out, "runs", "saturate-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%v, %v\n%s%s", dirs, err, stdout, stderr)
	}
	record, err := saturation.Read(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	if reasons := invalid(record); record.Searches[0].RequestsPerS == nil && len(reasons) > 0 {
		// A busy machine: then that is what the search has to say.
		if exit != 3 || record.Searches[0].Error != saturation.ErrInvalid.Error() {
			t.Errorf("exit %d, %q\n%s%s", exit, record.Searches[0].Error, stdout, stderr)
		}
		t.Skipf("skipped: the probes were INVALID: %s", strings.Join(reasons, "; "))
	}
	if rate := record.Searches[0].RequestsPerS; rate == nil || *rate < 80 || *rate > 130 {
		t.Fatalf("exit %d, %+v\n%s%s", exit, record, stdout, stderr)
	}
	if again, err := saturation.Recompute(dirs[0], record); err != nil || text(t, again) != text(t, record) {
		t.Errorf("recomputed: %v\n%s\n%s", err, text(t, again), text(t, record))
	}
	svg, err := os.ReadFile(filepath.Join(dirs[0], record.Curve, "narrow.svg"))
	// Where the answer is low there are too few requests for a percentile.
	if err != nil || !strings.Contains(string(svg), "response time, ms (max)") || !strings.Contains(stdout, "curve: ") {
		t.Errorf("the curve: %v\n%s%s", err, stdout, stderr)
	}
	if exit != 0 && exit != 3 { // 3: a busy machine made part of the curve INVALID
		t.Errorf("exit %d\n%s%s", exit, stdout, stderr)
	}
	if _, err := os.Lstat(filepath.Join(dirs[0], "latest")); !os.IsNotExist(err) {
		t.Error("a link to the latest probe is left")
	}
}

// callBuilt runs the program as it is used: a test binary with the race detector, or of a tree that
// is being worked on, makes every run INVALID.
func callBuilt(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bench")
	if err := programs.Build(program, "", "bench"); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	c := exec.Command(program, args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

func invalid(r saturation.Record) []string {
	var reasons []string
	for _, a := range r.Searches {
		for _, p := range a.Probes {
			reasons = append(reasons, p.Invalid...)
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

func text(t *testing.T, value any) string {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSaturateUsage(t *testing.T) {
	scenario := write(t, "narrow.yaml", saturationText)
	for says, args := range map[string][]string{
		`objective "p99<INFms", column 5`:                {"-objective", "p99<INFms"},
		`objective "p99<5ms,p99<6ms", column 9`:          {"-objective", "p99<5ms,p99<6ms"},
		`"0x10/s" is not a rate`:                         {"-start", "0x10"},
		`"NaN/s" is not a rate`:                          {"-start", "NaN"},
		`"Inf/s" is not a rate`:                          {"-start", "Inf"},
		"a search starts at 1/s to 1e+06/s, not at 0.5":  {"-start", "0.5"},
		"1 to 10 searches are repeated, not 0":           {"-repeat", "0"},
		"a budget is above 0 and at most 24h0m0s, not 0": {"-budget", "0"},
		"not on the loopback":                            {"-aggregator", "http://192.0.2.1"},
		"narrow.yaml:3:22: \"p98\" is not one of":        {"-scenario", write(t, "narrow.yaml", strings.Replace(saturationText, "p50<", "p98<", 1))},
		"a search has neither cases nor a sweep":         {"-scenario", write(t, "narrow.yaml", saturationText+"cases: [{name: a}]\n")},
	} {
		out := t.TempDir()
		exit, stdout, stderr := call(append([]string{"saturate", "-scenario", scenario, "-aggregator", "http://127.0.0.1:1", "-out", out}, args...)...)
		if exit != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, exit, stdout, stderr)
		}
		if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
			t.Errorf("%q: leaves %v, %v", args, left, err)
		}
	}
}
