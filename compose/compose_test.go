// Package compose_test runs docker-compose.yml for real: the images are built,
// the aggregator is restarted and killed, and what it stored is read back.
package compose_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	repository = ".."
	goImage    = "golang:1.26" // as in the Dockerfile

	// buildTimeout: SQLite compiles for about a minute, on slow storage for some.
	buildTimeout = 18 * time.Minute
	// healthyTimeout is many times the interval of the health check (5 s).
	healthyTimeout = time.Minute
	// publishTimeout bounds one run of the publisher and the drain after it.
	publishTimeout = 2 * time.Minute
	// stopTimeout is over stop_grace_period (30 s).
	stopTimeout = time.Minute
)

func TestCompose(t *testing.T) {
	docker := findEngine(t)
	s := newStack(t, docker, buildImage(t, docker))
	s.mustCompose(t, buildTimeout, "build", "aggregator", "publisher", "bench", "log-1")
	s.mustCompose(t, publishTimeout, "up", "--detach", "aggregator")
	s.waitHealthy(t)
	s.checkHardening(t)

	small := stream{seed: 1, count: 5000}
	s.publish(t, small)
	first := s.drained(t)
	if first.Received != 5000 || first.Unique == 0 || first.Duplicates == 0 {
		t.Fatalf("after 5000 events with duplicates: %+v", first)
	}
	stored := s.events(t, first)

	// A graceful stop drains and exits 0; the volume keeps what was stored.
	s.mustCompose(t, stopTimeout, "stop", "aggregator")
	if code := s.inspect(t, "{{.State.ExitCode}}"); code != "0" {
		t.Fatalf("stopped with exit code %s", code)
	}
	s.mustCompose(t, publishTimeout, "up", "--detach", "aggregator")
	s.waitHealthy(t)
	s.publishNothingNew(t, small, stored)

	s.bench(t)

	// SIGKILL in the middle of a publisher's work: it retries until all is acknowledged …
	large := stream{seed: 2, count: 300_000}
	before := s.drained(t)
	publisher := make(chan error, 1)
	go func() { publisher <- s.tryPublish(large) }()
	s.waitFor(t, "the publisher to be in the middle", func(now stats) bool { return now.Received > before.Received+1000 })
	s.mustCompose(t, stopTimeout, "kill", "-s", "SIGKILL", "aggregator")
	if code := s.exitCode(t); code != "137" {
		t.Fatalf("killed with exit code %s, want 137", code)
	}
	select {
	case err := <-publisher:
		t.Fatalf("the publisher ended before the kill, or because of it: %v", err)
	default:
	}
	s.mustCompose(t, publishTimeout, "up", "--detach", "aggregator")
	if err := <-publisher; err != nil {
		t.Fatal(err)
	}
	s.waitHealthy(t)
	// … and none of that was lost, or publishing it again would store something.
	s.publishNothingNew(t, large, s.events(t, s.drained(t)))

	s.checkMetrics(t)
	s.checkTools(t)
}

// exitCode waits until the engine has seen the container's end: a kill returns before.
func (s *stack) exitCode(t *testing.T) string {
	t.Helper()
	for deadline := time.Now().Add(stopTimeout); s.inspect(t, "{{.State.Running}}") == "true"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the container runs on after SIGKILL")
		}
	}
	return s.inspect(t, "{{.State.ExitCode}}")
}

// bench runs the smoke scenario against what is already there. Code 3 says that the
// machine is too busy to be measured, which is no failure of what is tested here.
func (s *stack) bench(t *testing.T) {
	t.Helper()
	out, err := s.tryCompose(publishTimeout, "run", "--rm", "-T", "bench")
	exit := (*exec.ExitError)(nil)
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
		t.Fatalf("bench: %v\n%s", err, out)
	}
	t.Log(lastLine(out))
}

// checkHardening reads back what docker-compose.yml and the Dockerfile promise.
func (s *stack) checkHardening(t *testing.T) {
	t.Helper()
	for _, promise := range []struct{ template, want string }{
		{"{{.Config.User}}", "65532:65532"},
		{"{{.HostConfig.ReadonlyRootfs}}", "true"},
		{"{{.HostConfig.CapDrop}}", "[ALL]"},
		{"{{.HostConfig.SecurityOpt}}", "[no-new-privileges:true]"},
		{"{{.HostConfig.Memory}}", "1610612736"},
		{"{{.HostConfig.PidsLimit}}", "256"},
		{"{{.Config.StopTimeout}}", "30"},
		{`{{(index (index .NetworkSettings.Ports "8080/tcp") 0).HostIp}}`, "127.0.0.1"},
		{`{{(index (index .NetworkSettings.Ports "8082/tcp") 0).HostIp}}`, "127.0.0.1"},
		{"{{len .NetworkSettings.Ports}}", "2"},
	} {
		if got := s.inspect(t, promise.template); got != promise.want {
			t.Errorf("%s is %s, want %s", promise.template, got, promise.want)
		}
	}
}

// checkMetrics: Prometheus gets its text from the host, and nobody a profile.
func (s *stack) checkMetrics(t *testing.T) {
	t.Helper()
	for path, want := range map[string]int{"/metrics": http.StatusOK, "/debug/pprof/": http.StatusNotFound} {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", s.metricsPort, path))
		if err != nil {
			t.Error(err)
			continue
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != want || want == http.StatusOK && !strings.Contains(string(body), "sekali_received_events_total") {
			t.Errorf("%s: %s, want %d; %v\n%.200s", path, answer.Status, want, err, body)
		}
	}
}

// checkTools runs the commands of the image on a store of a million events: with no /tmp, on a
// read-only root, in less memory than sorting them would take, and with the volume read-only, too.
func (s *stack) checkTools(t *testing.T) {
	t.Helper()
	const million = 1_000_000
	s.publish(t, stream{seed: 3, count: million})
	now := s.drained(t)
	s.publish(t, stream{seed: 4, count: million / 2})
	if now = s.drained(t); now.Unique < million {
		t.Fatalf("%+v, want a million events", now)
	}
	image, volume := s.inspect(t, "{{.Config.Image}}"), s.project+"_data:/data"
	s.mustCompose(t, stopTimeout, "stop", "aggregator")
	counted := fmt.Sprintf("store: %d events", now.Unique)
	for _, tool := range []struct {
		name, says string
		args       []string
	}{
		{"version", "aggregator compose-test", []string{image, "--version"}},
		{"help", "Usage: aggregator", []string{image, "-h"}},
		{"check", counted, []string{"-v", volume, image, "check"}},
		{"check, read-only", counted, []string{"-v", volume + ":ro", image, "check"}},
		{"backup into a folder", ".db", []string{"-v", volume, image, "backup", "-to", "/data"}},
		{"backup, read-only", ".db", []string{"-v", volume + ":ro", "--tmpfs", "/out:uid=65532", image, "backup", "-to", "/out"}},
	} {
		args := append([]string{"run", "--rm", "--read-only", "--cap-drop", "ALL", "--memory", "768m"}, tool.args...)
		if out := s.must(t, publishTimeout, args...); !strings.Contains(out, tool.says) {
			t.Errorf("%s: %s", tool.name, out)
		}
	}
}

// stream names what the publisher sends: the same seed and count are the same events.
type stream struct{ seed, count int }

func (s *stack) publish(t *testing.T, events stream) {
	t.Helper()
	if err := s.tryPublish(events); err != nil {
		t.Fatal(err)
	}
}

func (s *stack) tryPublish(events stream) error {
	out, err := s.tryCompose(publishTimeout, "run", "--rm", "-T", "publisher", "publish", "-url", "http://aggregator:8080",
		"-seed", fmt.Sprint(events.seed), "-count", fmt.Sprint(events.count), "-duplicates", "0.2")
	if err != nil {
		return fmt.Errorf("publish %+v: %w\n%s", events, err, out)
	}
	return nil
}

// publishNothingNew publishes events that were acknowledged before: what is stored
// stays as it is, byte for byte, and every one of them counts as a duplicate.
func (s *stack) publishNothingNew(t *testing.T, events stream, stored string) {
	t.Helper()
	before := s.drained(t)
	s.publish(t, events)
	after := s.drained(t)
	if after.Unique != before.Unique || after.Received != before.Received+events.count {
		t.Errorf("published %d again: from %+v to %+v", events.count, before, after)
	}
	if s.events(t, after) != stored {
		t.Errorf("published %d again: /events has changed", events.count)
	}
}

// stats is the part of /stats that counts events.
type stats struct {
	Received   int `json:"received"`
	Unique     int `json:"unique_processed"`
	Duplicates int `json:"duplicate_dropped"`
	Queue      int `json:"queue_depth"`
}

func (s *stack) get(path, accept string) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	answer, err := client.Do(request)
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

// waitFor returns the first counters that hold, and checks their sum on the way.
func (s *stack) waitFor(t *testing.T, what string, holds func(stats) bool) stats {
	t.Helper()
	var now stats
	for deadline := time.Now().Add(publishTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		body, err := s.get("/stats", "application/json")
		if err == nil {
			err = json.Unmarshal(body, &now)
		}
		if err != nil {
			t.Fatal(err)
		}
		if now.Received != now.Unique+now.Duplicates+now.Queue {
			t.Fatalf("received ≠ unique_processed + duplicate_dropped + queue_depth: %s", body)
		}
		if holds(now) {
			return now
		}
	}
	t.Fatalf("waited %v for %s: %+v", publishTimeout, what, now)
	return now
}

func (s *stack) drained(t *testing.T) stats {
	t.Helper()
	return s.waitFor(t, "the queue to drain", func(now stats) bool { return now.Queue == 0 })
}

// events returns the whole of /events as NDJSON: as many as were counted, no identity twice.
func (s *stack) events(t *testing.T, counted stats) string {
	t.Helper()
	body, err := s.get("/events", "application/x-ndjson")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[2]string]bool{}
	for line := range strings.Lines(string(body)) {
		var event struct {
			Topic string `json:"topic"`
			ID    string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatalf("/events: %v in %s", err, line)
		}
		identity := [2]string{event.Topic, event.ID}
		if seen[identity] {
			t.Fatalf("/events holds %v twice", identity)
		}
		seen[identity] = true
	}
	if len(seen) != counted.Unique {
		t.Fatalf("/events holds %d events, /stats counts %d", len(seen), counted.Unique)
	}
	return string(body)
}
