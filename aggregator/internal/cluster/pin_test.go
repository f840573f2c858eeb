package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/internal/cluster/memorylog"
)

func hashOf(b byte) (h cluster.Hash) {
	h[0] = b
	return h
}

// TestCompareCopy: a copy is held to each other replica at the latest position of which both have
// a hash; a difference is an error, and one that cannot be a witness is named.
func TestCompareCopy(t *testing.T) {
	id := cluster.Identity{Cluster: "x", Epoch: 2}
	own := []cluster.Checkpoint{{Position: 4096, Hash: hashOf(1)}, {Position: 8192, Hash: hashOf(2)}, {Position: 9000, Hash: hashOf(3)}}
	told := func(node string, position uint64, hash cluster.Hash, checkpoints ...cluster.Checkpoint) cluster.Beat {
		b := cluster.Beat{Node: node, Cluster: "x", Epoch: 2, Position: position, Hash: hash.String()}
		for _, c := range checkpoints {
			b.Checkpoints = append(b.Checkpoints, cluster.TextOfHash{Position: c.Position, Hash: c.Hash.String()})
		}
		return b
	}
	for name, c := range map[string]struct {
		other   cluster.Beat
		at      uint64 // 0: it is no witness
		differs bool
	}{
		"at a checkpoint":              {told("b", 9500, hashOf(9), own[:2]...), 8192, false},
		"one that is behind":           {told("b", 5000, hashOf(9), own[0]), 4096, false},
		"at the place of the copy":     {told("b", 9000, hashOf(3), own[:2]...), 9000, false},
		"another hash there":           {told("b", 9000, hashOf(4), own[:2]...), 0, true},
		"at the latest that both have": {told("b", 9500, hashOf(9), own[0], cluster.Checkpoint{Position: 8192, Hash: hashOf(7)}), 0, true},
		"nothing in common":            {told("b", 9500, hashOf(9), cluster.Checkpoint{Position: 12288, Hash: hashOf(7)}), 0, false},
		"of another epoch":             {cluster.Beat{Node: "b", Cluster: "x", Epoch: 1, Position: 9000, Hash: hashOf(4).String()}, 0, false},
		"of one that has halted":       {cluster.Beat{Node: "b", Cluster: "x", Epoch: 2, Position: 9000, Hash: hashOf(4).String(), Halted: "h"}, 0, false},
		"of a join under way":          {cluster.Beat{Node: "b", Cluster: "x", Epoch: 2, Position: 9000}, 0, false},
	} {
		said, err := cluster.CompareCopy(id, own, []cluster.Beat{c.other})
		if errors.Is(err, cluster.ErrDiffers) != c.differs || err != nil != c.differs {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !c.differs && (len(said) != 1 || said[0].At != c.at || (said[0].Why == "") != (c.at > 0)) {
			t.Errorf("%s: %+v, want %d", name, said, c.at)
		}
	}
}

// TestPin: a pin takes the name of a node that is away, tells its position until it is released,
// and is refused the name of a node that runs.
func TestPin(t *testing.T) {
	ctx := context.Background()
	log := memorylog.New("a", "b", "c")
	registry := log.Registry()
	head, err := log.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	position := func() (b cluster.Beat) {
		t.Helper()
		value, _, err := registry.Get(ctx, "c")
		if err == nil {
			err = json.Unmarshal(value, &b)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := registry.Put(ctx, "c", []byte(`{"node":"c","session":"before","position":7,"forgotten":true,"retention_ns":1000}`), 0); err != nil {
		t.Fatal(err)
	}
	to := cluster.PinFor{Registry: registry, Node: "c", Head: head}
	p, err := cluster.TakePin(ctx, to, 4711)
	if err != nil {
		t.Fatal(err)
	}
	if b := position(); b.Position != 4711 || b.Forgotten || b.Retention != 1000 || b.Cluster != log.Identity().Cluster {
		t.Errorf("it tells %+v", b)
	}
	if b := position(); !b.Joining {
		t.Errorf("it passes for a store: %+v", b)
	}
	if second, err := cluster.TakePin(ctx, to, 1); !errors.Is(err, cluster.ErrNameTaken) {
		t.Errorf("a second pin under its name: %v, %v", second, err)
	}
	p.Joined(cluster.Checkpoint{Position: 5000, Hash: hashOf(1)}, []cluster.Checkpoint{{Position: 4096, Hash: hashOf(2)}})
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	if b := position(); b.Position != 5000 || len(b.Checkpoints) != 1 || b.Joining {
		t.Errorf("it leaves %+v", b)
	}
	// The node's own store is at 5000, and the log has that: a join that fails must not take it away.
	if p, err = cluster.TakePin(ctx, to, 9000); err != nil {
		t.Fatal(err)
	}
	if b := position(); b.Position != 5000 || !b.Joining {
		t.Errorf("for a node that is at 5000 it holds %+v", b)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestPinIsGivenBack: after a join that came to nothing the node's word is what it was, if its
// store is: that it was forgotten, has halted, or is a store. Where there is no store, or another
// one may be in its place, that stays which says so.
func TestPinIsGivenBack(t *testing.T) {
	stored := cluster.Beat{Node: "c", Session: "before", Cluster: "memory", Epoch: 1, Position: 7, Hash: "00", Left: true}
	forgotten, halted := stored, stored
	forgotten.Forgotten, halted.Halted = true, "it has diverged"
	for name, c := range map[string]struct {
		before    *cluster.Beat
		stored    bool
		replacing bool
		back      bool
	}{
		"a store that is there":       {&stored, true, false, true},
		"one that has halted":         {&halted, true, false, true},
		"one that was forgotten":      {&forgotten, true, false, true},
		"no store":                    {&stored, false, false, false},
		"no store, and forgotten":     {&forgotten, false, false, true},
		"a store that may be another": {&stored, true, true, false},
		"a node that was never there": {nil, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each takes some seconds
			log := memorylog.New("a", "b", "c")
			head, err := log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			before := []byte(nil)
			if c.before != nil {
				if before, err = json.Marshal(c.before); err != nil {
					t.Fatal(err)
				}
				if _, err := log.Registry().Put(t.Context(), "c", before, 0); err != nil {
					t.Fatal(err)
				}
			}
			p, err := cluster.TakePin(t.Context(), cluster.PinFor{Registry: log.Registry(), Node: "c", Head: head, Stored: c.stored}, 50)
			if err != nil {
				t.Fatal(err)
			}
			if c.replacing {
				p.Replacing()
			}
			if err := p.Release(); err != nil {
				t.Fatal(err)
			}
			after, _, err := log.Get(t.Context(), "c")
			if err != nil {
				t.Fatal(err)
			}
			if c.back {
				if string(after) != string(before) {
					t.Errorf("it leaves %s, and found %s", after, before)
				}
				return
			}
			var b cluster.Beat
			if err := json.Unmarshal(after, &b); err != nil || !b.Joining || b.Hash != "" {
				t.Errorf("it leaves %s, %v", after, err)
			}
		})
	}
}

// oldFirst is a registry that answers once as if nobody had told anything, and whose first answer
// to what is put is lost, if it is to be.
type oldFirst struct {
	cluster.Registry
	asked, put int
	loses      bool
}

func (r *oldFirst) Get(ctx context.Context, node string) ([]byte, uint64, error) {
	if r.asked++; r.asked == 1 {
		return nil, 0, nil
	}
	return r.Registry.Get(ctx, node)
}

func (r *oldFirst) Put(ctx context.Context, node string, value []byte, revision uint64) (uint64, error) {
	next, err := r.Registry.Put(ctx, node, value, revision)
	if err == nil {
		if r.put++; r.put == 1 && r.loses {
			return 0, cluster.ErrUnreachable
		}
	}
	return next, err
}

// TestPinJudgesByWhatItReplaces: an older word of the node, which the registry may tell first, says
// neither from where the log is held nor what is given back. Nor does the pin's own.
func TestPinJudgesByWhatItReplaces(t *testing.T) {
	for _, loses := range []bool{false, true} {
		t.Run(map[bool]string{false: "", true: "with an answer lost"}[loses], func(t *testing.T) {
			t.Parallel()
			log := memorylog.New("a", "b", "c")
			head, err := log.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			const before = `{"node":"c","session":"before","cluster":"memory","epoch":1,"position":30,"left":true}`
			if _, err := log.Registry().Put(t.Context(), "c", []byte(before), 0); err != nil {
				t.Fatal(err)
			}
			registry := &oldFirst{Registry: log.Registry(), loses: loses}
			p, err := cluster.TakePin(t.Context(), cluster.PinFor{Registry: registry, Node: "c", Head: head, Stored: true}, 50)
			if err != nil {
				t.Fatal(err)
			}
			var b cluster.Beat
			if value, _, err := log.Get(t.Context(), "c"); err != nil || json.Unmarshal(value, &b) != nil || b.Position != 30 || !b.Joining {
				t.Errorf("it holds the log from %s, %v", value, err)
			}
			if err := p.Release(); err != nil {
				t.Fatal(err)
			}
			if value, _, err := log.Get(t.Context(), "c"); err != nil || string(value) != before {
				t.Errorf("it leaves %s, %v", value, err)
			}
		})
	}
}
