package crashimage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekali/bench/judge"
	"sekali/bench/pages/terminal"
	"sekali/bench/record"
	"sekali/bench/system/process"
	"sekali/internal/programs"
)

// SEKALI_FAULTS names the folder that `make faults` wants its table in; without it few images are
// tried of each kind.
var faultsDir = os.Getenv("SEKALI_FAULTS")

func times(few, many int) int {
	if faultsDir != "" {
		return many
	}
	return few
}

// program is the aggregator with the bounds of a test build, so that a short run begins segments,
// writes runs and copies the WAL.
var program string

var recorded []record.FaultSummary

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "crashimage")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "aggregator")
	if err := programs.Build(program, programs.CrashTag, "aggregator"); err != nil {
		return 1, err
	}
	code := m.Run()
	return code, writeTable()
}

// writeTable writes what was found, for people and for programs.
func writeTable() error {
	if faultsDir == "" || len(recorded) == 0 {
		return nil
	}
	f := record.Faults{Date: time.Now().UTC().Format(time.RFC3339), Machine: "crash images of recorded runs", Commit: "unknown", Faults: recorded}
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		f.Commit = string(bytes.TrimSpace(out))
	}
	var table bytes.Buffer
	if err := terminal.Faults(&table, f); err != nil {
		return err
	}
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(faultsDir, "crashimages.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(faultsDir, "crashimages.txt"), table.Bytes(), 0o644)
}

// life is one run of the aggregator on the recorded folder.
type life struct {
	inject   string        // what strace does to its syncs
	idle     time.Duration // before the load
	requests int           // after which it is killed …
	linger   time.Duration // … so long
}

// recorder runs lives on one folder and keeps the trace.
type recorder struct {
	dir, data string
	trace     *Trace
	next      atomic.Int64 // request
	answered  atomic.Int64
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: strace is not installed")
	}
	dir := t.TempDir()
	return &recorder{dir: dir, data: filepath.Join(dir, "data"), trace: NewTrace(filepath.Join(dir, "data"))}
}

// live records a life, and reports whether it came to listen.
func (r *recorder) live(t *testing.T, l life) bool {
	t.Helper()
	out, script := filepath.Join(r.dir, "trace"), filepath.Join(r.dir, "traced.sh")
	inject := ""
	if l.inject != "" {
		inject = "-e inject=" + l.inject
	}
	// -D: the process that is started is the aggregator, and not strace.
	text := fmt.Sprintf("#!/bin/sh\nexec strace -D -f -y -xx -s %d -o '%s' -e trace=%s %s '%s' \"$@\"\n", Longest, out, Calls, inject, program)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(t.Context(), process.Config{Binary: script, Data: r.data, Log: t.Output()})
	if err == nil {
		time.Sleep(l.idle)
		r.load(p, l.requests)
		time.Sleep(l.linger)
		p.Kill()
		<-p.Exited()
	}
	r.read(t, out)
	return err == nil
}

// read waits until strace has written its last lines, and reads them.
func (r *recorder) read(t *testing.T, out string) {
	t.Helper()
	for before := int64(-1); ; time.Sleep(100 * time.Millisecond) {
		info, err := os.Stat(out)
		if err != nil {
			t.Skip("skipped: strace cannot trace here: ", err)
		}
		if info.Size() == before {
			break
		}
		before = info.Size()
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := r.trace.Read(f); err != nil {
		t.Fatal(err)
	}
}

// load publishes until so many requests are acknowledged, or the aggregator is gone.
func (r *recorder) load(p *process.Process, requests int) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	until := r.answered.Load() + int64(requests)
	var all sync.WaitGroup
	for _, ack := range []string{"journal", "store", "journal"} {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for r.answered.Load() < until {
				status, err := publish(ctx, client, p.URL+"/publish?ack="+ack, int(r.next.Add(1)))
				switch {
				case err != nil:
					return
				case status < 300:
					r.answered.Add(1)
				default:
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
}

// publish sends a request whose number is its User-Agent. One in three is long.
func publish(ctx context.Context, client *http.Client, url string, request int) (int, error) {
	payload := strings.Repeat("x", 20+request%3/2*3000)
	var events []string
	for i := range eventsPerRequest {
		events = append(events, fmt.Sprintf(`{"topic":"t%d","event_id":"%s","timestamp":"2026-11-23T06:41:10Z","source":"s","payload":{"p":"%s"}}`, request%3, eventID(request, i), payload))
	}
	ask, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader("["+strings.Join(events, ",")+"]"))
	if err != nil {
		return 0, err
	}
	ask.Header.Set("Content-Type", "application/json")
	ask.Header.Set("User-Agent", fmt.Sprint("r", request))
	answer, err := client.Do(ask)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, errors.Join(err, answer.Body.Close())
}

// try makes images of the trace, cut behind the Op from, and audits each.
func (r *recorder) try(t *testing.T, f *record.FaultSummary, images, from int, rules Rules) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	for n := range images {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		span := len(r.trace.Ops) - from + 1
		if random.IntN(2) == 0 { // a start is short beside its load
			span = min(span, 80)
		}
		cut := from + random.IntN(span)
		dir := filepath.Join(r.dir, "image")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		acknowledged, err := r.trace.Write(dir, cut, rules, random)
		if err != nil {
			t.Fatal(err)
		}
		lost := audit(t, dir, acknowledged, f, fmt.Sprintf("seed %d, image %d, cut at %d of %d", seed, n, cut, len(r.trace.Ops)))
		if lost == 0 && n%10 == 0 {
			if err := check(dir); err != nil && rules == (Rules{}) {
				t.Errorf("seed %d, image %d: %v", seed, n, err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		f.Times++
	}
}

// audit adds to f what an image has lost, and returns how much.
func audit(t *testing.T, dir string, acknowledged []int, f *record.FaultSummary, which string) (lost int) {
	t.Helper()
	have, err := recoverImage(dir)
	f.Acknowledged += len(acknowledged) * eventsPerRequest
	if err != nil {
		lost = max(1, len(acknowledged)*eventsPerRequest)
		f.Lost += lost
		t.Logf("%s: %v", which, err)
		return lost
	}
	for _, request := range acknowledged {
		for i := range eventsPerRequest {
			if have.events[eventID(request, i)] == 0 {
				lost++
			}
		}
	}
	for id, n := range have.events {
		if n > 1 {
			f.Duplicated++
			t.Logf("%s: %s is there %d times", which, id, n)
		}
	}
	f.Lost += lost
	f.Unexpected += len(have.faults)
	f.Recovered += max(0, len(have.events)-len(acknowledged)*eventsPerRequest)
	if lost > 0 || len(have.faults) > 0 {
		t.Logf("%s: %d of %d acknowledged are lost; %v", which, lost, len(acknowledged)*eventsPerRequest, have.faults)
	}
	return lost
}

func note(t *testing.T, f record.FaultSummary) {
	t.Helper()
	recorded = append(recorded, f)
	if !judge.FaultHeld(f) {
		t.Errorf("%s: promised: %s; %+v", f.Fault, f.Promise, f)
	}
}

// requests is how many a life has acknowledged before it is killed.
const requests = 120

// TestFaultImagePowerCut: the power is cut at any moment of a run. Its controls are disks that
// ignore a sync.
func TestFaultImagePowerCut(t *testing.T) {
	r := newRecorder(t)
	if !r.live(t, life{requests: requests}) {
		t.Fatal("it did not start")
	}
	for _, of := range []struct {
		fault, promise string
		rules          Rules
		images         int
	}{
		{"image: power cut", record.NothingLost, Rules{}, times(20, 400)},
		{"image: power cut, fdatasync ignored", record.SomethingLost, Rules{NoDataSync: true}, times(10, 50)},
		{"image: power cut, folders' syncs ignored", record.SomethingLost, Rules{NoFolderSync: true}, times(10, 50)},
	} {
		f := record.FaultSummary{Fault: of.fault, Promise: of.promise}
		r.try(t, &f, of.images, 0, of.rules)
		note(t, f)
	}
}

// TestFaultImageKillThenPowerCut: a kill before a sync leaves what only memory has. The next start
// builds on it, and then the power is cut.
func TestFaultImageKillThenPowerCut(t *testing.T) {
	f := record.FaultSummary{Fault: "image: killed before a sync, then power cut", Promise: record.NothingLost}
	for n := range times(2, 10) {
		r := newRecorder(t)
		// Half of them die at the entry of any sync. The others are killed while a slow sync of the WAL
		// lets the journal, which has fdatasync, run ahead by segments: the next start may give back
		// those that the unsynced commit has applied.
		first := life{requests: 1000, inject: fmt.Sprint("fsync,fdatasync:signal=KILL:when=", 15+rand.IntN(60))}
		if n%2 == 0 {
			first = life{requests: 60 + rand.IntN(20), linger: time.Duration(rand.IntN(600)) * time.Millisecond, inject: "fsync:delay_enter=100000"}
		}
		r.live(t, first)
		from := len(r.trace.Ops)
		if !r.live(t, life{idle: 300 * time.Millisecond, requests: 20}) {
			t.Fatal("it did not start")
		}
		r.try(t, &f, times(20, 50), from, Rules{})
	}
	note(t, f)
}

// TestFaultImageFailedSyncThenPowerCut: some syncs fail, and Linux counts what they lost as clean.
// The aggregator goes on, also after a kill, and then the power is cut.
func TestFaultImageFailedSyncThenPowerCut(t *testing.T) {
	f := record.FaultSummary{Fault: "image: failed syncs, then power cut", Promise: record.NothingLost}
	failed := 0
	for range times(2, 10) {
		r := newRecorder(t)
		if !r.live(t, life{requests: requests, inject: fmt.Sprintf("fsync,fdatasync:error=EIO:when=%d+%d", 15+rand.IntN(10), 4+rand.IntN(6))}) {
			continue // the start's own sync failed
		}
		if !r.live(t, life{requests: 20}) {
			t.Fatal("it did not start")
		}
		for _, op := range r.trace.Ops {
			if op.kind == syncFailed {
				failed++
			}
		}
		r.try(t, &f, times(10, 50), 0, Rules{})
	}
	f.Seen = fmt.Sprintf("%d syncs failed", failed)
	if failed == 0 {
		t.Error("no sync failed")
	}
	note(t, f)
}
