package aggregator

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// TestStatusOfNode: what a join has told for a node that never ran is not a program's. A node that
// goes on to tell of an earlier epoch has been left behind in another log.
func TestStatusOfNode(t *testing.T) {
	log := memorylog.New("a", "b", "c")
	log.Change(func(h *cluster.Head) { h.Epoch = 2 })
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range map[string]string{"a": "1.2", "b": "", "c": "1.2"} {
		epoch := head.Epoch
		if name == "c" {
			epoch--
		}
		value, err := json.Marshal(cluster.Beat{Node: name, Version: version, Apply: 3, Retention: map[string]time.Duration{"a": time.Hour}[name], At: time.Now(), Cluster: head.Cluster, Epoch: epoch, Hash: "00", Left: name == "b"})
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
	if _, fault := statusOfNode(t.Context(), log.Registry(), "c", head); !strings.Contains(fault, "of another log, epoch 1") {
		t.Errorf("one that was left behind: fault %q", fault)
	}
}

// TestNearlyFull: a log that has little room left is said to, and for which node it is kept.
func TestNearlyFull(t *testing.T) {
	log := memorylog.New("a", "b", "c", "d")
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []cluster.Beat{
		{Node: "a", Epoch: head.Epoch, Position: 900},
		{Node: "b", Epoch: head.Epoch, Position: 40, Forgotten: true},
		{Node: "c", Epoch: head.Epoch, Position: 300},
		{Node: "d", Epoch: head.Epoch - 1, Position: 70},
	} {
		b.Cluster = head.Cluster
		value, err := json.Marshal(b)
		if err == nil {
			_, err = log.Registry().Put(t.Context(), b.Node, value, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	head.First, head.Last = 20, 900
	for _, c := range []struct {
		bytes, most int64
		want        string
	}{{900, 1000, ""}, {901, 1000, "the log is nearly full: 901 of 1000 bytes; it is kept for c, which is at 300"}, {901, 0, ""}} {
		head.Bytes, head.MaxBytes = c.bytes, c.most
		if said := nearlyFull(t.Context(), log.Registry(), head); said != c.want {
			t.Errorf("%d of %d bytes: %q, want %q", c.bytes, c.most, said, c.want)
		}
	}
	log.Mute(true)
	head.MaxBytes = 1000
	if said := nearlyFull(t.Context(), log.Registry(), head); said != "the log is nearly full: 901 of 1000 bytes" {
		t.Errorf("with no word of the nodes: %q", said)
	}
}

// TestSilenceIsNoClock: a node whose clock is off is there while it goes on to tell, and away once
// it does not. What it says of the time does not decide that.
func TestSilenceIsNoClock(t *testing.T) {
	for name, c := range map[string]struct {
		off   time.Duration
		tells bool
		fault string
	}{
		"right":               {0, false, ""},
		"ahead":               {3 * time.Hour, true, "its clock is 3h0m0s ahead of this machine's"},
		"behind":              {-3 * time.Hour, true, "its clock is 3h0m0s behind this machine's"},
		"away":                {-3 * time.Hour, false, "it has told nothing for 1080"},
		"away, and was ahead": {3 * time.Hour, false, "it tells nothing, and its clock was "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := memorylog.New("a", "b")
			head, err := log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			tell := func(revision uint64) (uint64, error) {
				value, err := json.Marshal(cluster.Beat{Node: "a", Version: "1.2", At: time.Now().Add(c.off), Cluster: head.Cluster, Epoch: head.Epoch})
				if err != nil {
					return 0, err
				}
				return log.Registry().Put(context.Background(), "a", value, revision)
			}
			revision, err := tell(0)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan error, 1)
			go func() {
				time.Sleep(silentFor / 3)
				if c.tells {
					_, err = tell(revision)
				}
				told <- err
			}()
			line, fault := statusOfNode(t.Context(), log.Registry(), "a", head)
			if !strings.HasPrefix(fault, c.fault) || c.fault == "" && fault != "" || strings.Contains(line, "told -") {
				t.Errorf("%q, fault %q, want %q", line, fault, c.fault)
			}
			if err := <-told; err != nil {
				t.Fatal(err)
			}
		})
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

// TestServerBeingFilled: a server whose own copy of the log does not come to where the log was is
// a fault, whatever its leader says of it. One that gets there in a moment is none, nor is one that
// is away, which is a fault by itself.
func TestServerBeingFilled(t *testing.T) {
	head := cluster.Head{Last: 5152, Peers: []cluster.Peer{{Name: "log-1"}, {Name: "log-2"}, {Name: "log-3"}, {Name: "log-4", Offline: true}}}
	for name, c := range map[string]struct {
		log1, grows uint64 // where the copy of log-1 is, and by how much at each look
		silent      bool
		want        []string
	}{
		"whole":        {log1: 5152},
		"beyond":       {log1: 9000},
		"nearly there": {log1: 5000, grows: 100},
		"being filled": {log1: 45, grows: 1, want: []string{"the log's server log-1 is being filled: its copy goes to", "of 5152"}},
		"has none":     {want: []string{"log-1 is being filled: its copy goes to 0 of 5152"}},
		"says nothing": {silent: true, want: []string{"log-1 has not said how far its copy goes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := c.log1
			faults := beingFilled(t.Context(), func(context.Context) (map[string]uint64, error) {
				ends := map[string]uint64{"log-1": at, "log-2": 5152, "log-3": 5160}
				if c.silent {
					delete(ends, "log-1")
				}
				at += c.grows
				return ends, nil
			}, head)
			if len(faults) != min(1, len(c.want)) {
				t.Fatalf("%q, want %q", faults, c.want)
			}
			for _, words := range c.want {
				if !strings.Contains(faults[0], words) {
					t.Errorf("%q, want %q", faults[0], words)
				}
			}
		})
	}
	if faults := beingFilled(t.Context(), func(context.Context) (map[string]uint64, error) { return nil, nil }, head); faults != nil {
		t.Errorf("of servers of which none answers: %q", faults)
	}
}
