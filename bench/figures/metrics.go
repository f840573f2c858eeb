package figures

import (
	"slices"

	"sekali/bench/record"
)

// Metric is one figure of a summary, under the name that it has everywhere.
type Metric struct {
	Name   string // as in run.json; of a distribution with the percentile behind it: service_time_ms_p50
	Better Better
	Value  func(record.Summary) *float64 // nil: not measured, or withheld
}

// Better says which way an improvement goes.
type Better int

const (
	Neither Better = iota // the figure describes; it is not a merit of the aggregator
	Higher
	Lower
)

// Metrics are the figures that runs are compared by, in the order of the tables.
var Metrics = slices.Concat(
	[]Metric{
		{"throughput_accepted_per_s", Higher, func(s record.Summary) *float64 { return s.ThroughputAcceptedPerS }},
		{"throughput_processed_per_s", Higher, func(s record.Summary) *float64 { return s.ThroughputProcessedPerS }},
		{"throughput_stored_per_s", Higher, func(s record.Summary) *float64 { return s.ThroughputStoredPerS }},
	},
	distribution("processing_latency_ms", Lower, func(s record.Summary) record.Percentiles { return s.ProcessingLatencyMS }),
	[]Metric{
		{"runs_held_ms_p99", Lower, func(s record.Summary) *float64 { return s.RunsHeldMS.P99 }},
		{"runs_held_ms_max", Lower, func(s record.Summary) *float64 { return s.RunsHeldMS.Max }},
		{"commit_gap_ms_max", Lower, func(s record.Summary) *float64 { return s.CommitGapMSMax }},
		{"deduplication_rate", Neither, func(s record.Summary) *float64 { return s.DeduplicationRate }},
		number("queue_depth_max", Lower, func(s record.Summary) float64 { return float64(s.QueueDepthMax) }),
		number("queue_depth_mean", Lower, func(s record.Summary) float64 { return s.QueueDepthMean }),
		number("drain_s", Lower, func(s record.Summary) float64 { return s.DrainS }),
	},
	[]Metric{
		{"rate_to_bare", Higher, func(s record.Summary) *float64 { return s.RateToBare }},
		{"service_time_p99_to_bare", Lower, func(s record.Summary) *float64 { return s.ServiceTimeP99ToBare }},
	},
	readerMetrics(),
	distribution("service_time_ms", Lower, func(s record.Summary) record.Percentiles { return s.ServiceTimeMS }),
	distribution("response_time_ms", Lower, func(s record.Summary) record.Percentiles { return s.ResponseTimeMS }),
	[]Metric{
		number("requests_refused", Lower, func(s record.Summary) float64 { return float64(s.RequestsRefused) }),
		number("requests_unknown", Lower, func(s record.Summary) float64 { return float64(s.RequestsUnknown) }),
		number("retries", Lower, func(s record.Summary) float64 { return float64(s.Retries) }),
		{"server_cpu_us_per_stored", Lower, func(s record.Summary) *float64 { return s.ServerCPUUSPerStored }},
		{"generator_cpu_us_per_stored", Neither, func(s record.Summary) *float64 { return s.GeneratorCPUUSPerStored }},
		{"generator_bytes_written_per_stored", Neither, func(s record.Summary) *float64 { return s.GeneratorBytesWrittenPerStored }},
		{"generator_allocated_bytes_per_stored", Neither, func(s record.Summary) *float64 { return s.GeneratorAllocatedBytesPerStored }},
		{"bytes_written_per_stored", Lower, func(s record.Summary) *float64 { return s.BytesWrittenPerStored }},
		{"syncs_per_1000_stored", Lower, func(s record.Summary) *float64 { return s.SyncsPer1000Stored }},
		{"allocated_bytes_per_stored", Lower, func(s record.Summary) *float64 { return s.AllocatedBytesPerStored }},
		{"server_rss_bytes_max", Lower, func(s record.Summary) *float64 { return bytesOf(s.ServerRSSBytesMax) }},
		{"page_cache_bytes", Neither, func(s record.Summary) *float64 { return bytesOf(s.PageCacheBytes) }},
		{"unavailable_s", Lower, func(s record.Summary) *float64 { return s.UnavailableS }},
		{"ready_after_s", Lower, func(s record.Summary) *float64 { return s.ReadyAfterS }},
		{"join_s", Lower, func(s record.Summary) *float64 { return s.JoinS }},
		{"join_level_s", Lower, func(s record.Summary) *float64 { return s.JoinLevelS }},
		{"join_behind", Lower, func(s record.Summary) *float64 { return s.JoinBehind }},
		{"join_lag_s_max", Lower, func(s record.Summary) *float64 { return s.JoinLagSMax }},
	},
)

// bytesOf is nil where the bytes are.
func bytesOf(n *int64) *float64 {
	if n == nil {
		return nil
	}
	v := float64(*n)
	return &v
}

func number(name string, better Better, value func(record.Summary) float64) Metric {
	return Metric{name, better, func(s record.Summary) *float64 { v := value(s); return &v }}
}

func distribution(name string, better Better, of func(record.Summary) record.Percentiles) []Metric {
	return []Metric{
		{name + "_p50", better, func(s record.Summary) *float64 { return of(s).P50 }},
		{name + "_p90", better, func(s record.Summary) *float64 { return of(s).P90 }},
		{name + "_p99", better, func(s record.Summary) *float64 { return of(s).P99 }},
		{name + "_p999", better, func(s record.Summary) *float64 { return of(s).P999 }},
		{name + "_max", better, func(s record.Summary) *float64 { return of(s).Max }},
	}
}
