package record

import (
	"fmt"
	"strings"
)

// Environment is the machine and the build. What could not be read is empty or zero.
type Environment struct {
	CPUModel       string    `json:"cpu_model"`
	Cores          int       `json:"cores"`
	MemoryBytes    int64     `json:"memory_bytes"`
	Affinity       string    `json:"affinity,omitempty"`  // the cores that the lab may use, as 0-3,7; "": not recorded
	CPUQuota       string    `json:"cpu_quota,omitempty"` // the group's cpu.max: quota and period in µs, or "max …"; "": not recorded
	OS             string    `json:"os"`                  // as in linux/amd64
	Kernel         string    `json:"kernel"`
	Filesystem     string    `json:"filesystem"` // of the data folder: ext4, xfs, tmpfs, …
	Fdatasync      Fdatasync `json:"fdatasync"`
	GoVersion      string    `json:"go_version"`
	Store          Store     `json:"store"`
	Commit         string    `json:"commit"`
	Dirty          bool      `json:"dirty"`             // the tree of the lab or of the aggregator had uncommitted changes
	Race           bool      `json:"race"`              // the lab or the aggregator was built with the race detector
	TmpfsIsAllowed bool      `json:"tmpfs_is_allowed"`  // the scenario says so
	Disk           *Disk     `json:"disk,omitempty"`    // that is held to a rate for the data folder; absent: the machine's own
	Network        *Network  `json:"network,omitempty"` // that publishers reach the aggregator over; absent: the loopback, or none of ours
}

// Fdatasync is what 4 KB appended and synced cost on the data folder's disk just before the run.
type Fdatasync struct {
	P50US float64 `json:"p50_us"`
	P99US float64 `json:"p99_us"`
	Count int     `json:"count"`
}

// Disk is what the data folder's disk was held to, and what it took just before the run, written
// past the page cache. 0: no limit.
type Disk struct {
	MBPerS                 int     `json:"mb_per_s"`
	OperationsPerS         int     `json:"operations_per_s"`
	MeasuredMBPerS         float64 `json:"measured_mb_per_s"`
	MeasuredOperationsPerS float64 `json:"measured_operations_per_s"`
}

// Network is what the network was to do between publishers and the aggregator, each way alike, and
// what it did just before the run. 0: no delay of its own, no limit.
type Network struct {
	RTTMS            float64 `json:"rtt_ms"`
	MbitPerS         int     `json:"mbit_per_s"` // of 10⁶ bits
	MeasuredRTTMS    float64 `json:"measured_rtt_ms"`
	MeasuredMbitPerS float64 `json:"measured_mbit_per_s"` // to the aggregator; not measured where there is no limit
}

// String is what it was to do; nil is the loopback.
func (n *Network) String() string {
	if n == nil {
		return "loopback"
	}
	return networkText(n.RTTMS, float64(n.MbitPerS))
}

// Measured is what it did.
func (n *Network) Measured() string { return networkText(n.MeasuredRTTMS, n.MeasuredMbitPerS) }

func networkText(rttMS, mbitPerS float64) string {
	var parts []string
	if rttMS > 0 {
		parts = append(parts, fmt.Sprintf("%.4g ms there and back", rttMS))
	}
	if mbitPerS > 0 {
		parts = append(parts, fmt.Sprintf("%.0f Mbit/s", mbitPerS))
	}
	return strings.Join(parts, ", ")
}

// Store is what the aggregator reads back from its database.
type Store struct {
	Dedup         string `json:"dedup"`
	Layout        string `json:"layout"`
	SQLiteVersion string `json:"sqlite_version"`
	JournalMode   string `json:"journal_mode"`
	Synchronous   string `json:"synchronous"`
	PageSize      int    `json:"page_size"`
}

// Surroundings is what generator and aggregator had around them while the load lasted.
type Surroundings struct {
	Cores     string `json:"cores"`      // that either of the two may use, as 0-3,7: on these, others' CPU time is summed
	CoreCount int    `json:"core_count"` // of them; 0: not known

	AggregatorAffinity string   `json:"aggregator_affinity,omitempty"` // the cores that it may use; "": not known
	AggregatorQuota    string   `json:"aggregator_quota,omitempty"`    // as cpu_quota of the environment; "": not known
	Groups             []string `json:"groups,omitempty"`              // control groups whose throttling is in the trace

	OthersUnknown     string `json:"others_unknown,omitempty"`     // why others' CPU time is not in the trace; "": it is
	ThrottlingUnknown string `json:"throttling_unknown,omitempty"` // why throttling is not in it; "": it is

	// What of the data folder was in the page cache when all was committed, before anything of it was
	// read back. Without either it was not recorded.
	PageCacheBytes   *int64 `json:"page_cache_bytes,omitempty"`
	PageCacheUnknown string `json:"page_cache_unknown,omitempty"` // why that is not known
}
