package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// asLoadgen makes the test binary run as loadgen, in a process of its own.
const asLoadgen = "SEKALI_TEST_AS_LOADGEN"

func TestMain(m *testing.M) {
	if os.Getenv(asLoadgen) != "" {
		main()
	}
	os.Exit(m.Run())
}

// server acknowledges everything, and counts the requests.
func server(t *testing.T) (url string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/publish" {
			requests.Add(1)
			w.WriteHeader(http.StatusAccepted)
			w.Write([]byte(`{"ack":"journal","accepted":` + string(rune('0'+bytes.Count(body, []byte("\n")))) + `,"rejected":0}`))
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

// A signal that asks for the end lets the summary out; others do nothing.
func TestSignals(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		ends   bool
	}{
		{"SIGTERM", syscall.SIGTERM, true}, {"SIGINT", syscall.SIGINT, true}, {"SIGHUP", syscall.SIGHUP, true},
		{"SIGPIPE", syscall.SIGPIPE, false}, {"SIGUSR1", syscall.SIGUSR1, false}, {"SIGUSR2", syscall.SIGUSR2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if signal.Ignored(c.signal) {
				t.Skip("skipped: who started the tests ignores it, as nohup does, and it stays ignored")
			}
			url, requests := server(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			command := exec.CommandContext(ctx, os.Args[0], "publish", "-url", url, "-count", "0", "-rate", "100", "-per-request", "1")
			command.Env = append(os.Environ(), asLoadgen+"=1")
			var stdout, stderr strings.Builder
			command.Stdout, command.Stderr = &stdout, &stderr
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			after := func(more int64) {
				for begun := requests.Load(); requests.Load() < begun+more && ctx.Err() == nil; {
					time.Sleep(time.Millisecond)
				}
			}
			after(3)
			command.Process.Signal(c.signal)
			if !c.ends {
				after(10)
				command.Process.Signal(syscall.SIGTERM)
			}
			if err := command.Wait(); err != nil || !strings.Contains(stdout.String(), `"acknowledged":`) {
				t.Errorf("%v, %q, %q", err, stdout.String(), stderr.String())
			}
		})
	}
}

// Complaints that nobody reads any more do not stop it.
func TestStandardErrorIsGone(t *testing.T) {
	url, _ := server(t)
	command := exec.CommandContext(t.Context(), os.Args[0], "publish", "-url", url, "-input", "-", "-per-request", "1")
	command.Env = append(os.Environ(), asLoadgen+"=1")
	command.Stdin = strings.NewReader(strings.Repeat("no JSON\n", 5) + `{"topic":"t","event_id":"1","timestamp":"2026-01-01T00:00:00Z"}` + "\n")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	read.Close()
	var stdout strings.Builder
	command.Stdout, command.Stderr = &stdout, write
	err = command.Run()
	write.Close()
	if command.ProcessState.ExitCode() != 1 || !strings.Contains(stdout.String(), `"acknowledged":1`) || !strings.Contains(stdout.String(), `"skipped":5`) {
		t.Errorf("%v, %q", err, stdout.String())
	}
}
