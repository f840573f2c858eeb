package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

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
