package record

// Histograms is histograms.json: what the aggregator counted in the measured window, from the start
// of the first measured phase until the drain. A restart begins a new window, since the aggregator
// counts from its own start.
type Histograms struct {
	Windows []HistogramWindow `json:"windows"`
}

// HistogramWindow is one stretch of one process's life: what it counted is End − Start.
type HistogramWindow struct {
	StartNS int64    `json:"start_ns"`
	EndNS   int64    `json:"end_ns"`
	Start   Snapshot `json:"start"`
	End     Snapshot `json:"end"`
}

// Snapshot is the "histograms" object of /stats, cumulative since the process began: [value, count]
// pairs, values ascending, to three significant digits.
type Snapshot struct {
	ProcessingLatencyUS [][2]int64 `json:"processing_latency_us"` // accepted → committed, one count an event
	CommitUS            [][2]int64 `json:"commit_us"`
	JournalSyncUS       [][2]int64 `json:"journal_sync_us"`
	RunsHeldUS          [][2]int64 `json:"runs_held_us,omitempty"` // what a transaction waited for the runs' worker; none: earlier aggregators do not say
	BatchEvents         [][2]int64 `json:"batch_events"`
}
