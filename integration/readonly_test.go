package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadOnlyFolder: check and backup read a folder that they cannot write, WAL included, or say
// what to do.
func TestReadOnlyFolder(t *testing.T) {
	shm := "events.db-shm"
	for name, test := range map[string]struct {
		running     bool
		kill        bool
		remove      string
		check, copy string // what they say, or have to name
	}{
		"stopped":            {check: "store: 3 events"},
		"killed":             {kill: true, check: "store: 3 events"},
		"killed, no shm":     {kill: true, remove: shm, check: "copy the folder", copy: "copy the folder"},
		"running, empty WAL": {running: true, check: "an aggregator is running"},
	} {
		t.Run(name, func(t *testing.T) {
			who := bound(t)
			data := dataFolder(t)
			a := start(t, data)
			a.store(t, "t", "a", "b", "c")
			switch {
			case test.kill:
				a.kill()
			case test.running:
				a.stop(t)
				start(t, data)
			default:
				a.stop(t)
			}
			if test.remove != "" {
				if err := os.Remove(filepath.Join(data, test.remove)); err != nil {
					t.Fatal(err)
				}
			}
			readOnlyFolder(t, data)
			try := func(args ...string) (ok bool, output string) {
				command := exec.CommandContext(t.Context(), binary, args...)
				command.SysProcAttr = who
				out, err := command.CombinedOutput()
				return err == nil, string(out)
			}
			if _, text := try("check", "-data", data); !strings.Contains(text, test.check) {
				t.Errorf("check: %s", text)
			}
			out := t.TempDir()
			ok, text := try("backup", "-data", data, "-to", filepath.Join(out, "events.db"))
			if ok != (test.copy == "") || !strings.Contains(text, test.copy) {
				t.Fatalf("backup: %v, %s", ok, text)
			}
			if !ok {
				return
			}
			if code, text := tool(t, "check", "-data", out); code != 0 || !strings.Contains(text, "store: 3 events") {
				t.Errorf("the copy: exit %d: %s", code, text)
			}
		})
	}
}

// readOnlyFolder takes the right to write from a folder and from the files in it, until the test
// ends.
func readOnlyFolder(t *testing.T, data string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, data) {
		info, err := os.Stat(path)
		if err == nil {
			err = os.Chmod(path, info.Mode()&^0o222)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.Chmod(path, info.Mode()); err != nil && !os.IsNotExist(err) {
				t.Error(fmt.Errorf("write it again: %w", err))
			}
		})
	}
}
