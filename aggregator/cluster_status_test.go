package aggregator

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// tellOn tells a beat behind what the node has told, a moment later and until its function is
// called.
func tellOn(t *testing.T, log *memorylog.Log, beats ...cluster.Beat) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var told sync.WaitGroup
	told.Go(func() {
		for i := 0; ctx.Err() == nil; i = min(i+1, len(beats)-1) {
			time.Sleep(silentFor / 6)
			value, err := json.Marshal(beats[i])
			if err == nil {
				var revision uint64
				if _, revision, err = log.Registry().Get(ctx, beats[i].Node); err == nil {
					_, err = log.Registry().Put(ctx, beats[i].Node, value, revision)
				}
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	return func() {
		cancel()
		told.Wait()
	}
}

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
	defer tellOn(t, log, cluster.Beat{Node: "a", At: time.Now(), Cluster: head.Cluster, Epoch: head.Epoch})()
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
		"right":               {0, true, ""},
		"killed just now":     {0, false, "it has told nothing for 3 s"},
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

// TestUnreadyNode: a node is asked for a word from after the question. One that says that it is not
// ready is a fault, unless it says a moment later that it is.
func TestUnreadyNode(t *testing.T) {
	const why = "no quorum: the log has taken nothing for 4 s"
	for name, c := range map[string]struct {
		first  string
		later  []string
		faults string
	}{
		"was ready": {"", []string{why}, "it is not ready: " + why},
		"is again":  {why, []string{why, ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := memorylog.New("a")
			head, err := log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b := cluster.Beat{Node: "a", Version: "1.2", At: time.Now(), Cluster: head.Cluster, Epoch: head.Epoch, Unready: c.first}
			value, err := json.Marshal(b)
			if err == nil {
				_, err = log.Registry().Put(t.Context(), "a", value, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			var beats []cluster.Beat
			for _, b.Unready = range c.later {
				beats = append(beats, b)
			}
			defer tellOn(t, log, beats...)()
			if line, fault := statusOfNode(t.Context(), log.Registry(), "a", head); fault != c.faults {
				t.Errorf("%q, fault %q, want %q", line, fault, c.faults)
			}
		})
	}
}

// TestRegistryIsAwaited: a registry whose leader was killed a moment ago gets another. That it does
// not answer meanwhile is no fault of a node.
func TestRegistryIsAwaited(t *testing.T) {
	log := memorylog.New("a")
	head, err := log.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log.Mute(true)
	time.AfterFunc(2*joinPause, func() { log.Mute(false) })
	if err := awaitRegistry(t.Context(), log.Registry(), head); err != nil {
		t.Error(err)
	}
}

// TestServersOfTheLog: a server whose own copy of the log does not come to where the log was is a
// fault, whatever its leader says of it, and so is one that does not answer. The list says the same
// as the fault. One that gets there in a moment is none.
func TestServersOfTheLog(t *testing.T) {
	head := cluster.Head{Last: 5152, Leader: "log-2", Copies: 3, Peers: []cluster.Peer{{Name: "log-1"}, {Name: "log-2"}, {Name: "log-3"}}}
	for name, c := range map[string]struct {
		log1, grows  uint64 // where the copy of log-1 is, and by how much at each look
		silent, line string // of log-1
		fault        string
		lost         string
	}{
		"whole":        {log1: 5152, line: "0 behind"},
		"beyond":       {log1: 9000, line: "0 behind"},
		"nearly there": {log1: 5000, grows: 100, line: "0 behind"},
		"being filled": {log1: 45, grows: 1, line: "being filled", fault: "the log's server log-1 is being filled: its copy goes to"},
		"has none":     {line: "being filled", fault: "log-1 is being filled: its copy goes to 0 of 5152"},
		"says nothing": {silent: "log-1", line: "away", fault: "the log's server log-1 is away"},
		"is alone":     {log1: 5152, silent: "log-2 log-3", line: "0 behind", fault: "log-2 is away", lost: "no quorum: of the log's servers these do not answer: log-2, log-3"},
		"none answers": {silent: "log-1 log-2 log-3", line: "0 behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, head := c.log1, head
			ends := awaitCopies(t.Context(), func(context.Context) (map[string]uint64, error) {
				ends := map[string]uint64{"log-1": at, "log-2": 5152, "log-3": 5160}
				maps.DeleteFunc(ends, func(name string, _ uint64) bool { return strings.Contains(c.silent, name) })
				at += c.grows
				return ends, nil
			}, head)
			lost := ""
			if err := lostQuorum(&head, ends); err != nil {
				lost = err.Error()
			}
			var list strings.Builder
			faults := strings.Join(writeServers(&list, head, ends), "; ")
			if lost != c.lost || !strings.Contains(faults, c.fault) || c.fault == "" && faults != "" || !strings.Contains(list.String(), "log-1: "+c.line+"\n") {
				t.Errorf("%q, faults %q, no quorum %q; want %+v", list.String(), faults, lost, c)
			}
		})
	}
}
