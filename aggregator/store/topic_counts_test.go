package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekali/internal/sqlite"
)

// TestDamagedCountsAreSetAside: a piece of topic_counts that is damaged stops neither the events
// nor what is counted of others. The check says where it is, before it is met and after.
func TestDamagedCountsAreSetAside(t *testing.T) {
	for _, damage := range []string{
		"x'00'",                          // cut
		"x'0001' || counts",              // more behind it
		"substr(counts, 1, 3) || 'zzzz'", // not in order
	} {
		dir := t.TempDir()
		s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		packTopics(s, true)
		apply := NewApplier(s)
		for batch := range 3 * runsAtOnce {
			if batch == 5 {
				if err := s.writer.Exec("UPDATE topic_counts SET counts = CAST(" + damage + " AS BLOB) WHERE run = 2"); err != nil {
					t.Fatal(err)
				}
			}
			seq := int(state.LastSeq)
			out, err := apply.Apply(state, Batch{Rows: []Row{topicRow("a", seq+1), topicRow(fmt.Sprint("b", batch), seq+2)}})
			if err != nil {
				t.Fatalf("%s: batch %d: %v", damage, batch, err)
			}
			if state = out.State; batch < 5 {
				continue
			}
			topics, err := s.Topics(t.Context(), 100, nil)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `topic_counts`) {
				t.Fatalf("%s: batch %d: %v", damage, batch, err)
			}
			if len(topics) != batch+1 || topics[0].Name != "a" || topics[0].Events != int64(batch) { // without run 2, the second batch
				t.Fatalf("%s: batch %d: %v", damage, batch, topics)
			}
			if _, faults, err := Check(t.Context(), dir); err != nil || !strings.Contains(strings.Join(faults, "\n"), "a piece of topic_counts") {
				t.Fatalf("%s: batch %d: %q, %v", damage, batch, faults, err)
			}
		}
		var damaged, runs int64
		if err := s.writer.Row("SELECT sum(run < 0), count(DISTINCT run) FROM topic_counts", &damaged, &runs); err != nil || damaged != 1 || runs > runsAtOnce {
			t.Errorf("%s: %d pieces are set aside beside %d runs, %v", damage, damaged, runs-1, err)
		}
		if err := s.writer.Exec("DELETE FROM topic_counts WHERE run < 0"); err != nil {
			t.Fatal(err)
		}
		got := counted(t, s)
		if got["a"] != 3*runsAtOnce-1 || got["b1"] != 0 || len(got) != 3*runsAtOnce {
			t.Errorf("%s: counted are %v", damage, got)
		}
	}
}

// TestDamagedTopicsAreTold: of a page of the table topics that is damaged SQLite gives nothing, and
// the error says so.
func TestDamagedTopicsAreTold(t *testing.T) {
	dir := t.TempDir()
	s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{topicRow("a", 1), topicRow("b", 2)}}); err != nil {
		t.Fatal(err)
	}
	var root int64
	if err := errors.Join(s.writer.Row("SELECT rootpage FROM sqlite_schema WHERE name = 'topics'", &root), s.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, File), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, PageBytes), (root-1)*PageBytes)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if s, _, err = Open(dir, Design{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Topics(t.Context(), 10, nil); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "topics") {
		t.Errorf("%v, want ErrDamaged of topics", err)
	}
}

// openPacked makes a store that counts the topics of each batch in a run.
func openPacked(t *testing.T) (*Store, State, *Applier) {
	s, state, err := Open(t.TempDir(), Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	packTopics(s, true)
	return s, state, NewApplier(s)
}

// TestMergesWaitForRoom: where the disk has no room to spare, runs of counts remain; once it has,
// they become one, and what is counted is the same all along.
func TestMergesWaitForRoom(t *testing.T) {
	s, state, apply := openPacked(t)
	room := int64(0)
	apply.Room = func() int64 { return room }
	runs := func() (n int64) {
		if err := s.writer.Row("SELECT count(DISTINCT run) FROM topic_counts", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for batch := range 5 * runsAtOnce {
		if batch == 4*runsAtOnce {
			if n := runs(); n != 4*runsAtOnce {
				t.Errorf("%d runs without room, want one a batch", n)
			}
			room = 1 << 20
		}
		seq := int(state.LastSeq)
		out, err := apply.Apply(state, Batch{Rows: []Row{topicRow("a", seq+1), topicRow(fmt.Sprint("b", batch), seq+2)}})
		if err != nil {
			t.Fatal(err)
		}
		state = out.State
		if got := counted(t, s); got["a"] != int64(batch+1) || len(got) != batch+2 {
			t.Fatalf("batch %d: counted are %v", batch, got)
		}
	}
	if n := runs(); n > runsAtOnce {
		t.Errorf("%d runs with room, want %d at most", n, runsAtOnce)
	}
}

// TestMergesDropWhatIsGone: a topic of which a merge finds as many events taken off as counted is
// in no run after it.
func TestMergesDropWhatIsGone(t *testing.T) {
	s, state, apply := openPacked(t)
	for batch := range 2 * runsAtOnce {
		out, err := apply.Apply(state, Batch{Rows: []Row{topicRow(fmt.Sprint("t", batch), batch+1)}})
		if err != nil {
			t.Fatal(err)
		}
		state = out.State
		if batch%2 == 0 {
			continue
		}
		err = s.Change(func(c *sqlite.Conn) error {
			return apply.uncountTopics(c, map[string]int64{fmt.Sprint("t", batch): 1, fmt.Sprint("t", batch-1): 1})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if topics, err := s.Topics(t.Context(), 100, nil); err != nil || len(topics) != 0 {
		t.Errorf("%v, %v", topics, err)
	}
	var topics int64
	if err := s.writer.Row("SELECT coalesce(sum(topics), 0) FROM topic_counts", &topics); err != nil || topics > 3*runsAtOnce/2 {
		t.Errorf("%d topics of which there is nothing, %v", topics, err)
	}
}
