package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A follower that is killed again and again, while its log is written and
// rotated, has each line stored once.
func TestAFollowerIsKilled(t *testing.T) {
	var mu sync.Mutex
	stored := map[string]string{}
	conflicts := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/publish" {
			return
		}
		body, _ := io.ReadAll(r.Body)
		accepted := 0
		mu.Lock()
		for line := range strings.Lines(string(body)) {
			var e struct {
				ID      string `json:"event_id"`
				Payload struct{ Text string }
			}
			json.Unmarshal([]byte(line), &e)
			if before, known := stored[e.ID]; known && before != e.Payload.Text {
				conflicts++
			}
			stored[e.ID] = e.Payload.Text
			accepted++
		}
		mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"ack":"journal","accepted":%d,"rejected":0}`, accepted)
	}))
	defer server.Close()
	folder := t.TempDir()
	path := filepath.Join(folder, "app.log")
	start := func() *exec.Cmd {
		command := exec.CommandContext(t.Context(), os.Args[0], "publish", "-url", server.URL, "-input", path, "-lines", "-topic", "t",
			"-follow", "-state", filepath.Join(folder, "state"), "-per-request", "7")
		command.Env = append(os.Environ(), asLoadgen+"=1")
		command.Stderr = t.Output()
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		return command
	}

	var written []string
	write := func(n int) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range n {
			line := fmt.Sprintf("%s line %d", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), len(written)/2) // each twice, nearly
			if rand.IntN(4) == 0 {
				line = fmt.Sprintf("\tat frame %d", len(written))
			}
			written = append(written, line)
			fmt.Fprintln(f, line)
		}
	}
	rotations := []func(){
		func() {},
		func() { os.Rename(path, fmt.Sprintf("%s.%d", path, len(written))) },
		func() {
			text, _ := os.ReadFile(path)
			os.WriteFile(fmt.Sprintf("%s.%d", path, len(written)), text, 0o600)
			os.Truncate(path, 0)
		},
	}
	for round := range 12 {
		follower := start()
		for range 4 {
			write(1 + rand.IntN(40))
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		}
		follower.Process.Signal(syscall.SIGKILL)
		follower.Wait()
		write(3)
		time.Sleep(10 * time.Millisecond) // the dates of files tell them apart
		rotations[round%len(rotations)]()
		write(3)
	}
	follower := start()
	complete := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(stored) >= len(written)
	}
	for begun := time.Now(); !complete() && time.Since(begun) < 20*time.Second; {
		time.Sleep(20 * time.Millisecond)
	}
	follower.Process.Signal(syscall.SIGTERM)
	if err := follower.Wait(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	var got []string
	for _, text := range stored {
		got = append(got, text)
	}
	slices.Sort(got)
	slices.Sort(written)
	if !slices.Equal(got, written) || conflicts > 0 {
		t.Errorf("%d stored of %d written, %d conflicts", len(got), len(written), conflicts)
	}
}
