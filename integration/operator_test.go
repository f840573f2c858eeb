package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listening starts the aggregator with a pipe as its standard error and returns the pipe, what it
// has logged first, and its addresses.
func listening(t *testing.T, data string, flags ...string) (cmd *exec.Cmd, log *os.File, line map[string]any) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(binary, append([]string{"-data", data, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, flags...)...)
	cmd.Stderr, cmd.Env = w, append(os.Environ(), "SEKALI_NO_SUCH_FLAG=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	warned := false
	for lines := bufio.NewScanner(r); lines.Scan(); {
		line = map[string]any{}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		warned = warned || line["name"] == "SEKALI_NO_SUCH_FLAG"
		if line["msg"] == "listening" {
			if !warned {
				t.Error("a variable that is no flag is not named")
			}
			return cmd, r, line
		}
	}
	t.Fatal("it did not listen")
	return nil, nil, nil
}

// TestSignalsAndLog: what a terminal, a log rotation or a reader of the log that has gone sends
// ends nothing; a log that nobody takes holds nothing up; SIGTERM drains all the same.
func TestSignalsAndLog(t *testing.T) {
	for _, gone := range []bool{true, false} { // the reader of the log; else it is there and does not read
		data := dataFolder(t)
		cmd, log, line := listening(t, data, "-ack=memory", "-log-level=debug")
		if gone {
			log.Close()
		}
		address := "http://" + line["addr"].(string)
		for n, s := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTOU} {
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
			answer, err := http.Post(address+"/publish", "application/json", bytes.NewReader(arrayOf(n*100, 100)))
			if err != nil {
				t.Fatalf("after %v: %v", s, err)
			}
			answer.Body.Close()
			if answer.StatusCode != http.StatusAccepted {
				t.Errorf("after %v: %s", s, answer.Status)
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the log's reader gone %v: %v", gone, err)
		}
		log.Close()
		if code, out := tool(t, "check", "-data", data); code != 0 {
			t.Errorf("check: %d %s", code, out)
		}
		a := start(t, data)
		if c := a.drained(t); c.Unique != distinct(500) {
			t.Errorf("%+v, want %d stored", c, distinct(500))
		}
		a.stop(t)
	}
}

// TestHelpAndVersion: every command says what it takes, and exits 0.
func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"check", "-h"}, {"backup", "-h"}, {"healthcheck", "-h"}, {"--version"}, {"version"}} {
		if code, out := tool(t, args...); code != 0 || out == "" {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
	}
	for _, text := range []string{"30d", "36h"} {
		a := start(t, dataFolder(t), "-retention="+text)
		a.stop(t)
	}
	for _, text := range []string{"30x", "d", "-3d", "99999999d"} {
		if code, _ := tool(t, "-retention="+text, "-data", dataFolder(t)); code != 2 {
			t.Errorf("-retention=%s: exit %d", text, code)
		}
	}
}

// TestAdminBeyondTheLoopback: with a token it may be reached from elsewhere by those who have it,
// and metrics without profiles.
func TestAdminBeyondTheLoopback(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("the token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "-admin=0.0.0.0:0", "-data", dataFolder(t)); code != 2 || !strings.Contains(out, "-token-file") {
		t.Errorf("without a token: exit %d: %s", code, out)
	}
	_, log, line := listening(t, dataFolder(t), "-token-file="+token, "-metrics=0.0.0.0:0")
	defer log.Close()
	metrics := "http://" + strings.Replace(line["metrics"].(string), "[::]", "127.0.0.1", 1)
	for path, status := range map[string]int{"/metrics": 200, "/debug/pprof/": 404} {
		answer, err := http.Get(metrics + path) // over the loopback: let in without the token
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("%s: %s, want %d", path, answer.Status, status)
		}
	}
}

// TestToolsInAnImage: check and backup in a folder that holds nothing but the program and the data,
// as in an image FROM scratch.
func TestToolsInAnImage(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: chroot needs root")
	}
	root := dataFolder(t)
	data := filepath.Join(root, "data")
	a := start(t, data)
	const events, batch = 60_000, 2_000 // above 25 000 the sorting of check spilled to a file
	for n := 0; n < events; n += batch {
		a.mustPublish(t, arrayOf(n, batch), "journal")
	}
	a.drained(t)
	a.stop(t)
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "aggregator"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "-data", "/data"}, {"backup", "-data", "/data", "-to", "/copy.db"}, {"backup", "-data", "/data", "-to", "/"}} {
		cmd := exec.Command("/aggregator", args...)
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	if dated, err := filepath.Glob(filepath.Join(root, "sekali-*.db")); err != nil || len(dated) != 1 {
		t.Errorf("a backup into a folder: %v %v", dated, err)
	}
}

// TestBackupOverAnotherWAL: a backup that is copied beside the WAL of another life is refused, not
// silently undone by that WAL.
func TestBackupOverAnotherWAL(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	a.store(t, "t", "a")
	backup := filepath.Join(t.TempDir(), "copy.db")
	if code, out := tool(t, "backup", "-data", data, "-to", backup); code != 0 {
		t.Fatal(out)
	}
	a.store(t, "t", "b", "c")
	a.kill()
	text, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "events.db"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "-data", data, "-listen", "127.0.0.1:0", "-admin", ""); code != 1 || !strings.Contains(out, "belongs to another database") {
		t.Errorf("exit %d: %s", code, out)
	}
	if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "belongs to another database") {
		t.Errorf("check: exit %d: %s", code, out)
	}
}
