package aggregator

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// TestBeginsWithTheFurthest: a log does not begin with a replica of which another node has told
// that it was further, in this log. Who joins has no store. While the registry does not answer,
// nobody knows.
func TestBeginsWithTheFurthest(t *testing.T) {
	log := memorylog.New("a", "b")
	id := log.Identity()
	c := ClusterConfig{Nodes: []string{"a", "b"}, Data: "d"}
	replica := &cluster.Replica{Identity: id, Position: 7}
	revision := uint64(0)
	for name, told := range map[string]struct {
		b       cluster.Beat
		further bool
	}{
		"it is as far":         {cluster.Beat{Cluster: id.Cluster, Epoch: id.Epoch, Position: 7}, false},
		"it is further":        {cluster.Beat{Cluster: id.Cluster, Epoch: id.Epoch, Position: 8}, true},
		"it joins":             {cluster.Beat{Cluster: id.Cluster, Epoch: id.Epoch, Position: 8, Joining: true}, false},
		"it is of before":      {cluster.Beat{Cluster: id.Cluster, Epoch: id.Epoch - 1, Position: 8}, false},
		"it is of another log": {cluster.Beat{Cluster: "another", Epoch: id.Epoch, Position: 8}, false},
	} {
		value, err := json.Marshal(told.b)
		if err == nil {
			revision, err = log.Registry().Put(t.Context(), "b", value, revision)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = c.checkFurthest(t.Context(), log.Registry(), replica, nil, io.Discard)
		if errors.Is(err, errFurther) != told.further || !told.further && err != nil || told.further && !strings.Contains(err.Error(), "node b was at 8, and d is at 7") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Of a node that told, and is not in -nodes, it is said.
	value, err := json.Marshal(cluster.Beat{Cluster: id.Cluster, Epoch: id.Epoch, Position: 9})
	if err == nil {
		_, err = log.Registry().Put(t.Context(), "c", value, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := c.checkFurthest(t.Context(), log.Registry(), replica, []string{"b", "c"}, &said); err != nil ||
		!strings.HasPrefix(said.String(), "node c, which is not in -nodes, was at 9, and d is at 7: ") || strings.Count(said.String(), "\n") != 1 {
		t.Errorf("%v, %q", err, said.String())
	}
	log.Mute(true)
	if err := c.checkFurthest(t.Context(), log.Registry(), replica, nil, io.Discard); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("while nobody can be asked: %v", err)
	}
}

// TestBeginsOnceAllAreStopped: while a node tells how far it is no log begins, and it is named. A
// last word is none that runs, nor is one that was killed. Whom nobody could have seen is said.
func TestBeginsOnceAllAreStopped(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []string // that tell during it
		last  bool     // that they have ended
		says  string
	}{
		"none tells":          {nil, false, ""},
		"one tells":           {[]string{"c"}, false, "how far they are: c"},
		"two tell":            {[]string{"c", "a"}, false, "how far they are: a, c"},
		"one is just stopped": {[]string{"c"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := memorylog.New("a", "b", "c")
				tell := func(node string, left bool, revision uint64) {
					value, err := json.Marshal(cluster.Beat{Node: node, Left: left})
					if err == nil {
						_, err = log.Registry().Put(t.Context(), node, value, revision)
					}
					if err != nil {
						t.Error(err)
					}
				}
				for _, node := range []string{"a", "c"} { // b has never told anything
					tell(node, false, 0)
				}
				time.AfterFunc(stoppedFor-time.Second/10, func() {
					for _, node := range c.nodes {
						tell(node, c.last, 1)
					}
				})
				var said strings.Builder
				err := checkStopped(t.Context(), log.Registry(), []string{"c", "a", "b", "a"}, &said)
				if errors.Is(err, errNotStopped) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q", err, c.says)
				}
				if err == nil && !strings.Contains(said.String(), "the nodes a, b, c have told nothing for 5s") {
					t.Errorf("it says %q", said.String())
				}
			})
		})
	}
	log := memorylog.New("a")
	log.Mute(true)
	if err := checkStopped(t.Context(), log.Registry(), []string{"a"}, io.Discard); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("while nobody can be asked: %v", err)
	}
}
