package record

import "strings"

// Summary is what the measured phases came to. Every figure is rounded to six significant digits,
// so that a machine with another floating-point unit computes the same text. Null: not measured, or
// withheld for want of samples.
//
// "Window" below is the time from the first planned request of the measured phases until the last
// event that they had accepted was committed.
type Summary struct {
	AcceptedEvents            uint64   `json:"accepted_events"`  // by acknowledged requests of the measured phases, from the ledger
	RejectedEvents            uint64   `json:"rejected_events"`  // refused by index in those requests
	StoredEvents              uint64   `json:"stored_events"`    // whole run, by the aggregator's counters
	DuplicateEvents           uint64   `json:"duplicate_events"` // whole run, by the aggregator's counters
	DeduplicationRate         *float64 `json:"deduplication_rate"`
	DeduplicationRateExpected *float64 `json:"deduplication_rate_expected"` // by the stream, over what was acknowledged

	MeasuredS               float64  `json:"measured_s"`                 // first planned → last answer; of an open loop at least to the end of its schedule, one interval after the last request was due
	ProcessedS              float64  `json:"processed_s"`                // the window, of an open loop at least as long as measured_s
	ThroughputAcceptedPerS  *float64 `json:"throughput_accepted_per_s"`  // null, like the next: of too few requests
	ThroughputProcessedPerS *float64 `json:"throughput_processed_per_s"` // of too few requests and commits
	ThroughputStoredPerS    *float64 `json:"throughput_stored_per_s"`    // unique events

	ServiceTimeMS       Percentiles `json:"service_time_ms"`       // sent → answer, the attempt that was acknowledged
	ResponseTimeMS      Percentiles `json:"response_time_ms"`      // planned → acknowledged, waiting and retries included
	ProcessingLatencyMS Percentiles `json:"processing_latency_ms"` // accepted → committed, by the aggregator

	// RunsHeldMS is what a transaction waited for the worker that writes and merges the runs of
	// keys. Absent: the aggregator does not say.
	RunsHeldMS Percentiles `json:"runs_held_ms,omitzero"`
	// CommitGapMSMax is the longest time without a commit while events waited, in the window, to
	// within one sample of the trace. Absent: no two samples in turn saw events wait and none
	// committed in between, or a fault was injected.
	CommitGapMSMax *float64 `json:"commit_gap_ms_max,omitempty"`

	QueueDepthMax  uint64  `json:"queue_depth_max"`  // events, in the window
	QueueDepthMean float64 `json:"queue_depth_mean"` // over time, in the window
	DrainS         float64 `json:"drain_s"`          // last answer of the measured phases → end of the window

	// Little's law: the mean queue depth over the histograms' window, by the trace and by the
	// processing latencies. Null where a restart cut the window, or too few samples fell into it.
	LittleTraceEvents   *float64 `json:"little_trace_events,omitempty"`
	LittleLatencyEvents *float64 `json:"little_latency_events,omitempty"`

	RequestsPlanned      uint64            `json:"requests_planned"`
	RequestsSent         uint64            `json:"requests_sent"`
	RequestsAcknowledged uint64            `json:"requests_acknowledged"`
	RequestsRefused      uint64            `json:"requests_refused"` // every attempt was refused
	RequestsUnknown      uint64            `json:"requests_unknown"` // never acknowledged, and some attempt got no answer
	Retries              uint64            `json:"retries"`
	ErrorsByCause        map[string]uint64 `json:"errors_by_cause"` // attempts; "503 queue_full", "0 reset"

	GeneratorLagMS    Percentiles `json:"generator_lag_ms"`    // planned → first attempt sent
	GeneratorCPUShare *float64    `json:"generator_cpu_share"` // of all cores, in the window
	ServerCPUShare    *float64    `json:"server_cpu_share"`    // of all cores, in the window

	// OtherCPUShare is what neither of the two used, of the cores that they may use, in the window and
	// in a second at least: other processes, the kernel's own threads and interrupts, and other guests
	// of the machine's hypervisor. In records without surroundings it is of all cores, and is not said
	// of a window under a second.
	OtherCPUShare *float64 `json:"other_cpu_share,omitempty"`

	// What a CPU quota held back in the window, whichever group it was of: in so many of its periods,
	// and for so long on all cores together.
	ThrottledPeriods *int64   `json:"throttled_periods,omitempty"`
	ThrottledMS      *float64 `json:"throttled_ms,omitempty"`

	// GeneratorStalledShare is the part of the measured time, of a second at least, in which the
	// generator did not run though it should have: the sum of its stalls of over 20 ms.
	GeneratorStalledShare *float64 `json:"generator_stalled_share,omitempty"`

	// What a bare server took of the same load just before, and what the aggregator did beside it.
	// Absent: the scenario asks for no yardstick.
	BareRequestsPerS     *float64    `json:"bare_requests_per_s,omitempty"`
	BareServiceTimeMS    Percentiles `json:"bare_service_time_ms,omitzero"`
	BareCPUUSPerRequest  *float64    `json:"bare_cpu_us_per_request,omitempty"`
	RateToBare           *float64    `json:"rate_to_bare,omitempty"`             // requests a second, of the aggregator / of the bare server
	ServiceTimeP99ToBare *float64    `json:"service_time_p99_to_bare,omitempty"` // the same of the 99th percentiles

	GeneratorCeilingRequestsPerS *float64 `json:"generator_ceiling_requests_per_s,omitempty"` // against a server that only answers
	GeneratorCeilingEventsPerS   *float64 `json:"generator_ceiling_events_per_s,omitempty"`
	GeneratorCeilingShare        *float64 `json:"generator_ceiling_share,omitempty"` // of it, offered (open loop) or acknowledged (closed loop)

	ServerCPUUSPerStored    *float64 `json:"server_cpu_us_per_stored"`
	GeneratorCPUUSPerStored *float64 `json:"generator_cpu_us_per_stored"`
	BytesWrittenPerStored   *float64 `json:"bytes_written_per_stored"` // null on a tmpfs, which writes nothing
	SyncsPer1000Stored      *float64 `json:"syncs_per_1000_stored"`    // journal syncs and commits
	AllocatedBytesPerStored *float64 `json:"allocated_bytes_per_stored"`
	ServerRSSBytesMax       *int64   `json:"server_rss_bytes_max"` // whole run; null: not known
	// PageCacheBytes is what the kernel held of the data folder when all was committed, which is not
	// in the process's memory. Absent: not measurable, or a record of before it was.
	PageCacheBytes *int64 `json:"page_cache_bytes,omitempty"`

	GeneratorBytesWrittenPerStored   *float64 `json:"generator_bytes_written_per_stored,omitempty"`
	GeneratorAllocatedBytesPerStored *float64 `json:"generator_allocated_bytes_per_stored,omitempty"`

	Readers []ReaderSummary `json:"readers,omitempty"` // those that read beside the load, by kind

	// Null where the aggregator was seen ready all the time.
	UnavailableS *float64 `json:"unavailable_s"` // signal, or the disk broke → ready again
	ReadyAfterS  *float64 `json:"ready_after_s"` // start of the next process, or the disk was well → ready
	// UnansweredS is the longest time from the fault on in which no publisher got an acknowledgement
	// of any node. Absent: no fault, or no cluster.
	UnansweredS *float64 `json:"unanswered_s,omitempty"`

	// Of a node that was made anew. Absent: none was.
	JoinS       *float64 `json:"join_s,omitempty"`         // start of the command → the copy is in its place
	JoinLevelS  *float64 `json:"join_level_s,omitempty"`   // start of the command → as far as the others
	JoinBehind  *float64 `json:"join_behind,omitempty"`    // messages of the log that it then had to apply
	JoinLagSMax *float64 `json:"join_lag_s_max,omitempty"` // the longest lag that it told until it was level
}

// ReaderSummary is what readers of a kind came to.
type ReaderSummary struct {
	Kind   string      `json:"kind"`
	Reads  uint64      `json:"reads"`   // pages, or events of streams
	Events uint64      `json:"events"`  // in them
	Failed uint64      `json:"failed"`  // pages without an answer or with another than 200, and streams that ended early
	WaitMS Percentiles `json:"wait_ms"` // page: due → read; stream: received by the aggregator → read
}

// ReaderOf is what the readers of a kind came to; nothing where there were none.
func (s Summary) ReaderOf(kind string) ReaderSummary {
	for _, r := range s.Readers {
		if r.Kind == kind {
			return r
		}
	}
	return ReaderSummary{}
}

// FailedReads are those of all readers.
func (s Summary) FailedReads() (n uint64) {
	for _, r := range s.Readers {
		n += r.Failed
	}
	return n
}

// Refusals are the attempts of the measured phases that were answered 503, whether a retry got
// through or not.
func (s Summary) Refusals() uint64 {
	var n uint64
	for cause, count := range s.ErrorsByCause {
		if strings.HasPrefix(cause, "503 ") {
			n += count
		}
	}
	return n
}

// Failures are the attempts of the measured phases that had no answer, or another one than 2xx and
// 503, whether a retry got through or not.
func (s Summary) Failures() uint64 {
	var n uint64
	for _, count := range s.ErrorsByCause {
		n += count
	}
	return n - s.Refusals()
}

// Percentiles of a distribution, HDR with three significant digits. A percentile with fewer than
// ten samples beyond it is null; of the processing latency a sample is a commit, however many
// events it had.
type Percentiles struct {
	Count int64    `json:"count"`
	Mean  *float64 `json:"mean"`
	P50   *float64 `json:"p50"`
	P90   *float64 `json:"p90"`
	P99   *float64 `json:"p99"`
	P999  *float64 `json:"p999"`
	Max   *float64 `json:"max"` // null: no sample at all
}
