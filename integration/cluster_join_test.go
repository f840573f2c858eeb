package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/crash"
	"sekali/internal/programs"
)

// joined runs `cluster join` for the node c, from the node at a URL. It returns its exit code and
// what it said.
func (c *testCluster) joined(program, url, place string) (int, string) {
	var out bytes.Buffer
	join := exec.Command(program, "cluster", "join", "-cluster", c.urls, "-data", c.dirs[2], "-from", url, "-node", "c")
	join.Stdout, join.Stderr = &out, &out
	join.Env = append(os.Environ(), "SEKALI_CRASH="+place)
	_ = join.Run() // its code is looked at
	return join.ProcessState.ExitCode(), out.String()
}

// wipe ends the node c and removes all that it has.
func (c *testCluster) wipe(t *testing.T) {
	t.Helper()
	c.nodes[2].kill()
	if err := os.RemoveAll(c.dirs[2]); err != nil {
		t.Fatal(err)
	}
}

// same fails if the nodes do not give the same events, so many at least, once they have settled.
func (c *testCluster) same(t *testing.T, least int) {
	t.Helper()
	c.settle(t)
	before := ""
	for i := range c.nodes {
		text, err := c.nodes[i].get("/events", "application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && string(text) != before {
			t.Errorf("nodes %d and %d differ", i-1, i)
		}
		if before = string(text); strings.Count(before, "\n") < least {
			t.Errorf("node %d has %d events, want %d at least", i, strings.Count(before, "\n"), least)
		}
	}
}

// peers are the URLs of the nodes, for `cluster check -deep`.
func (c *testCluster) peers() string {
	return strings.Join([]string{c.nodes[0].URL, c.nodes[1].URL, c.nodes[2].URL}, ",")
}

// TestClusterJoinUnderLoad: a node loses its disk while all publish. It is made anew from a peer
// that goes on to take load, catches up, and has what the others have: `cluster check -deep` reads
// every event. A node that runs is not joined over.
func TestClusterJoinUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes half a minute")
	}
	c := startCluster(t)
	var end atomic.Bool
	loaded := make(chan map[string]bool, 1)
	go func() { loaded <- c.load(t, &end) }()
	defer func() { end.Store(true) }()
	time.Sleep(2 * time.Second)
	if code, said := c.joined(binary, c.nodes[0].URL, ""); code != 1 || !strings.Contains(said, "another aggregator runs on") {
		t.Errorf("over a node that runs: exit %d, %s", code, said)
	}
	c.wipe(t) // who publishes there goes to another
	c.checkForeignFolder(t)
	code, said := c.joined(binary, c.nodes[0].URL, "")
	t.Log(said)
	if code != 0 || !strings.Contains(said, "checksum right") {
		t.Fatalf("exit %d: %s", code, said)
	}
	c.locks[2].Lock()
	c.startNode(t, 2, "c")
	c.locks[2].Unlock()
	time.Sleep(time.Second)
	end.Store(true)
	acked := <-loaded
	c.same(t, 1000)
	if len(acked) < 1000 {
		t.Errorf("only %d events were acknowledged", len(acked))
	}
	if said := runCommand(t, 0, "cluster", "check", "-cluster", c.urls, "-deep", "-peers", c.peers()); !strings.Contains(said, "deep: a, b, c have the same") {
		t.Errorf("check -deep says %s", said)
	}
	for i := range c.nodes {
		c.nodes[i].stop(t)
		runCommand(t, 0, "check", "-data", c.dirs[i])
	}
}

// checkForeignFolder: a copy takes no place of events that no replica has, stored or waiting.
func (c *testCluster) checkForeignFolder(t *testing.T) {
	t.Helper()
	single := start(t, c.dirs[2])
	single.mustPublish(t, batch("single", 3), "store")
	single.stop(t)
	if code, said := c.joined(binary, c.nodes[0].URL, ""); code != 1 || !strings.Contains(said, "in no cluster (3 stored, 0 waiting)") {
		t.Errorf("over another aggregator's events: exit %d, %s", code, said)
	}
	if said := runCommand(t, 0, "check", "-data", c.dirs[2]); !strings.Contains(said, "store: 3 events") {
		t.Errorf("afterwards: %s", said)
	}
	if err := os.RemoveAll(c.dirs[2]); err != nil {
		t.Fatal(err)
	}
}

// TestClusterJoinKilled: the join, or the peer that it is copied from, dies at each place. The
// folder is what it was, or the whole new one; the join is tried again, and the node has what the
// others have.
func TestClusterJoinKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes a minute")
	}
	mortal := filepath.Join(t.TempDir(), "aggregator")
	if err := programs.Build(mortal, programs.CrashTag, "aggregator"); err != nil {
		t.Fatal(err)
	}
	c := startCluster(t)
	const old = 100
	c.nodes[0].mustPublish(t, batch("before", old), "store")
	c.settle(t)
	c.nodes[2].stop(t)
	c.nodes[0].mustPublish(t, batch("after", old), "store")
	source, target := crash.JoinPoints()
	for _, place := range target {
		code, said := c.joined(mortal, c.nodes[0].URL, place+":1")
		if code != -1 {
			t.Fatalf("at %s: exit %d, want a kill: %s", place, code, said)
		}
		want := old // the old folder
		if place == crash.JoinReplaced {
			want = 2 * old
		}
		if said := runCommand(t, 0, "check", "-data", c.dirs[2]); !strings.Contains(said, fmt.Sprintf("store: %d events", want)) {
			t.Errorf("after a kill at %s: %s, want %d events", place, said, want)
		}
	}
	for _, place := range source {
		c.wipe(t)
		c.nodes[0].stop(t)
		c.startMortal(t, mortal, place)
		code, said := c.joined(binary, c.nodes[0].URL, "")
		if code != 1 {
			t.Errorf("from a peer that died at %s: exit %d: %s", place, code, said)
		}
		if _, err := os.Stat(filepath.Join(c.dirs[2], "events.db")); !os.IsNotExist(err) {
			t.Errorf("after the peer died at %s the folder has a database: %v", place, err)
		}
		c.startNode(t, 0, "a")
		if left, _ := filepath.Glob(filepath.Join(c.dirs[0], "copying*")); len(left) > 0 {
			t.Errorf("the peer that died at %s keeps %v", place, left)
		}
	}
	if code, said := c.joined(binary, c.nodes[1].URL, ""); code != 0 {
		t.Fatalf("exit %d: %s", code, said)
	}
	c.startNode(t, 2, "c")
	if left, _ := filepath.Glob(filepath.Join(c.dirs[2], "joining*")); len(left) > 0 {
		t.Errorf("the node keeps %v", left)
	}
	c.same(t, 2*old)
}

// startMortal starts the node a so that it dies at a place.
func (c *testCluster) startMortal(t *testing.T, program, place string) {
	t.Helper()
	a, err := launchIn(t, []string{"SEKALI_CRASH=" + place + ":1"}, program, c.dirs[0], "-cluster", c.urls, "-node", "a")
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[0] = a
	ctx, cancel := context.WithTimeout(t.Context(), readyTimeout)
	defer cancel()
	if err := a.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}
