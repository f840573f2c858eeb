package figures_test

import (
	"testing"

	"sekali/bench/figures"
	"sekali/bench/labtest/resulttest"
	"sekali/bench/record"
)

// TestStoredBefore: a cluster that had events before the load has them in the database as well.
func TestStoredBefore(t *testing.T) {
	raw, err := record.ReadRaw(resulttest.Folder(t, resulttest.Steady))
	if err != nil {
		t.Fatal(err)
	}
	const had = 300_000
	recorded := *raw.Run.Audit
	database := *recorded.Database
	recorded.Database = &database
	database.Events += had
	for before, held := range map[uint64]bool{had: true, had - 1: false} {
		raw.Run.Cluster = &record.Cluster{Before: before}
		again, _ := figures.Audit(raw, recorded) // no other replica has been audited, which is its error
		for _, c := range again.Checks {
			if c.Name == "database_events" && c.Held != held {
				t.Errorf("%d before: %+v", before, c)
			}
		}
		if len(again.Checks) == 0 {
			t.Error("nothing was checked")
		}
	}
}
