package store

import (
	"slices"
	"strings"
	"testing"

	"sekali/internal/sqlite"
)

// TestChecksSortNothing: no query of check keeps rows aside, so check takes as much memory for a
// hundred million events as for one.
func TestChecksSortNothing(t *testing.T) {
	for _, design := range []Design{{DedupRuns, LayoutBlocks}, {DedupTable, LayoutBlocks}, {DedupRuns, LayoutRows}, {DedupTable, LayoutRows}} {
		dir := t.TempDir()
		s, _, err := Open(dir, design)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(checks, newLayout(design.Layout).checks())
		if design.Dedup == DedupTable {
			all = append(all, tableChecks...)
		}
		for _, c := range all {
			plan := ""
			if err := s.writer.Rows("EXPLAIN QUERY PLAN "+c.query, func(row *sqlite.Statement) error {
				plan += row.ColumnText(3) + "\n"
				return nil
			}); err != nil {
				t.Fatal(err)
			}
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
