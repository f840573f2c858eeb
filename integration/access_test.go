package integration_test

import (
	"bytes"
	"context"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekali/bench/system/process"
)

// logged collects a process's log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait waits until the log has text n times.
func (l *logged) wait(t *testing.T, text string, n int) {
	t.Helper()
	for deadline := time.Now().Add(readyTimeout); strings.Count(l.String(), text) < n; time.Sleep(samplePeriod) {
		if time.Now().After(deadline) {
			t.Fatalf("the log has %q less than %d times:\n%s", text, n, l)
		}
	}
}

// startLogged is start with the log in hand.
func startLogged(t *testing.T, data string, flags ...string) (*aggregator, *logged) {
	t.Helper()
	var log logged
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	p, err := process.Start(context.Background(), process.Config{Binary: binary, Args: flags, Data: data, Log: &log})
	if err != nil {
		t.Fatal(err)
	}
	a := &aggregator{Process: p, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: requestTimeout}, log: &log}
	t.Cleanup(a.kill)
	if err := a.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return a, &log
}

// with returns the status of a request that carries token.
func (a *aggregator) with(t *testing.T, token string) int {
	t.Helper()
	status, _ := send(t, a.Addr, strings.Replace(get("/stats"), "Host: x\r\n", "Host: x\r\nAuthorization: Bearer "+token+"\r\n", 1))
	return status
}

// TestTokenIsReloadedOnHangup: SIGHUP takes the file's token in the old one's place; a file that is
// empty or gone changes nothing.
func TestTokenIsReloadedOnHangup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first-s3cret\n")
	a, log := startLogged(t, dataFolder(t), "-token-file", file)
	hangup := func(logs string, n int) {
		t.Helper()
		if err := a.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		log.wait(t, logs, n)
	}
	check := func(first, second int) {
		t.Helper()
		if f, s := a.with(t, "first-s3cret"), a.with(t, "second-s3cret"); f != first || s != second {
			t.Errorf("first token %d, second %d; want %d and %d", f, s, first, second)
		}
	}
	write("second-s3cret\n")
	check(200, 401)
	hangup("tokens reloaded", 1)
	check(401, 200)
	write(" \n")
	hangup("the tokens stay as they were", 1)
	check(401, 200)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	hangup("the tokens stay as they were", 2)
	check(401, 200)
	write("first-s3cret")
	hangup("tokens reloaded", 2)
	check(200, 401)
	a.stop(t)
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log has a token:\n%s", log)
	}
}

// TestDataIsForItsOwnerAlone: whatever the umask, the data folder and its folders are 0700 and
// every file is 0600, under load and after a stop; the log has nothing of what was published,
// refused or sent as a token.
func TestDataIsForItsOwnerAlone(t *testing.T) {
	umask := syscall.Umask(0)
	defer syscall.Umask(umask)
	for _, dedup := range []string{"runs", "table"} {
		t.Run(dedup, func(t *testing.T) {
			data := dataFolder(t)
			a, log := startLogged(t, data, "-dedup", dedup)
			for range 3 {
				for _, ack := range []string{"memory", "journal", "store"} {
					a.mustPublish(t, []byte(oneEvent("private-"+ack, `,"payload":"private"`)), ack)
				}
			}
			for _, bad := range []string{`{"private":1}`, `["private`, oneEvent("private", `,"payload":private`)} {
				if status, _, err := a.publish([]byte(bad), ""); err != nil || status < 400 {
					t.Errorf("%s: %d %v", bad, status, err)
				}
			}
			a.with(t, "private")
			if _, err := a.get("/events?private=1", "application/json"); err == nil {
				t.Error("an unknown parameter was taken")
			}
			checkModes(t, data)
			a.stop(t)
			checkModes(t, data)
			if strings.Contains(log.String(), "private") {
				t.Errorf("the log has what was sent:\n%s", log)
			}
		})
	}
}

func checkModes(t *testing.T, data string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = fs.ModeDir | 0o700
		} else {
			files++
		}
		if info.Mode() != want {
			t.Errorf("%s is %v, want %v", path, info.Mode(), want)
		}
		return nil
	})
	if err != nil || files < 3 {
		t.Errorf("%d files: %v", files, err)
	}
}
