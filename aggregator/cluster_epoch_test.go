package aggregator

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

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
		err = c.checkFurthest(t.Context(), log.Registry(), replica)
		if errors.Is(err, errFurther) != told.further || !told.further && err != nil || told.further && !strings.Contains(err.Error(), "node b was at 8, and d is at 7") {
			t.Errorf("%s: %v", name, err)
		}
	}
	log.Mute(true)
	if err := c.checkFurthest(t.Context(), log.Registry(), replica); !errors.Is(err, cluster.ErrUnreachable) {
		t.Errorf("while nobody can be asked: %v", err)
	}
}
