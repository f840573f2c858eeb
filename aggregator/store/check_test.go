package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekali/aggregator/dedup"
	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// TestChecksSortNothing: no query of check keeps rows aside, so check takes as much memory
// for a hundred million events as for one.
func TestChecksSortNothing(t *testing.T) {
	for _, design := range []Design{{DedupRuns, LayoutBlocks}, {DedupTable, LayoutBlocks}, {DedupRuns, LayoutRows}, {DedupTable, LayoutRows}} {
		dir := t.TempDir()
		s, _, err := Open(dir, design)
		if err != nil {
			t.Fatal(err)
		}
		all := checks
		if design.Dedup == DedupTable {
			all = slices.Concat(all, tableChecks)
		}
		for _, c := range all {
			plan := ""
			if err := s.writer.Rows("EXPLAIN QUERY PLAN "+c.query, func(row *sqlite.Statement) error {
				plan += row.ColumnText(3) + "\n"
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			// A block that is unpacked for the view is one row.
			plan = strings.ReplaceAll(plan, "MATERIALIZE (subquery-4)\nSCAN CONSTANT ROW\n", "")
			for _, aside := range []string{"TEMP B-TREE", "MATERIALIZE", "AUTOMATIC"} {
				if strings.Contains(plan, aside) {
					t.Errorf("%+v, %s:\n%s", design, c.what, plan)
				}
			}
			if strings.Contains(c.query, "OVER (") { // of which the plan says nothing: a window keeps its rows
				t.Errorf("%s: a window", c.what)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTopicsOfBlocksAreChecked: a topic too many of a block, and one too few, are found, also both
// at once.
func TestTopicsOfBlocksAreChecked(t *testing.T) {
	for _, c := range []struct {
		statements []string
		missing    string
		tooMany    string
	}{
		{nil, "", ""},
		{[]string{"INSERT INTO topic_blocks SELECT 'none', first_seq FROM blocks LIMIT 1"}, "", "1 topics that"},
		{[]string{"INSERT INTO topic_blocks SELECT 't1', max(first_seq) + 1 FROM blocks"}, "", "1 topics that"},
		{[]string{"DELETE FROM topic_blocks WHERE topic = 't1'"}, "1 topics of blocks that", ""},
		{[]string{"UPDATE topic_blocks SET topic = 'none' WHERE topic = 't1'"}, "1 topics of blocks that", "1 topics that"},
	} {
		dir := t.TempDir()
		s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		var rows []Row
		for i := range 30 {
			rows = append(rows, Row{Event: event.Event{Topic: fmt.Sprint("t", i%3), ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "{}"},
				ReceivedAt: "2026-11-23T06:41:10.000000000Z"})
		}
		if _, err := NewApplier(s).Apply(state, Batch{Rows: rows}); err != nil {
			t.Fatal(err)
		}
		for _, statement := range c.statements {
			if err := s.writer.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, faults, err := Check(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(faults, "\n")
		for _, want := range []struct{ text, of string }{{c.missing, "topics of blocks that topic_blocks does not know"}, {c.tooMany, "topics that topic_blocks knows"}} {
			if strings.Contains(all, want.of) != (want.text != "") || !strings.Contains(all, want.text) {
				t.Errorf("%q: %q, want %q", c.statements, faults, want.text)
			}
		}
	}
}

// TestDoubledEventsAreCounted: check reads identities by a hash, in passes. Whatever the hash is
// worth and however many passes there are, it counts those that are stored twice, and no others.
func TestDoubledEventsAreCounted(t *testing.T) {
	for name, hash := range map[string]func([]byte) uint64{
		"as it is":     hashOf,
		"of four":      func(text []byte) uint64 { return hashOf(text) % 4 },
		"all the same": func([]byte) uint64 { return 7 },
	} {
		for passes := range uint64(3) {
			for _, doubled := range []int{0, 1, 25} {
				got := 0
				for pass := range passes + 1 {
					n, err := identitiesTwice(nil, doubles{again: doubled}, pass, passes+1, 100, hash)
					if err != nil {
						t.Fatal(err)
					}
					got += n
				}
				if got != doubled {
					t.Errorf("%s, %d passes: %d of %d", name, passes+1, got, doubled)
				}
			}
		}
	}
}

// doubles is a layout of 100 events and of the first so many once more.
type doubles struct {
	layout
	again int
}

func (d doubles) identities(_ *sqlite.Conn, _, _ int64, each func(int64, string, string, dedup.Content) error) error {
	for i := range 100 + d.again {
		if err := each(int64(i), "t", fmt.Sprint(i%100), 0); err != nil {
			return err
		}
	}
	return nil
}

// TestTimesAreChecked: of the events that have not expired, in both layouts.
func TestTimesAreChecked(t *testing.T) {
	for _, layout := range []Layout{LayoutBlocks, LayoutRows} {
		for want, times := range map[string]string{"": "00122", "1 events received before their predecessor": "01012", "2 events received before": "21033"} {
			dir := t.TempDir()
			s, state, err := Open(dir, Design{DedupRuns, layout})
			if err != nil {
				t.Fatal(err)
			}
			applier := NewApplier(s)
			for i, at := range times {
				row := Row{Event: event.Event{Topic: "t", ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "{}"},
					ReceivedAt: fmt.Sprintf("2026-11-23T06:41:1%c.000000000Z", at)}
				done, err := applier.Apply(state, Batch{Rows: []Row{row}})
				if err != nil {
					t.Fatal(err)
				}
				state = done.State
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, faults, err := Check(t.Context(), dir)
			if all := strings.Join(faults, "\n"); err != nil || !strings.HasPrefix(all, want) || want == "" && all != "" {
				t.Errorf("%s, %s: %q, %v, want %q", layout, times, faults, err, want)
			}
		}
	}
}
