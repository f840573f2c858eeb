package aggregator

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// TestStatusOfNode: what a join has told for a node that never ran is not a program's.
func TestStatusOfNode(t *testing.T) {
	log := memorylog.New("a", "b")
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range map[string]string{"a": "1.2", "b": ""} {
		value, err := json.Marshal(cluster.Beat{Node: name, Version: version, Apply: 3, Retention: map[string]time.Duration{"a": time.Hour}[name], At: time.Now(), Cluster: head.Cluster, Epoch: head.Epoch, Hash: "00", Left: name == "b"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Registry().Put(t.Context(), name, value, 0); err != nil {
			t.Fatal(err)
		}
	}
	line, fault := statusOfNode(t.Context(), log.Registry(), "a", head)
	if !strings.Contains(line, "hash 00, version 1.2, knows apply version 3, retention 1h0m0s, told 0 s ago") || fault != "" {
		t.Errorf("one that runs: %q, fault %q", line, fault)
	}
	if strings.Contains(line, "stopped") {
		t.Errorf("one that runs: %q", line)
	}
	line, _ = statusOfNode(t.Context(), log.Registry(), "b", head)
	if strings.Contains(line, "version") || !strings.Contains(line, "has never run") || !strings.Contains(line, "stopped since") {
		t.Errorf("one that has never run: %q", line)
	}
}

// TestFaultsAreCounted: in words that a person would use.
func TestFaultsAreCounted(t *testing.T) {
	if one, two := count(1, "fault"), count(2, "fault"); one != "1 fault" || two != "2 faults" {
		t.Errorf("%s, %s", one, two)
	}
	if none, some := faultsOf(cluster.Head{}), faultsOf(cluster.Head{Faults: []string{"x", "y"}}); none != "" || some != ": x; y" {
		t.Errorf("%q, %q", none, some)
	}
}
