package integration_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// TestClusterCheckFinds: somebody changes one replica's stored event by hand. The hashes are those
// of what was decided and agree; `cluster check -deep` names the event, its seq and the nodes.
func TestClusterCheckFinds(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it takes a quarter of a minute")
	}
	c := startCluster(t)
	c.nodes[0].mustPublish(t, batch("e", 10), "store")
	c.settle(t)
	check := []string{"cluster", "check", "-cluster", c.urls}
	runCommand(t, 0, check...)
	runCommand(t, 2, append(check, "-deep")...)
	c.nodes[1].kill()
	c.dirs[1] = t.TempDir()
	rows := []string{"-cluster", c.urls, "-node", "b", "-layout", "rows"} // it reads the log from its beginning
	c.nodes[1] = start(t, c.dirs[1], rows...)
	c.settle(t)
	c.nodes[1].stop(t)
	db, err := sql.Open("sqlite", filepath.Join(c.dirs[1], "events.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE events SET source = 'by hand' WHERE seq = 3"); err != nil {
		t.Fatal(err)
	}
	c.nodes[1] = start(t, c.dirs[1], rows...)
	c.settle(t)
	runCommand(t, 0, check...)
	said := runCommand(t, 1, append(check, "-deep", "-peers", c.peers())...)
	for _, want := range []string{"the first difference is at seq 3", `event_id "e-2"`, "a and c have", "b have", "by hand"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in %s", want, said)
		}
	}
}
