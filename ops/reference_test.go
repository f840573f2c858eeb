package ops_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReferenceWantsSenders: without the unpacked senders tools/reference.sh would measure only
// those that are installed, two hours later. It refuses before it does anything else.
func TestReferenceWantsSenders(t *testing.T) {
	dir := t.TempDir() // without git: a script that goes on ends at its first question
	script, err := os.ReadFile("../tools/reference.sh")
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(dir, "tools"), 0o755), os.MkdirAll(filepath.Join(dir, "unpacked", "usr"), 0o755),
			os.Mkdir(filepath.Join(dir, "empty"), 0o755), os.WriteFile(filepath.Join(dir, "tools", "reference.sh"), script, 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	for senders, refused := range map[string]bool{"": true, "nowhere": true, "empty": true, "unpacked": false, filepath.Join(dir, "unpacked"): false} {
		command := exec.Command(filepath.Join(dir, "tools", "reference.sh"), "sitting")
		command.Env = append(os.Environ(), "SEKALI_SENDERS="+senders, "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
		out, err := command.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatalf("%q: %v, %s", senders, err, out)
		}
		if said := strings.Contains(string(out), "SEKALI_SENDERS"); said != refused || refused && (exit.ExitCode() != 2 || !strings.Contains(string(out), ".ci/senders DIR")) {
			t.Errorf("%q: code %d, %s", senders, exit.ExitCode(), out)
		}
		if _, err := os.Stat(filepath.Join(dir, "sitting")); err == nil {
			t.Errorf("%q: it has begun", senders)
		}
	}
}
