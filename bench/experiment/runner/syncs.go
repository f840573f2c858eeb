package runner

import (
	"fmt"
	"path/filepath"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/system/process"
	"sekali/loadgen/ledger"
)

// watchSyncs has strace note the aggregator's syncs, if that is asked for. It stops the process at
// every system call for a moment, so that no figure of such a run is worth anything.
func (s *session) watchSyncs() (err error) {
	if s.config.CountSyncs && !s.config.external() {
		s.syncs, err = process.WatchSyncs(s.aggregator.process(), s.data+".syncs")
	}
	return err
}

// checkSyncs holds the syncs and commits that the aggregator counted to the ledger: what was
// acknowledged at one moment after the other was made durable as often. Where strace noted them,
// its journal was synced as often as it says.
func (s *session) checkSyncs(final stats) (checks []audit.Check, err error) {
	apart, err := audit.Apart(ledger.ReadFile(filepath.Join(s.dir, record.RequestsFile)))
	if err != nil {
		return nil, err
	}
	syncs := final.JournalSyncs - s.base.JournalSyncs
	alive := s.run.Fault == nil || s.run.Fault.ExitedNS == 0 // a process counts its syncs from its own start
	switch {
	case s.run.Cluster != nil: // each node makes durable what it acknowledges, and these are one's counters
	case s.run.Aggregator.Ack == "journal" && alive:
		checks = append(checks, audit.AtLeast(audit.SyncsByLedger, syncs, apart))
	case s.run.Aggregator.Ack == "store":
		checks = append(checks, audit.AtLeast(audit.CommitsByLedger, final.Commits-s.base.Commits, apart))
	}
	if s.syncs == nil {
		return checks, nil
	}
	seen, err := s.syncs.Count("/journal")
	s.syncs = nil
	if err != nil {
		return nil, fmt.Errorf("syncs: %w", err)
	}
	return append(checks, audit.AtMost(audit.SyncsByKernel, syncs, seen)), nil
}

// forgetSyncs ends what a run that failed has left.
func (s *session) forgetSyncs() {
	if s.syncs != nil {
		_, _ = s.syncs.Count("")
	}
}
