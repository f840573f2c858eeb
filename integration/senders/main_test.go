// Package senders_test runs other programs' senders, as their makers publish them, against a real
// aggregator: answers are lost, the aggregator is killed, and every event must be stored once.
package senders_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/bench/record"
)

// binary is the aggregator under test, loadgen what follows log files; TestMain builds them once.
var binary, loadgen string

const (
	// recordVariable names the file that the trials' record is written to; unset: none is.
	recordVariable = "SEKALI_SENDERS_RECORD"
	// unpackedVariable names a folder that packages were unpacked into (dpkg -x), without being
	// installed: some of these exclude each other.
	unpackedVariable = "SEKALI_SENDERS"
)

// unpacked is the value of unpackedVariable, set before the tests run.
var unpacked string

// outcome is what became of one sender's events.
type outcome = record.Sender

var (
	outcomesMu sync.Mutex
	outcomes   []outcome
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sekali-senders-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary, loadgen = filepath.Join(dir, "aggregator"), filepath.Join(dir, "loadgen")
	build := exec.Command("go", "build", "-trimpath", "-o", dir, "./cmd/aggregator", "./cmd/loadgen")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	file := os.Getenv(recordVariable)
	if unpacked = os.Getenv(unpackedVariable); unpacked != "" {
		if unpacked, err = filepath.Abs(unpacked); err == nil {
			_, err = os.Stat(unpacked) // else every sender in it would be skipped
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", unpackedVariable, err)
			return 1
		}
	}
	// The aggregator would take them for flags that it does not know.
	os.Unsetenv(recordVariable)
	os.Unsetenv(unpackedVariable)
	code := m.Run()
	if err := writeRecord(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// writeRecord writes what the trials came to, by sender.
func writeRecord(file string) error {
	if file == "" || len(outcomes) == 0 {
		return nil
	}
	commit, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("git rev-parse: %w", err)
	}
	slices.SortFunc(outcomes, func(a, b outcome) int { return strings.Compare(a.Sender, b.Sender) })
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return record.WriteSenders(filepath.Dir(file), record.Senders{Commit: strings.TrimSpace(string(commit)), Date: time.Now().UTC().Format(time.DateOnly), Senders: outcomes})
}
