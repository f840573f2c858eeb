package integration_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekali/bench/system/process"
)

const (
	// readyTimeout bounds start and recovery; the lab measures how long it takes, a test only that it
	// ends.
	readyTimeout = 30 * time.Second
	// stopTimeout is over the aggregator's own shutdown budget of 20 s.
	stopTimeout = 25 * time.Second
	// drainTimeout bounds the wait for an empty queue.
	drainTimeout = 30 * time.Second
	// requestTimeout bounds one request, even while a disk is busy with everything else.
	requestTimeout = 20 * time.Second
	// samplePeriod is how often the counters are checked under load.
	samplePeriod = 5 * time.Millisecond
)

// aggregator is a running process and a client of its own for it.
type aggregator struct {
	*process.Process
	client *http.Client
	log    *logged
}

// start runs the aggregator on data until the test ends, and returns once it is ready.
func start(t *testing.T, data string, flags ...string) *aggregator {
	t.Helper()
	a := startUnready(t, data, flags...)
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	if err := a.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return a
}

func startUnready(t *testing.T, data string, flags ...string) *aggregator {
	t.Helper()
	a, err := launch(t, binary, data, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// launch runs a program as the aggregator. It may end at once, which is the error.
func launch(t *testing.T, program, data string, flags ...string) (*aggregator, error) {
	t.Helper()
	return launchIn(t, nil, program, data, flags...)
}

// launchIn is launch with more in its environment.
func launchIn(t *testing.T, environ []string, program, data string, flags ...string) (*aggregator, error) {
	t.Helper()
	log := &logged{}
	p, err := process.Start(context.Background(), process.Config{Binary: program, Args: flags, Data: data, Environ: environ, Log: io.MultiWriter(t.Output(), log)})
	if err != nil {
		return nil, err
	}
	// Proxy stays nil: the environment must not come between.
	transport := &http.Transport{MaxIdleConnsPerHost: publishers}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		p.Kill()
		<-p.Exited()
	})
	return &aggregator{Process: p, client: &http.Client{Transport: transport, Timeout: requestTimeout}, log: log}, nil
}

// kill ends the process with SIGKILL and waits until it is gone.
func (a *aggregator) kill() {
	a.Kill()
	<-a.Exited()
}

// stop ends the process with SIGTERM; anything but exit code 0 in time fails the test.
func (a *aggregator) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if _, err := a.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// publish posts a JSON body and returns the status and the body of the answer. An
// empty ack leaves the level to the aggregator.
func (a *aggregator) publish(body []byte, ack string) (int, string, error) {
	path := "/publish"
	if ack != "" {
		path += "?ack=" + ack
	}
	answer, err := a.client.Post(a.URL+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// mustPublish publishes events that have to be acknowledged.
func (a *aggregator) mustPublish(t *testing.T, body []byte, ack string) {
	t.Helper()
	want := http.StatusAccepted
	if ack == "store" {
		want = http.StatusOK
	}
	if status, text, err := a.publish(body, ack); err != nil || status != want {
		t.Fatalf("publish at ack=%s: status %d, want %d: %v %s", ack, status, want, err, text)
	}
}

// counters is the part of /stats that counts events.
type counters struct {
	Received   int `json:"received"`
	Unique     int `json:"unique_processed"`
	Duplicates int `json:"duplicate_dropped"`
	Failed     int `json:"failed"`
	Queue      int `json:"queue_depth"`
}

// stats returns the counters; an answer in which they do not add up is an error.
func (a *aggregator) stats() (counters, error) {
	var c counters
	body, err := a.get("/stats", "application/json")
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, fmt.Errorf("/stats: %w: %s", err, body)
	}
	if c.Received != c.Unique+c.Duplicates+c.Failed+c.Queue {
		return c, fmt.Errorf("received ≠ unique_processed + duplicate_dropped + failed + queue_depth: %s", body)
	}
	return c, nil
}

// drained waits until nothing is queued and returns the counters.
func (a *aggregator) drained(t *testing.T) counters {
	t.Helper()
	for deadline := time.Now().Add(drainTimeout); ; time.Sleep(samplePeriod) {
		c, err := a.stats()
		if err != nil {
			t.Fatal(err)
		}
		if c.Queue == 0 {
			return c
		}
		if time.Now().After(deadline) {
			t.Fatalf("not drained after %v: %+v", drainTimeout, c)
		}
	}
}

// export returns all stored events as NDJSON.
func (a *aggregator) export(t *testing.T) []byte {
	t.Helper()
	body, err := a.get("/events", "application/x-ndjson")
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// ready asks /readyz.
func (a *aggregator) ready() bool {
	_, err := a.get("/readyz", "*/*")
	return err == nil
}

func (a *aggregator) get(path, accept string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, a.URL+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, answer.Status, body)
	}
	return body, err
}

// metricsOf returns the admin listener's metrics without labels, by name.
func metricsOf(ctx context.Context, client *http.Client, admin string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	metrics := map[string]float64{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				metrics[name] = v
			}
		}
	}
	return metrics, lines.Err()
}

// ended is how a command that was expected to end by itself did so.
type ended struct {
	code   int
	stderr string
}

// run runs the binary without bench/system/process, for what never gets as far as serving.
func run(t *testing.T, environ []string, args ...string) ended {
	t.Helper()
	return runAs(t, nil, environ, args...)
}

// runAs is run with attributes of the process.
func runAs(t *testing.T, attributes *syscall.SysProcAttr, environ []string, args ...string) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = append(os.Environ(), environ...)
	command.SysProcAttr = attributes
	var stderr bytes.Buffer
	command.Stderr = &stderr
	err := command.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v is still running after %v\n%s", args, readyTimeout, stderr.String())
	}
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return ended{command.ProcessState.ExitCode(), stderr.String()}
}

// checkOneLine wants a message for people: one line, without a stack.
func (e ended) checkOneLine(t *testing.T) {
	t.Helper()
	text := strings.TrimSuffix(e.stderr, "\n")
	if text == "" || strings.Contains(text, "\n") || strings.Contains(text, "goroutine ") {
		t.Errorf("standard error is not one line:\n%s", e.stderr)
	}
}

func dataFolder(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }
