package compose_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// clusterTimeout bounds an answer of the cluster: its log has to elect a leader.
const clusterTimeout = time.Minute

// TestCluster: three log servers and three nodes are a cluster; the log's leader is killed, and
// what is published goes on; all nodes give the same.
func TestCluster(t *testing.T) {
	docker := findEngine(t)
	services := []string{"cluster-init", "log-1", "log-2", "log-3", "node-1", "node-2", "node-3"}
	built := prebuild(t, services...)
	s := newStack(t, docker, goImage)
	s.environ = append(s.environ, "COMPOSE_FILE=docker-compose.yml:"+built)
	var ports []int
	for i := range 3 {
		ports = append(ports, holdPort(t))
		s.environ = append(s.environ, fmt.Sprintf("SEKALI_NODE_%d_PORT=%d", i+1, ports[i]))
	}
	s.mustCompose(t, buildTimeout, "--profile", "cluster", "build")
	s.mustCompose(t, publishTimeout, "--profile", "cluster", "up", "--detach")
	if got := s.made(t); got != strings.Join(services, " ") {
		t.Errorf("--profile cluster up starts %s", got)
	}
	publish := func(port int, id string) {
		t.Helper()
		body := fmt.Sprintf(`{"topic":"t","event_id":%q,"timestamp":"2026-11-23T06:41:10Z","source":"s","payload":null}`, id)
		var last string
		for end := time.Now().Add(clusterTimeout); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/publish?ack=store", port), "application/json", strings.NewReader(body))
			if err != nil {
				last = err.Error()
				continue
			}
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if last = string(text); answer.StatusCode == http.StatusOK {
				return
			}
		}
		t.Fatalf("%s is not stored after %v: %s", id, clusterTimeout, last)
	}
	for i, port := range ports {
		publish(port, fmt.Sprintf("before-%d", i))
	}
	leader := s.logLeader(t, ports[0])
	id := lastLine(s.mustCompose(t, time.Minute, "--profile", "cluster", "ps", "--all", "--quiet", leader))
	s.must(t, time.Minute, "kill", id)
	for i, port := range ports {
		publish(port, fmt.Sprintf("after-%d", i))
	}
	var first string
	for end := time.Now().Add(clusterTimeout); ; time.Sleep(200 * time.Millisecond) {
		var all []string
		for _, port := range ports {
			s.port = port
			body, err := s.get("/events", "application/x-ndjson")
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, string(body))
		}
		if first = all[0]; strings.Count(first, "\n") == 6 && all[1] == first && all[2] == first {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the nodes do not give the same six events: %q", all)
		}
	}
}

// logLeader is the service of the log's leader, as a node says.
func (s *stack) logLeader(t *testing.T, port int) string {
	t.Helper()
	s.port = port
	body, err := s.get("/stats", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	var now struct {
		Cluster struct {
			LogLeader string `json:"log_leader"`
		} `json:"cluster"`
	}
	if err := json.Unmarshal(body, &now); err != nil || len(now.Cluster.LogLeader) < len("log-1") {
		t.Fatalf("%v: %s", err, body)
	}
	return now.Cluster.LogLeader[:len("log-1")]
}
