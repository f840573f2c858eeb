package integration_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNotify: a supervisor is told when the aggregator serves, and when it stops.
func TestNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	a := start(t, dataFolder(t))
	told := func(want string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 100)
		if n, err := conn.Read(text); err != nil || string(text[:n]) != want {
			t.Errorf("%q, %v, want %s", text[:n], err, want)
		}
	}
	told("READY=1")
	a.stop(t)
	told("STOPPING=1")
}

// TestUnit: systemd takes the units.
func TestUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("skipped: there is no systemd-analyze")
	}
	for _, name := range []string{"sekali.service", "sekali-log.service"} {
		text := read(t, "../ops/"+name)
		for _, program := range []string{"aggregator", "sekali-log"} { // the tool wants one that is there
			text = strings.Replace(text, "/usr/bin/"+program, binary, 1)
		}
		unit := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(tool, "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), name+":") {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	}
}

// TestServiceSettings: the file that the unit names is one that the aggregator starts with.
func TestServiceSettings(t *testing.T) {
	if data := dataFolder(t); !start(t, data, "-config", "../ops/aggregator.conf").ready() {
		t.Error("not ready")
	}
}
