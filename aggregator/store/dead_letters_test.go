package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// trigger is an operator's own, which refuses events of the topic "bad".
type trigger struct{ when, table, raise string }

// triggers are those that can be set on a database of this design and end in one of these.
func triggers(d Design, raises ...string) (all []trigger) {
	tables := []string{"events"}
	if d.Layout == LayoutBlocks {
		tables = []string{"topic_blocks"}
	}
	if d.Dedup == DedupTable {
		tables = append(tables, "dedup_store")
	}
	for _, table := range tables {
		for _, raise := range raises {
			all = append(all, trigger{"BEFORE", table, raise})
			if raise != "IGNORE" { // by then the row is stored, and stays
				all = append(all, trigger{"AFTER", table, raise})
			}
		}
	}
	return all
}

func (g trigger) name() string { return fmt.Sprint(g.when, " ", g.table, " ", g.raise) }

// set makes the trigger.
func (g trigger) set(t *testing.T, s *Store) {
	t.Helper()
	packTopics(s, true) // but not where a trigger waits for the rows
	action := "RAISE(" + g.raise + ", 'no bad events')"
	if g.raise == "IGNORE" {
		action = "RAISE(IGNORE)"
	}
	if err := s.writer.Exec(fmt.Sprintf("CREATE TRIGGER refuse %s INSERT ON %s WHEN NEW.topic = 'bad' BEGIN SELECT %s; END", g.when, g.table, action)); err != nil {
		t.Fatal(err)
	}
}

// eachTrigger runs a test with an empty store of every design and each of its triggers.
func eachTrigger(t *testing.T, raises []string, test func(t *testing.T, design Design, g trigger)) {
	for _, design := range designs {
		for _, g := range triggers(design, raises...) {
			t.Run(fmt.Sprint(design.Dedup, "-", design.Layout, " ", g.name()), func(t *testing.T) { test(t, design, g) })
		}
	}
}

func refusable(topic, id string) Row {
	return Row{Event: event.Event{Topic: topic, ID: id, Timestamp: "2026-11-23T06:41:10Z", Payload: `{"x": 1}`}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
}

// TestRefusedEventsAreSetAside: an event that the database refuses is a dead letter, neither stored
// nor a duplicate, its neighbours are stored, and a repeat is tried again. Nothing conflicts with
// it.
func TestRefusedEventsAreSetAside(t *testing.T) {
	eachTrigger(t, []string{"ABORT", "FAIL", "IGNORE"}, func(t *testing.T, design Design, g trigger) {
		dir := t.TempDir()
		s, state, err := Open(dir, design)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		g.set(t, s)
		row := refusable
		rows := []Row{row("good", "1"), row("bad", "1"), row("good", "2"), row("good", "1"), row("bad", "1"), row("bad", "2"), row("good", "3")}
		rows[4].Payload = `{"x": 2}` // repeats a refused row, and says something else
		apply := NewApplier(s)
		out, err := apply.Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(out.Stored, out.Failed), "[true false true false false false true] map[1:true 4:true 5:true]"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		if s := out.State; s.UniqueProcessed != 3 || s.DuplicateDropped != 1 || s.Failed != 3 || s.Conflicts != 0 || s.LastSeq != 7 {
			t.Fatalf("%+v", s)
		}
		reason := "no bad events"
		if g.raise == "IGNORE" {
			reason = sqlite.ErrIgnored.Error()
		}
		letters, _, err := s.DeadLetters(t.Context(), Page{Limit: 10, Bytes: 1 << 20})
		if err != nil || len(letters) != 2 || letters[0].EventID != "1" || letters[0].Attempts != 2 || *letters[0].Payload != `{"x": 1}` ||
			!strings.Contains(letters[0].Error, reason) || letters[1].EventID != "2" {
			t.Fatalf("%+v, %v", letters, err)
		}
		// The cause goes away: what failed is stored when it is published again.
		if err := s.writer.Exec("DROP TRIGGER refuse"); err != nil {
			t.Fatal(err)
		}
		if out, err = apply.Apply(out.State, Batch{Rows: rows}); err != nil || out.State.UniqueProcessed != 5 || out.State.Failed != 3 || out.State.Conflicts != 1 {
			t.Fatalf("%+v, %v", out.State, err)
		}
		// And comes back: what is stored is a duplicate, whatever a trigger says.
		g.set(t, s)
		if out, err = apply.Apply(out.State, Batch{Rows: rows}); err != nil || out.State.UniqueProcessed != 5 || out.State.Failed != 3 || out.State.DuplicateDropped != 13 {
			t.Fatalf("%+v, %v", out.State, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
			t.Fatalf("%q, %v", faults, err)
		}
		var again State
		if s, again, err = Open(dir, design); err != nil || again != out.State {
			t.Fatalf("reopened: %+v, want %+v; %v", again, out.State, err)
		}
	})
}

// TestTriggerThatRollsBack: it ends the transaction in which the neighbours are. The batch fails,
// nothing of it is stored by halves, and it is stored once the trigger is gone.
func TestTriggerThatRollsBack(t *testing.T) {
	eachTrigger(t, []string{"ROLLBACK"}, func(t *testing.T, design Design, g trigger) {
		dir := t.TempDir()
		s, state, err := Open(dir, design)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		g.set(t, s)
		rows := []Row{refusable("good", "1"), refusable("bad", "1"), refusable("good", "2")}
		apply := NewApplier(s)
		for range 2 { // as the writer does
			if _, err := apply.Apply(state, Batch{Rows: rows}); err == nil || !strings.Contains(err.Error(), "no bad events") {
				t.Fatalf("%v", err)
			}
			if again, err := s.Reopen(); err != nil || again != state {
				t.Fatalf("%+v, %v", again, err)
			}
		}
		if err := s.writer.Exec("DROP TRIGGER refuse"); err != nil {
			t.Fatal(err)
		}
		if out, err := apply.Apply(state, Batch{Rows: rows}); err != nil || out.State.UniqueProcessed != 3 || out.State.Failed != 0 {
			t.Fatalf("%+v, %v", out.State, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
			t.Fatalf("%q, %v", faults, err)
		}
	})
}

// TestIgnoredCounters: what a trigger keeps from the state or from the dead letters fails the
// batch, for nobody could tell what became of it.
func TestIgnoredCounters(t *testing.T) {
	for _, what := range []string{"UPDATE ON state", "INSERT ON dead_letters"} {
		s, state, err := Open(t.TempDir(), Design{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		trigger{"BEFORE", "topic_blocks", "ABORT"}.set(t, s)
		if err := s.writer.Exec("CREATE TRIGGER mine BEFORE " + what + " BEGIN SELECT RAISE(IGNORE); END"); err != nil {
			t.Fatal(err)
		}
		if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{refusable("good", "1"), refusable("bad", "1")}}); !errors.Is(err, sqlite.ErrIgnored) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestTakingBackSearches: what a refused batch takes back lies at the ends of keys. The tables have
// a row for each topic of each block ever stored, and none of them is looked through.
func TestTakingBackSearches(t *testing.T) {
	s, _, err := Open(t.TempDir(), Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, sql := range []string{deleteBlocks, deleteTopicBlocks, deleteTopicRuns, deleteTopicBuckets} {
		var plan string
		err := s.writer.Rows("EXPLAIN QUERY PLAN "+sql, func(row *sqlite.Statement) error {
			plan += row.ColumnText(3) + "\n"
			return nil
		})
		if err != nil || !strings.Contains(plan, "SEARCH") || strings.Contains(plan, "SCAN") {
			t.Errorf("%s: %v, %s", sql, err, plan)
		}
	}
}

// BenchmarkRefusedBatch applies a batch of which the database refuses an event, behind 200 000 rows
// of topic_blocks.
func BenchmarkRefusedBatch(b *testing.B) {
	s, state, err := Open(b.TempDir(), Design{DedupRuns, LayoutBlocks})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.writer.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
		INSERT INTO topic_blocks SELECT 'topic-' || (i % 1000), -i FROM n;
		CREATE TRIGGER refuse BEFORE INSERT ON topic_blocks WHEN NEW.topic = 'bad' BEGIN SELECT RAISE(ABORT, 'no bad events'); END`); err != nil {
		b.Fatal(err)
	}
	apply := NewApplier(s)
	for n := 0; b.Loop(); n++ {
		out, err := apply.Apply(state, Batch{Rows: []Row{refusable("good", fmt.Sprint(n)), refusable("bad", fmt.Sprint(n))}})
		if err != nil || len(out.Failed) != 1 {
			b.Fatal(out, err)
		}
		state = out.State
	}
}
