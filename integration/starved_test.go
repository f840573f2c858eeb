package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/internal/programs"
)

const (
	// A starved generator runs for runSlice and stands still for stopSlice, again and again: a tenth
	// of a core.
	runSlice  = 10 * time.Millisecond
	stopSlice = 90 * time.Millisecond
	// labTimeout bounds one run of the lab, starved too.
	labTimeout = 90 * time.Second
)

// TestStarvedGeneratorIsInvalid: a generator that gets a tenth of a core, while the aggregator has
// all it wants, makes the run INVALID and does not make the aggregator look slow.
func TestStarvedGeneratorIsInvalid(t *testing.T) {
	dir := t.TempDir()
	lab := filepath.Join(dir, "bench")
	if err := programs.Build(lab, "", "bench"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "starved.yaml")
	text := "name: starved\nquestion: Who was slow?\nload:\n  events_per_request: 20\n  phases: [{name: measured, rate: 200/s, duration: 2s, measured: true}]\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, starved := range []bool{false, true} {
		out := filepath.Join(dir, map[bool]string{false: "fed", true: "starved"}[starved])
		exit, output := runLab(t, starved, lab, "run", "-scenario", file, "-aggregator", binary, "-out", out)
		var run struct {
			Validity struct{ Reasons []struct{ Code, Text string } }
			Summary  struct {
				Lag struct{ P90 *float64 } `json:"generator_lag_ms"`
			}
		}
		data, err := os.ReadFile(filepath.Join(out, "latest", "starved-1", "run.json"))
		if err == nil {
			err = json.Unmarshal(data, &run)
		}
		if err != nil {
			t.Fatalf("starved %v: exit %d, %v\n%s", starved, exit, err, output)
		}
		if run.Summary.Lag.P90 == nil {
			t.Fatalf("starved %v: exit %d, hardly a request was sent: %q\n%s", starved, exit, run.Validity.Reasons, output)
		}
		t.Logf("starved %v: exit %d, lag p90 %.1f ms, %q", starved, exit, *run.Summary.Lag.P90, run.Validity.Reasons)
		blamed := strings.Contains(fmt.Sprint(run.Validity.Reasons), "generator_")
		// A machine that is busy may starve the fed one too: that is no failure of the lab.
		if starved && (exit != 3 || !blamed) {
			t.Errorf("starved: exit %d, reasons %q\n%s", exit, run.Validity.Reasons, output)
		}
		busy := strings.Contains(fmt.Sprint(run.Validity.Reasons), "others_took_cpu")
		if !starved && blamed && !busy && *run.Summary.Lag.P90 < float64(runSlice.Milliseconds()) {
			t.Errorf("fed: %q", run.Validity.Reasons)
		}
	}
}

// runLab runs the lab's program to its end and returns its exit code.
func runLab(t *testing.T, starved bool, program string, args ...string) (exit int, output string) {
	t.Helper()
	var out strings.Builder
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	timeout := time.After(labTimeout)
	for {
		select {
		case <-ended:
			return command.ProcessState.ExitCode(), out.String()
		case <-timeout:
			_ = command.Process.Kill()
			<-ended
			t.Fatalf("no end within %s:\n%s", labTimeout, out.String())
		case <-time.After(runSlice):
		}
		if starved { // the process may end meanwhile: the signals then fail
			_ = command.Process.Signal(syscall.SIGSTOP)
			time.Sleep(stopSlice)
			_ = command.Process.Signal(syscall.SIGCONT)
		}
	}
}
