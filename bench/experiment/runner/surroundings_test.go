package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/judge"
	"sekali/bench/labtest/machinetest"
	"sekali/bench/record"
	"sekali/bench/scenario"
)

const (
	// labVariable makes the test binary a lab that runs a scenario once, into the folder it names.
	labVariable = "SEKALI_TEST_LAB"
	// scenarioVariable and aggregatorVariable are what it runs, and the program that it starts.
	scenarioVariable   = "SEKALI_TEST_SCENARIO"
	aggregatorVariable = "SEKALI_TEST_PROGRAM"
)

func runLab(out string) int {
	// Its children are aggregators.
	os.Unsetenv(labVariable)
	asked, err := scenario.Parse("lab.yaml", []byte(os.Getenv(scenarioVariable)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return int(NotBegun)
	}
	_, outcome := Run(context.Background(), Config{Scenarios: []*scenario.Scenario{asked}, Aggregator: os.Getenv(aggregatorVariable), Out: out, Repeat: 1}, os.Stdout, os.Stderr)
	return int(outcome)
}

// lab is a lab as a process of its own.
type lab struct {
	first   string // what its shell obeys before; "": nothing
	program string // the aggregator; "": the honest one
	disturb func(t *testing.T, pid int, done <-chan struct{})
}

const closedLoop = `
name: closed
question: Does it see what is done to it?
stream: {seed: 1, duplicates: 0.2}
load:
  events_per_request: 1
  phases:
    - {name: measured, clients: 1, duration: 2s, measured: true}
`

// start starts the lab, which writes its results into out; it is to be waited for.
func (l lab) start(t *testing.T, out, text string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	if l.first == "" {
		l.first = ":"
	}
	if l.program == "" {
		l.program = os.Args[0]
	}
	command := exec.Command("sh", "-c", l.first+` && exec "$0"`, os.Args[0])
	command.Env = append(os.Environ(), labVariable+"="+out, scenarioVariable+"="+text, aggregatorVariable+"="+l.program, serveVariable+"=honest")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said := &strings.Builder{}
	command.Stdout, command.Stderr = said, said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return command, said
}

// measure runs the lab and returns its only result.
func (l lab) measure(t *testing.T, text string) record.Run {
	t.Helper()
	out := t.TempDir()
	command, said := l.start(t, out, text)
	ended := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if l.disturb != nil {
			l.disturb(t, command.Process.Pid, ended)
		}
	}()
	err := command.Wait()
	close(ended)
	<-stopped
	folders, openErr := record.Open(filepath.Join(out, runsDir))
	if openErr != nil || len(folders) != 1 {
		t.Fatalf("%v, %v, %d results\n%s", err, openErr, len(folders), said.String())
	}
	return folders[0].Run
}

// measureOthers is measure until it is known what others took, a few times at most: a machine that
// is busy elsewhere too can hold up the lab's samples until they do not cover the window.
func (l lab) measureOthers(t *testing.T, text string) (run record.Run) {
	t.Helper()
	for range 3 {
		if run = l.measure(t, text); run.Summary.OtherCPUShare != nil {
			break
		}
		t.Logf("once more: %s", run.Validity)
	}
	return run
}

func invalidBy(run record.Run, code string) string {
	at := slices.IndexFunc(run.Validity.Reasons, func(r record.Reason) bool { return r.Code == code })
	if at < 0 {
		return ""
	}
	return run.Validity.Reasons[at].Text
}

// TestOthersOnThePinnedCore: pinned to a core, the lab still sees the loop that has it busy, and in
// a load of a fifth of a second too.
func TestOthersOnThePinnedCore(t *testing.T) {
	pin := machinetest.Pin(t, 0)
	machinetest.Busy(t, pin)
	for name, text := range map[string]string{"a load of 2 s": closedLoop, "a short one": strings.Replace(closedLoop, "2s", "200ms", 1)} {
		run := lab{first: pin}.measureOthers(t, text)
		if why := invalidBy(run, judge.OthersTook); !strings.Contains(why, "of the cores that the run may use (0)") {
			t.Errorf("%s: %s, others had %v", name, run.Validity, run.Summary.OtherCPUShare)
		}
	}
}

// TestOthersWhereTheAggregatorIsPinned: the cores are those of both, also where it has fewer.
func TestOthersWhereTheAggregatorIsPinned(t *testing.T) {
	run := lab{program: wrapped(t, machinetest.Pin(t, 0))}.measureOthers(t, strings.Replace(closedLoop, "2s", "200ms", 1))
	s := run.Surroundings
	if s == nil || s.AggregatorAffinity != "0" || s.Cores != run.Environment.Affinity || s.OthersUnknown != "" || run.Summary.OtherCPUShare == nil {
		t.Errorf("%+v, others %v", s, run.Summary.OtherCPUShare)
	}
}

// wrapped is an aggregator whose shell obeys first.
func wrapped(t *testing.T, first string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aggregator")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+first+" && exec "+os.Args[0]+` "$@"`+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestThrottled: a CPU quota that held back the lab, or the aggregator alone, makes the run
// INVALID; without one the same run is not blamed.
func TestThrottled(t *testing.T) {
	for name, of := range map[string]func(t *testing.T) lab{
		"both": func(t *testing.T) lab {
			return lab{first: machinetest.Within(machinetest.Quota(t, 30*time.Millisecond))}
		},
		"the aggregator": func(t *testing.T) lab {
			return lab{program: wrapped(t, machinetest.Within(machinetest.Quota(t, 5*time.Millisecond)))}
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := of(t).measure(t, closedLoop)
			if why := invalidBy(run, judge.Throttled); !strings.Contains(why, "a CPU quota held the run back in") {
				t.Errorf("%s, %+v", run.Validity, run.Surroundings)
			}
		})
	}
	t.Run("no quota", func(t *testing.T) {
		run := lab{}.measure(t, closedLoop)
		s := run.Summary
		if s.ThrottledPeriods == nil || strings.HasPrefix(run.Environment.CPUQuota, "max") && *s.ThrottledPeriods > 0 {
			t.Errorf("%s, %+v", run.Validity, run.Surroundings)
		}
	})
}

// TestGeneratorStopped: a generator that is stopped for 70 of every 200 ms has no stall that is
// long, and in a closed loop nothing is late; the sum of its stalls is seen.
func TestGeneratorStopped(t *testing.T) {
	stop := func(t *testing.T, pid int, done <-chan struct{}) {
		for {
			for _, step := range []struct {
				signal syscall.Signal
				next   time.Duration
			}{{syscall.SIGSTOP, 70 * time.Millisecond}, {syscall.SIGCONT, 130 * time.Millisecond}} {
				_ = syscall.Kill(pid, step.signal)
				select {
				case <-done:
					return
				case <-time.After(step.next):
				}
			}
		}
	}
	run := lab{disturb: stop}.measure(t, closedLoop)
	share := run.Summary.GeneratorStalledShare
	if why := invalidBy(run, judge.GeneratorStalled); why == "" || share == nil || *share < 0.2 {
		t.Fatalf("%s, stalled %v, longest %d", run.Validity, share, run.Generator.LongestStallNS)
	}
	run = lab{}.measure(t, closedLoop)
	// A busy machine stalls it too, and less.
	if alone := run.Summary.GeneratorStalledShare; alone == nil || *alone >= *share {
		t.Errorf("undisturbed: stalled %v, stopped: %v", alone, *share)
	}
}
