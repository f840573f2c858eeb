package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
