package aggregator

import (
	"encoding/json"
	"strings"
	"testing"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

// TestSkipIsCheckedInItsEpoch: a position that a node has told of another epoch is no place of this
// log: it has neither applied the message, nor halted at it.
func TestSkipIsCheckedInItsEpoch(t *testing.T) {
	for name, c := range map[string]struct {
		a, b    cluster.Beat // a's epoch is 2 if it has none
		refused string
	}{
		"one has halted there":           {cluster.Beat{Position: 6, Halted: "x"}, cluster.Beat{Position: 3, Epoch: 2}, ""},
		"one has applied it":             {cluster.Beat{Position: 6, Halted: "x"}, cluster.Beat{Position: 7, Epoch: 2}, "b has applied message 7"},
		"one is yet of the epoch before": {cluster.Beat{Position: 6, Halted: "x"}, cluster.Beat{Position: 900, Epoch: 1}, ""},
		"one has halted there, before":   {cluster.Beat{Position: 6, Halted: "x", Epoch: 1}, cluster.Beat{Position: 3, Epoch: 2}, "no node has halted at message 7"},
	} {
		log := memorylog.New("a", "b")
		head, err := log.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		head.Epoch = 2
		if c.a.Epoch == 0 {
			c.a.Epoch = 2
		}
		for node, b := range map[string]cluster.Beat{"a": c.a, "b": c.b} {
			value, err := json.Marshal(b)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := log.Registry().Put(t.Context(), node, value, 0); err != nil {
				t.Fatal(err)
			}
		}
		err = checkSkip(t.Context(), log.Registry(), head, 7)
		if (err != nil) != (c.refused != "") || err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		}
	}
}
