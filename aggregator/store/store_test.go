package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/aggregator/journal"
	"sekali/internal/memorydir"
	"sekali/internal/sqlite"
)

// TestApplyAgainstAMap applies the same random batches, with repeats inside and across them and
// reopenings between, to a store with a table and to one with runs, and compares all that is stored
// with a map. So few keys are kept in memory that runs are written and merged.
func TestApplyAgainstAMap(t *testing.T) {
	merged := false
	rapid.Check(t, func(t *rapid.T) {
		layout, newest, steps := rapid.SampledFrom([]Layout{LayoutRows, LayoutBlocks}).Draw(t, "layout"), rapid.IntRange(1, 12).Draw(t, "newest"), drawSteps(t)
		for _, d := range []Dedup{DedupTable, DedupRuns} {
			merged = applyAgainstAMap(t, Design{d, layout}, newest, steps) || merged
		}
	})
	// A busy machine may not have merged any of so few: then what has many.
	var steps []step
	for batch := range int64(30) {
		steps = append(steps, step{rows: killRows(batch)[:20]})
	}
	for range 20 {
		merged = merged || applyAgainstAMap(t, Design{DedupRuns, LayoutBlocks}, 3, steps)
	}
	if !merged {
		t.Error("no run was ever merged")
	}
}

// designs are all there are.
var designs = []Design{{DedupTable, LayoutRows}, {DedupTable, LayoutBlocks}, {DedupRuns, LayoutRows}, {DedupRuns, LayoutBlocks}}

// step is a batch, and whether the store is opened anew behind it.
type step struct {
	rows   []Row
	reopen bool
}

func drawSteps(t *rapid.T) (steps []step) {
	ids := rapid.IntRange(1, 1000).Draw(t, "ids")
	for batch := range rapid.IntRange(1, 7).Draw(t, "batches") {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "batch"), 0))
		s := step{reopen: rapid.IntRange(0, 4).Draw(t, "reopen") == 0}
		for i := range random.IntN(40) {
			s.rows = append(s.rows, Row{Event: event.Event{
				Topic:     fmt.Sprint("t", random.IntN(3)),
				ID:        fmt.Sprint("e", random.IntN(ids)),
				Timestamp: "2026-11-23T06:41:10Z",
				Payload:   fmt.Sprint(batch*1000 + i%5),
			}, ReceivedAt: time.Unix(int64(batch), 0).UTC().Format("2006-01-02T15:04:05.000000000Z")})
		}
		steps = append(steps, s)
	}
	return steps
}

// applyAgainstAMap reports whether runs were merged.
func applyAgainstAMap(t rapid.TB, design Design, newest int, steps []step) (merged bool) {
	dir, err := memorydir.Make("store")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	reopen := func() (*Store, State, error) {
		return open(&Store{path: filepath.Join(dir, File), asked: design, memtableKeys: newest})
	}
	s, state, err := reopen()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	apply := NewApplier(s)
	type stored struct {
		payload string
		seq     int64
	}
	model := map[[2]string]stored{}
	var received, conflicts int64
	for batch, step := range steps {
		rows := step.rows
		position := journal.Position{Segment: uint64(batch + 1), Offset: 40}
		packTopics(s, batch%3 > 0)
		out, err := apply.Apply(state, Batch{Rows: rows, Rejected: 1, Journal: position, JournalApplied: batch})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows {
			key := [2]string{r.Topic, r.ID}
			_, known := model[key]
			if out.Stored[i] == known {
				t.Fatalf("%v, row %d %v: stored %v, known before %v", design, i, key, out.Stored[i], known)
			}
			if !known {
				model[key] = stored{r.Payload, out.FirstSeq + int64(i)}
			}
			if model[key].payload != r.Payload {
				conflicts++
			}
			if want := model[key].seq; out.Seqs[i] != want && (design.Dedup == DedupRuns || !known || out.Seqs[i] != 0) {
				t.Fatalf("%v, row %d %v: seq %d, want %d", design, i, key, out.Seqs[i], want)
			}
		}
		if out.State.Conflicts != conflicts {
			t.Fatalf("%v: %d conflicts, want %d", design, out.State.Conflicts, conflicts)
		}
		received += int64(len(rows))
		state = out.State
		if d, ok := s.dedup.(*runsDedup); ok {
			for _, change := range d.index.Changes() {
				merged = merged || len(change.Remove) > 1
			}
		}
		if step.reopen {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var again State
			if s, again, err = reopen(); err != nil || again != state {
				t.Fatalf("reopened: %+v, want %+v; %v", again, state, err)
			}
			apply = NewApplier(s)
		} else if _, err := s.Checkpoint(); err != nil {
			t.Fatal(err)
		}
	}
	if state.UniqueProcessed != int64(len(model)) || state.UniqueProcessed+state.DuplicateDropped != received {
		t.Fatalf("%+v; %d unique of %d received", state, len(model), received)
	}
	// One after the other: a join of the two views would read each block once an event.
	for _, sql := range []string{"SELECT topic, event_id, seq, payload FROM events", "SELECT topic, event_id, seq, NULL FROM dedup_store"} {
		rows, err := s.Pool.Query(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		seen := map[[2]string]bool{}
		for n := 0; rows.Next(); n++ {
			var key [2]string
			var seq int64
			var payload *string
			if err := rows.Scan(&key[0], &key[1], &seq, &payload); err != nil {
				t.Fatal(err)
			}
			if want := model[key]; seq != want.seq || payload != nil && *payload != want.payload || seen[key] {
				t.Fatalf("%s: row %d is %v, seq %d, want %+v, once", sql, n, key, seq, want)
			}
			seen[key] = true
		}
		if err := rows.Err(); err != nil || len(seen) != len(model) {
			t.Fatalf("%s: %d rows, want %d, %v", sql, len(seen), len(model), err)
		}
	}
	topics, err := s.Topics(context.Background(), 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{}
	for key := range model {
		want[key[0]]++
	}
	for _, topic := range topics {
		if topic.Events != want[topic.Name] {
			t.Fatalf("%+v, want %d", topic, want[topic.Name])
		}
	}
	if len(topics) != len(want) {
		t.Fatalf("%d topics, want %d", len(topics), len(want))
	}
	if len(topics) > 0 { // whoever may see one alone finds it behind any number of others
		last := topics[len(topics)-1]
		only, err := s.Topics(context.Background(), 1, func(name string) bool { return name == last.Name })
		if err != nil || len(only) != 1 || only[0] != last {
			t.Fatalf("%v, %v, want %v", only, err, last)
		}
	}
	return merged
}

// TestCheckpointBeside copies the WAL while batches are committed: what is copied and what is not
// yet, all of it is read, and once the writer has copied the rest the WAL begins anew.
func TestCheckpointBeside(t *testing.T) {
	dir := t.TempDir()
	s, state, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	apply := NewApplier(s)
	commit := func() {
		t.Helper()
		out, err := apply.Apply(state, Batch{Rows: killRows(state.Commits)})
		if err != nil {
			t.Fatal(err)
		}
		state = out.State
	}
	var wal WAL
	// Of a round nothing may be copied: a transaction that begins together with the copy may keep what
	// is older than it needs. On a busy machine many rounds in a row are such.
	for end := time.Now().Add(30 * time.Second); wal.Checkpointed == 0 && time.Now().Before(end); {
		commit()
		copied := make(chan error)
		go func() { copied <- s.CheckpointBeside() }()
		for range 8 {
			commit()
		}
		if err := <-copied; err != nil {
			t.Fatal(err)
		}
		if wal, err = s.WAL(); err != nil {
			t.Fatal(err)
		}
	}
	if wal.Checkpointed == 0 {
		t.Fatalf("%+v, %v: nothing was copied", wal, err)
	}
	long := wal.Pages
	if wal, err = s.Checkpoint(); err != nil || wal.Checkpointed != wal.Pages {
		t.Fatalf("%+v, %v", wal, err)
	}
	commit()
	if wal, err = s.WAL(); err != nil || wal.Pages >= long {
		t.Fatalf("%+v after one of %d pages, %v: it goes on", wal, long, err)
	}
	var events int64
	if err := s.Pool.QueryRow("SELECT count(*) FROM events").Scan(&events); err != nil || events != state.UniqueProcessed {
		t.Fatalf("%d events, want %d, %v", events, state.UniqueProcessed, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
		t.Fatalf("%q %v", faults, err)
	}
}

// TestTextStaysText: 007 must not become 7, whatever it looks like.
func TestTextStaysText(t *testing.T) {
	s, state, err := Open(t.TempDir(), Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := event.Event{Topic: "007", ID: "1e3", Timestamp: "2026-11-23T06:41:10Z", Source: "0x10", Payload: "1.0"}
	if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{{Event: want, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}}}); err != nil {
		t.Fatal(err)
	}
	var got event.Event
	if err := s.Pool.QueryRow("SELECT topic, event_id, timestamp, source, payload FROM events").Scan(
		&got.Topic, &got.ID, &got.Timestamp, &got.Source, &got.Payload); err != nil || got != want {
		t.Fatalf("%+v, want %+v; %v", got, want, err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", info.Mode(), err)
	}
}

// TestDesignIsKept: a database stays what it was made as; asking for another design is refused.
func TestDesignIsKept(t *testing.T) {
	for _, made := range designs {
		dir := t.TempDir()
		for _, ask := range append([]Design{made, {}, {Dedup: made.Dedup}, {Layout: made.Layout}}, designs...) {
			s, _, err := Open(dir, ask)
			if ask.Dedup != "" && ask.Dedup != made.Dedup || ask.Layout != "" && ask.Layout != made.Layout {
				if !errors.Is(err, ErrDesign) {
					t.Fatalf("made as %q, opened as %q: %v", made, ask, err)
				}
				continue
			}
			if err != nil || s.Info.Design != made {
				t.Fatalf("made as %q, opened as %q: %v, %v", made, ask, s.Info.Design, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestViewsOfAPerson: whoever looks at the database may leave a view that only the shell can read,
// or that nobody can any more. The next start, the check and the backup go on beside it.
func TestViewsOfAPerson(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Close() }()
	if err := s.writer.Exec("CREATE VIEW gone AS SELECT x FROM nowhere; CREATE VIEW shells AS SELECT only_there(name) AS x FROM topics"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, state, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	row := Row{Event: event.Event{Topic: "a", ID: "1", Timestamp: "2026-11-23T06:41:10Z"}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
	if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{row}}); err != nil {
		t.Fatal(err)
	}
	checkFindsNothing(t, dir)
	copied := t.TempDir()
	if err := Backup(t.Context(), dir, filepath.Join(copied, File)); err != nil {
		t.Fatal(err)
	}
	checkFindsNothing(t, copied)
	restored, _, err := Open(copied, Design{})
	if err != nil {
		t.Fatal(err)
	}
	if err := restored.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, _, err := Open(dir, Design{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writer.Exec("PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, _, err := Open(dir, Design{}); err == nil {
		t.Fatal("a database of schema version 99 was opened")
	}
}

// TestOlderSchemasAreTakenForward opens databases that older versions made, dumped by the sqlite3
// shell: two events and a duplicate. A person has left a view in each.
func TestOlderSchemasAreTakenForward(t *testing.T) {
	dumps, err := filepath.Glob("testdata/version*.sql")
	if err != nil || len(dumps) == 0 {
		t.Fatal(dumps, err)
	}
	for _, dump := range dumps {
		t.Run(strings.TrimSuffix(filepath.Base(dump), ".sql"), func(t *testing.T) {
			sql, err := os.ReadFile(dump)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := touch(filepath.Join(dir, File)); err != nil {
				t.Fatal(err)
			}
			c, err := sqlite.Open(dsn(filepath.Join(dir, File), "mode=rw"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Exec(string(sql)), c.Exec("CREATE VIEW gone AS SELECT x FROM nowhere"), c.Close()); err != nil {
				t.Fatal(err)
			}
			s, state, err := Open(dir, Design{})
			if err != nil || state.UniqueProcessed != 2 || state.LastSeq != 3 {
				t.Fatalf("%+v, %v", state, err)
			}
			defer s.Close()
			row := Row{Event: event.Event{Topic: "a", ID: "1", Timestamp: "2026-11-23T06:41:10Z"}, ReceivedAt: state.LastReceivedAt}
			out, err := NewApplier(s).Apply(state, Batch{Rows: []Row{row}})
			conflicts := int64(1) // it has no payload, which the stored event has; the table has not kept that
			if s.Info.Dedup == DedupTable {
				conflicts = 0
			}
			if err != nil || out.State.DuplicateDropped != 2 || out.State.Conflicts != conflicts {
				t.Fatalf("%+v, %v", out.State, err)
			}
			if letters, _, err := s.DeadLetters(t.Context(), Page{Limit: 10, Bytes: 1 << 20}); err != nil || len(letters) != 0 {
				t.Fatalf("%v, %v", letters, err)
			}
			if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
				t.Fatalf("%q, %v", faults, err)
			}
		})
	}
}

// TestRowsAfterPrepare: rows that Prepare has not seen are an error, and not duplicates.
func TestRowsAfterPrepare(t *testing.T) {
	s, state, err := Open(t.TempDir(), Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	row := Row{Event: event.Event{Topic: "t", ID: "i", Timestamp: "2026-11-23T06:41:10Z"}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
	b := s.NewBatch()
	for prepared := range 2 {
		b.Rows = append(b.Rows, row)
		if _, err := NewApplier(s).Apply(state, b); err == nil {
			t.Errorf("%d of %d rows prepared: no error", prepared, len(b.Rows))
		}
		b.Prepare()
	}
	if out, err := NewApplier(s).Apply(state, b); err != nil || out.State.UniqueProcessed != 1 || out.State.DuplicateDropped != 1 {
		t.Errorf("prepared: %+v, %v", out.State, err)
	}
}

// BenchmarkApply stores the events of the performance model: 150 bytes of payload,
// random ids, one in five a repeat from the whole history. Give it a count of
// batches (-benchtime 100x): the cost grows with the store.
func BenchmarkApply(b *testing.B) {
	for _, design := range designs {
		for _, size := range []int{500, 5000, 20000, 50000} {
			b.Run(fmt.Sprintf("dedup=%s/layout=%s/batch=%d", design.Dedup, design.Layout, size), func(b *testing.B) {
				stock(b, design, 0, 10).applyBatches(b, size)
			})
		}
	}
}

// BenchmarkTopics stores batches of 50 000 beside 300 000 stored events, all of so many topics in
// no order.
func BenchmarkTopics(b *testing.B) {
	for _, topics := range []uint64{10, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			stock(b, Design{DedupRuns, LayoutBlocks}, 300_000, topics).applyBatches(b, 50_000)
		})
	}
}

// stocked is a store with events of the performance model.
type stocked struct {
	*Store
	dir       string
	state     State
	apply     *Applier
	originals uint64        // stored
	used      time.Duration // the processor's
	topics    uint64
}

// stock makes a store with at least so many events of so many topics. It is closed at the end of
// the benchmark, and the time of all this does not count.
func stock(b *testing.B, design Design, events, topics uint64) *stocked {
	s := &stocked{dir: b.TempDir(), topics: topics}
	var err error
	if s.Store, s.state, err = Open(s.dir, design); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	s.apply = NewApplier(s.Store)
	for rows := make([]Row, 10_000); s.originals < events; {
		s.applyBatch(b, rows)
	}
	b.ResetTimer()
	return s
}

// applyBatches stores b.N batches.
func (s *stocked) applyBatches(b *testing.B, size int) {
	rows := make([]Row, size)
	s.used = 0
	for range b.N {
		s.applyBatch(b, rows)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size), "ns/event")
	b.ReportMetric(float64(s.used.Nanoseconds())/float64(b.N*size), "cpu-ns/event")
	b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
}

// applyBatch stores the next events of the stream, of which rows are the buffer; the time to make
// them does not count.
func (s *stocked) applyBatch(b *testing.B, rows []Row) {
	const checkpointPages = 32_000 // as the writer has it under load
	b.StopTimer()
	s.originals = fill(rows, s.originals, s.topics)
	b.StartTimer()
	before := processor(b)
	defer func() { s.used += processor(b) - before }()
	out, err := s.apply.Apply(s.state, Batch{Rows: rows})
	if err != nil {
		b.Fatal(err)
	}
	s.state = out.State
	if wal, err := s.WAL(); err != nil {
		b.Fatal(err)
	} else if wal.Pages > checkpointPages {
		if _, err := s.Checkpoint(); err != nil {
			b.Fatal(err)
		}
	}
}

// processor is the processor's time that this process has taken.
func processor(b *testing.B) time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// fill makes rows of the stream whose first originals are stored.
func fill(rows []Row, originals, topics uint64) uint64 {
	random := rand.New(rand.NewPCG(originals, 2))
	for i := range rows {
		original := originals
		if random.IntN(5) == 0 && originals > 0 {
			original = random.Uint64N(originals)
		} else {
			originals++
		}
		r := rand.New(rand.NewPCG(original, 7))
		rows[i] = Row{Event: event.Event{
			ID:        fmt.Sprintf("%08x-%04x-4%03x-9%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48)),
			Topic:     fmt.Sprint("topic-", r.Uint64N(topics)),
			Timestamp: "2026-11-23T06:41:10.123456Z",
			Source:    "host-7",
			Payload:   fmt.Sprintf(`{"level":"info","msg":"%0126d"}`, original),
		}, ReceivedAt: "2026-11-23T06:41:10.123456789Z"}
	}
	return originals
}
