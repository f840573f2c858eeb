package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sekali/aggregator/event"
)

const (
	killedDir  = "SEKALI_TEST_KILLED_STORE"
	killNewest = 700 // keys in memory: a run every few batches, a merge every few tens
	killBatch  = 200
)

// TestMain applies batches until it is killed, if it is the child of TestKilledWhileRunsAreWritten.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killedDir); dir != "" {
		fmt.Fprintln(os.Stderr, applyForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func applyForEver(dir string) error {
	s, state, err := open(&Store{path: filepath.Join(dir, File), memtableKeys: killNewest})
	if err != nil {
		return err
	}
	go func() {
		for {
			if err := s.CheckpointBeside(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}()
	said := false // that this child has committed
	for apply := NewApplier(s); ; {
		packTopics(s, state.Commits%3 > 0)
		out, err := apply.Apply(state, Batch{Rows: killRows(state.Commits)})
		if err != nil {
			return err
		}
		if state = out.State; !said {
			said = true
			fmt.Println(state.Commits)
		}
		if state.Commits%50 == 0 {
			if _, err := s.Checkpoint(); err != nil {
				return err
			}
		}
	}
}

// killRows are the rows of a batch: about two thirds are new, the others repeat something of any
// batch before.
func killRows(batch int64) []Row {
	random := rand.New(rand.NewPCG(uint64(batch), 3))
	rows := make([]Row, killBatch)
	for i := range rows {
		id := batch*killBatch + int64(i)
		if random.IntN(3) == 0 {
			id = random.Int64N(id + 1)
		}
		rows[i] = Row{Event: event.Event{Topic: killTopic(id), ID: fmt.Sprint(id), Timestamp: "2026-11-23T06:41:10Z", Payload: fmt.Sprint(batch % 3)}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
	}
	return rows
}

func killTopic(id int64) string { return fmt.Sprint("t", id%97) }

// TestKilledWhileRunsAreWritten kills a process that writes and merges runs all the time, of keys
// and of topics, again and again on one folder, some time after its first commit. What was decided
// must be what a map decides.
func TestKilledWhileRunsAreWritten(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range 15 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), killedDir+"="+dir)
		child.Stderr = os.Stderr
		committed, err := child.StdoutPipe()
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := committed.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(50+random.IntN(250)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err.Error() != "signal: killed" {
			t.Fatal(err)
		}
	}
	s, state, err := open(&Store{path: filepath.Join(dir, File), memtableKeys: killNewest})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	known := map[string]string{} // the payload by id
	conflicts := int64(0)
	topics := map[string][]int64{} // seqs
	for batch := range state.Commits {
		for i, r := range killRows(batch) {
			if first, ok := known[r.ID]; !ok {
				known[r.ID] = r.Payload
				topics[r.Topic] = append(topics[r.Topic], batch*killBatch+int64(i)+1)
			} else if first != r.Payload {
				conflicts++
			}
		}
	}
	var runs, events int64
	if err := s.Pool.QueryRow("SELECT (SELECT count(*) FROM dedup_runs), (SELECT count(*) FROM events)").Scan(&runs, &events); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d batches, %d runs", state.Commits, runs)
	if state.UniqueProcessed != int64(len(known)) || events != int64(len(known)) || state.UniqueProcessed+state.DuplicateDropped != state.Commits*killBatch {
		t.Fatalf("%d events, %+v, want %d unique of %d", events, state, len(known), state.Commits*killBatch)
	}
	if state.Conflicts != conflicts {
		t.Fatalf("%d conflicts, want %d", state.Conflicts, conflicts)
	}
	for topic, n := range counted(t, s) {
		if int(n) != len(topics[topic]) {
			t.Errorf("%s: %d events are counted, want %d", topic, n, len(topics[topic]))
		}
	}
	for topic, want := range topics {
		var got []int64
		if err := s.layout.page(t.Context(), s.Pool, Page{Topic: topic}, func(seq int64, _ Row) bool { got = append(got, seq); return true }); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d events, want %d; %v", topic, len(got), len(want), err)
		}
	}
	if runs == 0 {
		t.Fatal("no run was written: the test has seen nothing")
	}
	if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
		t.Fatalf("%q %v", faults, err)
	}
}
