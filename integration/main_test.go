// Package integration_test runs the aggregator as its users do, as a process, and
// does to it what befalls processes: killed at random moments, stopped under load,
// started twice, started wrongly. It shares no code with the aggregator but the names
// of the places at which a test build dies.
package integration_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"sekali/internal/programs"
)

// binary is the aggregator under test, built once by TestMain and only read afterwards.
var binary string

// atOnce is how many tests that may run beside others do. Most of their time they wait: for a tick,
// a timeout, a restart. Those that measure times or memory run alone, before them.
const atOnce = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atOnce) // -parallel has the last word
	dir, err := os.MkdirTemp("", "sekali-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "aggregator")
	if err := programs.Build(binary, "", "aggregator"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
