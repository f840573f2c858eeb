package store

import (
	"fmt"
	"strings"
	"testing"

	"sekali/aggregator/event"
)

// refuseBad makes the database refuse events of the topic "bad", as an operator's own trigger or a limit of SQLite's would.
func refuseBad(t *testing.T, s *Store) {
	t.Helper()
	table, topic := "events", "NEW.topic"
	if s.Info.Layout == LayoutBlocks {
		table = "topic_blocks"
	}
	err := s.writer.exec(fmt.Sprintf("CREATE TRIGGER refuse BEFORE INSERT ON %s WHEN %s = 'bad' BEGIN SELECT RAISE(ABORT, 'no bad events'); END", table, topic))
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefusedEventsAreSetAside: an event that the database refuses is a dead letter, neither stored nor a duplicate, its
// neighbours are stored, and a repeat is tried again. Nothing conflicts with it.
func TestRefusedEventsAreSetAside(t *testing.T) {
	for _, design := range designs {
		t.Run(string(design.Dedup+"-")+string(design.Layout), func(t *testing.T) {
			dir := t.TempDir()
			s, state, err := Open(dir, design)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { s.Close() }()
			refuseBad(t, s)
			row := func(topic, id string) Row {
				return Row{Event: event.Event{Topic: topic, ID: id, Timestamp: "2026-11-23T06:41:10Z", Payload: `{"x": 1}`}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
			}
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
			letters, _, err := s.DeadLetters(t.Context(), Page{Limit: 10, Bytes: 1 << 20})
			if err != nil || len(letters) != 2 || letters[0].EventID != "1" || letters[0].Attempts != 2 || *letters[0].Payload != `{"x": 1}` ||
				!strings.Contains(letters[0].Error, "no bad events") || letters[1].EventID != "2" {
				t.Fatalf("%+v, %v", letters, err)
			}
			// The cause goes away: what failed is stored when it is published again.
			if err := s.writer.exec("DROP TRIGGER refuse"); err != nil {
				t.Fatal(err)
			}
			if out, err = apply.Apply(out.State, Batch{Rows: rows}); err != nil || out.State.UniqueProcessed != 5 || out.State.Failed != 3 || out.State.Conflicts != 1 {
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
}
