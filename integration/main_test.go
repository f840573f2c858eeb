// Package integration_test runs the aggregator as its users do, as a process, and
// does to it what befalls processes: killed at random moments, stopped under load,
// started twice, started wrongly. It shares no code with the aggregator but the names
// of the places at which a test build dies.
package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// binary is the aggregator under test, built once by TestMain and only read afterwards.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sekali-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "aggregator")
	// As `make build` does, so that the two share the build cache.
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/aggregator")
	build.Dir = ".."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}
