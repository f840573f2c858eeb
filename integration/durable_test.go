package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// What strace -f -y says of the calls that matter: who made them, and of what.
var (
	made   = regexp.MustCompile(`^\d+ +(?:mkdirat\([^"]*"([^"]+)"|openat\([^"]*"([^"]+)", [A-Z_|]*O_CREAT)`)
	syncs  = regexp.MustCompile(`^(\d+) +f(?:data)?sync\(\d+<([^>]*)>`)
	synced = regexp.MustCompile(`^(\d+) .*f(?:data)?sync.* = 0$`)
)

// TestNamesAreDurable: before an acknowledgement goes out from a new data folder in a new folder,
// each folder and file that was made for it has its name synced too, in the folder above.
func TestNamesAreDurable(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("skipped: strace is not installed")
	}
	dir := t.TempDir()
	for _, ack := range []string{"journal", "store"} {
		t.Run(ack, func(t *testing.T) {
			trace, script := filepath.Join(dir, ack+".trace"), filepath.Join(dir, ack+".sh")
			// -D: the process that is started is the aggregator, and not strace.
			text := fmt.Sprintf("#!/bin/sh\nexec strace -D -f -y -s 16 -o '%s' -e trace=mkdirat,openat,fsync,fdatasync,write '%s' \"$@\"\n", trace, binary)
			if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(dir, ack, "new", "data")
			a, err := launch(t, script, data)
			if err != nil {
				if text, _ := os.ReadFile(trace); len(text) == 0 {
					t.Skip("skipped: strace cannot trace here: ", err)
				}
				t.Fatal(err)
			}
			a.mustPublish(t, []byte(oneEvent("1")), ack)
			a.stop(t)
			calls := before(t, trace, "\"HTTP/1.1 20")
			checkNames(t, calls, []string{filepath.Join(dir, ack), filepath.Join(dir, ack, "new"), data,
				filepath.Join(data, "events.db"), filepath.Join(data, "dedup"), filepath.Join(data, "journal"), filepath.Join(data, "journal", fmt.Sprintf("%020d.log", 1))})
		})
	}
}

// before returns the calls of a trace before the first one that says so; strace may write its last
// lines after the process has ended.
func before(t *testing.T, trace, says string) []string {
	t.Helper()
	for end := time.Now().Add(requestTimeout); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, says) }); i >= 0 {
			return lines[:i]
		}
		if time.Now().After(end) {
			t.Fatalf("no %s in %d lines of trace", says, len(lines))
		}
	}
}

// checkNames reports each of the names that these calls do not make, or do not sync afterwards, in
// the folder above.
func checkNames(t *testing.T, calls []string, names []string) {
	t.Helper()
	durable := map[string]bool{}   // those that are made
	syncing := map[string]string{} // by thread, which other calls may interrupt in the trace
	for _, call := range calls {
		if m := made.FindStringSubmatch(call); m != nil {
			if name := m[1] + m[2]; !durable[name] {
				durable[name] = false
			}
		}
		if m := syncs.FindStringSubmatch(call); m != nil {
			syncing[m[1]] = m[2]
		}
		if m := synced.FindStringSubmatch(call); m != nil {
			for name := range durable {
				durable[name] = durable[name] || filepath.Dir(name) == syncing[m[1]]
			}
		}
	}
	for _, name := range names {
		if is, ok := durable[name]; !is {
			t.Errorf("%s: made %v, and its name not durable", name, ok)
		}
	}
}
