// Package programs builds the repository's programs for tests that run them.
package programs

import (
	"fmt"
	"os"
	"os/exec"
)

// CrashTag is the build tag of a program that can die at named places.
const CrashTag = "sekali_crash"

// Build builds commands ("aggregator") into a file, or into a folder whose name ends with a slash.
// All tests build with the settings of `make build`, and so share what is compiled once: SQLite
// takes a minute for each other setting. Without the race detector, for a program under test is the
// one that is shipped. The name of the commit is left out: a tree that is being worked on would
// make the lab's runs INVALID.
func Build(output, tags string, commands ...string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", tags, "-o", output}
	for _, command := range commands {
		args = append(args, "sekali/cmd/"+command)
	}
	build := exec.Command("go", args...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return nil
}
