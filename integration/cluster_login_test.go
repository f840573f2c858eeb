package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestClusterTokenIsReplaced: the log's token is replaced, and the nodes have the old one. They say
// so, are not ready, promise nothing that wants the log, and keep what they take. With the new
// token in their file they go on by themselves, and nothing is missing.
func TestClusterTokenIsReplaced(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("skipped: it takes a quarter of a minute")
	}
	dir := t.TempDir()
	ofLog, ofNodes := filepath.Join(dir, "log.token"), filepath.Join(dir, "nodes.token")
	write := func(file, token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(ofLog, "first")
	write(ofNodes, "first")
	c := startClusterWith(t, []string{"-token-file", ofLog}, []string{"-cluster-token-file", ofNodes})
	const each = 50
	c.nodes[0].mustPublish(t, batch("before", each), "store")
	for _, s := range c.logs {
		s.kill()
	}
	write(ofLog, "second")
	for _, s := range c.logs {
		s.start(t, c.program)
	}
	c.awaitReadyz(t, "no_quorum", "it refuses the login: -cluster-token-file")
	for i, n := range c.nodes {
		if status, text, err := n.publish(batch(fmt.Sprint("refused", i), 1), "replicated"); err != nil || status != 503 || !strings.Contains(string(text), "no_quorum") {
			t.Errorf("node %d at replicated: %d %s %v", i, status, text, err)
		}
		n.mustPublish(t, batch(fmt.Sprint("meanwhile", i), each), "journal")
		if faults := fmt.Sprint(c.counters(t, i).Cluster.Faults); !strings.Contains(faults, "refuses the login") {
			t.Errorf("node %d has the faults %s", i, faults)
		}
		if said := n.log.String(); !strings.Contains(said, "let this client in") {
			t.Errorf("node %d has logged nothing of it", i)
		}
	}
	c.nodes[2].kill()
	c.nodes[2] = startUnready(t, c.dirs[2], append([]string{"-cluster", c.urls, "-node", "c"}, c.flags...)...)
	c.awaitReadyz(t, "no_quorum", "it refuses the login: -cluster-token-file") // one that begins meanwhile says so, too
	write(ofNodes, "second")
	c.awaitReadyz(t, "", "ok")
	c.same(t, 4*each)
	if got := c.counters(t, 0).Unique; got != 4*each {
		t.Errorf("%d events are stored, want %d: what was refused is not, what was taken is", got, 4*each)
	}
}
