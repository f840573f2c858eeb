package aggregator

import (
	"strings"
	"testing"
	"time"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// TestCheckOfTimesAhead: times that lie in the future are a fault of an aggregator that is alone,
// which mend-time mends. Those of a replica are the same on all, and nobody mends them: check tells
// of them, and no join is refused for them.
func TestCheckOfTimesAhead(t *testing.T) {
	for name, replica := range map[string]bool{"alone": false, "replica": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _, err := store.Open(dir, store.Design{})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Change(func(c *sqlite.Conn) error {
				if replica {
					if err := cluster.MakeReplica(c, cluster.Identity{Cluster: "c", Epoch: 1, Created: time.Now()}, cluster.ApplyVersion); err != nil {
						return err
					}
				}
				return c.Exec("UPDATE state SET last_received_at = '2136-11-28T00:00:00.000000000Z'")
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			err = Check(t.Context(), dir, &said)
			if (err == nil) != replica || !strings.Contains(said.String(), "ahead of the clock") || strings.Contains(said.String(), "mend-time") == replica {
				t.Errorf("%v: %s", err, said.String())
			}
			if _, faults, err := store.Check(t.Context(), dir); err != nil || len(faults) > 0 {
				t.Errorf("a join would be refused: %q, %v", faults, err)
			}
		})
	}
}
