package integration_test

import (
	"testing"

	"sekali/bench/experiment/faults"
	"sekali/bench/judge"
	"sekali/bench/record"
)

// TestClusterFaults tries those of a cluster's faults, once, that no other test here has: an
// upgrade, a stopped log leader, a node cut off from the log, a power cut of all, a flipped bit in
// a log server's files, a machine that is lost for ever, the control that loses it, and one that
// must be caught.
func TestClusterFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: it takes a minute")
	}
	logServer, err := logBinary()
	if err != nil {
		t.Skipf("skipped: sekali-log cannot be built here: %v", err)
	}
	dir := t.TempDir()
	for _, kind := range faults.ClusterCatalogue() {
		if kind.Short == 0 {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			row := tryFault(t, dir, faults.Config{Aggregator: binary, LogServer: logServer, Short: true, Log: t.Output()}, kind)
			if !judge.FaultHeld(row) || row.Acknowledged == 0 && row.Promise != record.MustBeCaught {
				t.Errorf("promised: %s; %+v", row.Promise, row)
			}
		})
	}
}
