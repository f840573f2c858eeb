package audit

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"

	"sekali/loadgen/ledger"
)

// The checks of how often the aggregator says that it has synced or committed, by the ledger and as
// strace saw it.
const (
	SyncsByLedger   = "journal_syncs_by_ledger"
	CommitsByLedger = "commits_by_ledger"
	SyncsByKernel   = "journal_syncs_by_kernel"
)

// unbounded is the maximum of a check that has none.
const unbounded = math.MaxInt64

// Apart is how many acknowledged attempts there are of which no two were under way at the same
// time. Each was made durable between its sending and its answer, so that a server has synced, or
// committed, at least as often.
func Apart(attempts iter.Seq2[ledger.Attempt, error]) (n uint64, err error) {
	var spans [][2]int64
	for a, err := range attempts {
		if err != nil {
			return 0, fmt.Errorf("audit: ledger: %w", err)
		}
		if a.Outcome() == ledger.Acknowledged && a.Accepted > 0 {
			spans = append(spans, [2]int64{a.SentNS, a.DoneNS})
		}
	}
	// The one that ends first leaves the most room for others.
	slices.SortFunc(spans, func(a, b [2]int64) int { return cmp.Compare(a[1], b[1]) })
	end := int64(-1)
	for i, span := range spans {
		if i == 0 || span[0] > end {
			n, end = n+1, span[1]
		}
	}
	return n, nil
}

// AtLeast is the check that something was counted so often, or more.
func AtLeast(name string, got, least uint64) Check { return within(name, got, least, unbounded) }

// AtMost is the check that something was counted so often, or less.
func AtMost(name string, got, most uint64) Check { return within(name, got, 0, most) }
