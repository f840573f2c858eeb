package integration_test

import (
	"strings"
	"testing"
)

// TestClusterBeginsWithEvents goes from one aggregator with events to a cluster of three, as
// docs/howto/cluster.md says. Its store is the beginning, the others are made from it while it
// takes events, and what it had is a duplicate at each node.
func TestClusterBeginsWithEvents(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes a quarter of a minute")
	}
	const old, fresh = 100, 10
	c := startLogs(t, nil)
	for range 3 {
		c.dirs, c.nodes = append(c.dirs, dataFolder(t)), append(c.nodes, nil)
	}
	single := start(t, c.dirs[0])
	single.mustPublish(t, batch("old", old), "store")
	begin := []string{"cluster", "init", "-cluster", c.urls, "-nodes", "a,b,c", "-data", c.dirs[0]}
	if said := runCommand(t, 1, begin...); !strings.Contains(said, "another aggregator runs on") {
		t.Errorf("with the folder of one that runs: %s", said)
	}
	single.stop(t)
	if said := runCommand(t, 0, begin...); !strings.Contains(said, "beginning with the events up to 100") {
		t.Errorf("it says %s", said)
	}
	if said := runCommand(t, 1, begin...); !strings.Contains(said, "is a replica of a cluster already") {
		t.Errorf("once more: %s", said)
	}
	refused(t, "without -cluster it would differ", "-data", c.dirs[0])
	refused(t, "`aggregator cluster join -node b", "-data", c.dirs[1], "-cluster", c.urls, "-node", "b")
	c.startNode(t, 0, "a")
	c.nodes[0].mustPublish(t, batch("fresh", fresh), "store")
	for i, name := range []string{"b", "c"} {
		said := runCommand(t, 0, "cluster", "join", "-cluster", c.urls, "-data", c.dirs[i+1], "-from", c.nodes[0].URL, "-node", name)
		if !strings.Contains(said, "checksum right") {
			t.Errorf("join says %s", said)
		}
		c.startNode(t, i+1, name)
	}
	for i := range c.nodes {
		c.nodes[i].mustPublish(t, batch("old", old), "store")
	}
	c.same(t, old+fresh)
	for i := range c.nodes {
		if now := c.counters(t, i); now.Unique != old+fresh || now.Duplicates != 3*old {
			t.Errorf("node %d has %+v, want %d events and %d duplicates", i, now, old+fresh, 3*old)
		}
	}
	if said := runCommand(t, 0, "cluster", "check", "-cluster", c.urls, "-deep", "-peers", c.peers()); !strings.Contains(said, "deep: a, b, c have the same 110 events") {
		t.Errorf("check -deep says %s", said)
	}
	for i := range c.nodes {
		c.nodes[i].stop(t)
		runCommand(t, 0, "check", "-data", c.dirs[i])
	}
}

// refused starts the aggregator, which has to end as one that is set wrongly, and to say so.
func refused(t *testing.T, says string, flags ...string) {
	t.Helper()
	got := run(t, nil, append([]string{"-listen", "127.0.0.1:0", "-admin", ""}, flags...)...)
	if got.code != 2 || !strings.Contains(got.stderr, says) {
		t.Errorf("%v: exit %d, want 2 and %q: %s", flags, got.code, says, got.stderr)
	}
}
