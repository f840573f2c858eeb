package figures_test

import (
	"slices"
	"strings"
	"testing"

	"sekali/bench/figures"
	"sekali/bench/internal/audit"
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
	hits := 0
	for before, held := range map[uint64]bool{had: true, had - 1: false} {
		raw.Run.Cluster = &record.Cluster{Before: before}
		again, _ := figures.Audit(raw, recorded) // no other replica has been audited, which is its error
		for _, c := range again.Checks {
			if c.Name != "database_events" {
				continue
			}
			if hits++; c.Held != held {
				t.Errorf("%d before: %+v", before, c)
			}
		}
	}
	if hits != 2 {
		t.Errorf("database_events was checked %d times, want 2", hits)
	}
}

// TestMoreStrange: events beyond those that a record keeps in words are stored, and unexpected.
func TestMoreStrange(t *testing.T) {
	raw, err := record.ReadRaw(resulttest.Folder(t, resulttest.Steady))
	if err != nil {
		t.Fatal(err)
	}
	before, err := figures.Audit(raw, *raw.Run.Audit)
	if err != nil {
		t.Fatal(err)
	}
	raw.Stored.MoreStrange = 7
	again, err := figures.Audit(raw, *raw.Run.Audit)
	if err != nil || again.Unexpected != before.Unexpected+7 || again.Stored != before.Stored+7 || again.Lost != before.Lost {
		t.Errorf("%d unexpected, %d stored, %d lost; without them %d, %d, %d; %v", again.Unexpected, again.Stored, again.Lost,
			before.Unexpected, before.Stored, before.Lost, err)
	}
	failed := again.FailedChecks()
	if !slices.ContainsFunc(failed, func(c audit.Check) bool { return c.Name == "unique_processed" }) {
		t.Errorf("the counter is that without them, and no check failed: %v", failed)
	}
}

// TestPlanBeyondTheLedger: a plan of more requests than the ledger has rows is an error, and takes
// no memory for them.
func TestPlanBeyondTheLedger(t *testing.T) {
	dir := resulttest.Folder(t, resulttest.Steady)
	resulttest.RewriteRun(t, dir, func(r *record.Run) { r.Phases[len(r.Phases)-1].Planned = 1 << 50 })
	if _, err := record.ReadRaw(dir); err == nil || !strings.Contains(err.Error(), "requests planned") {
		t.Error(err)
	}
}
