package judge

import (
	"fmt"
	"math"
	"slices"
	"time"

	"sekali/bench/figures"
	"sekali/bench/record"
)

// The bounds beyond which the generator or the machine, not the aggregator, set the figure. All
// were chosen on 2 cores that generator and aggregator share; none is derived.
const (
	// maxLagMS bounds the 99th percentile of planned → sent: two time slices of a busy machine are
	// under 50 ms.
	maxLagMS = 50
	// maxGeneratorShare bounds the generator's part of all cores: beyond it little is left for the
	// aggregator.
	maxGeneratorShare = 0.75
	// maxOtherShare bounds what neither generator nor aggregator took of all cores: three tenths of
	// a core of two. The kernel's work for them (its threads that write to the disk, interrupts) is
	// in it, and so is what an idle desktop does beside, some hundredths of a core; a compiler,
	// another test or another guest of the hypervisor is beyond it.
	maxOtherShare = 0.15
	// maxCeilingShare bounds the rate as a part of what the generator can do: beyond it the
	// generator may have set it.
	maxCeilingShare = 0.8
	// minHeldShare and maxHeldShare bound what a disk takes or a network does just before a run as a
	// part of what it is held to. A disk's throttle lets a tenth of a second's worth through at once;
	// of a network's rate the headers of packets take 5 %.
	minHeldShare, maxHeldShare = 0.85, 1.15
	// maxStallNS bounds how long the whole machine may have stood still, by a ticker of 10 ms.
	maxStallNS = int64(250 * time.Millisecond)
	// maxStalledShare bounds the sum of the generator's stalls as a part of the measured time. In a
	// closed loop nothing else shows them: the publishers wait, and the aggregator seems slow.
	maxStalledShare = 0.05
	// maxTraceGapNS bounds the time between two answers of an aggregator that was up, at a sample
	// every 100 ms.
	maxTraceGapNS = int64(time.Second)
	// maxLittleError is how far the mean of the queue trace may be from what the processing
	// latencies say, as a share of the larger, beside three standard errors of the trace's own mean
	// and one request: samples that keep step with the requests always see the same moment of them.
	maxLittleError = 0.2
	// maxEarlyNS is how much earlier the processing latencies may have the last commit than the trace:
	// their clock is read after it, and a histogram rounds.
	maxEarlyNS = int64(20 * time.Millisecond)
	// minConnections is how many there are at least of which it is said how slow their first answers
	// were, and maxFirstNS and maxFirstFactor how much slower than the median of all they may be.
	minConnections = 3
	maxFirstNS     = int64(100 * time.Millisecond)
	maxFirstFactor = 10
)

// The codes of reasons. The first three lie in the machine as a rule, and pass; the CPU time of
// others includes what the kernel does for the server, a few hundredths of a core.
const (
	OthersTook        = "others_took_cpu"
	MachineStoodStill = "machine_stood_still"
	GeneratorStalled  = "generator_stalled"
	OthersUnknown     = "others_not_measurable"
	Throttled         = "throttled"
	ThrottlingUnknown = "throttling_not_measurable"
	OnTmpfs           = "on_tmpfs"
	DiskNotHeld       = "disk_not_held"
	NetworkNotHeld    = "network_not_held"
	DirtyTree         = "dirty_tree"
	WithRace          = "with_race"
	GeneratorLate     = "generator_late"
	GeneratorTook     = "generator_took_cpu"
	GeneratorSetRate  = "generator_set_rate"
	NoYardstick       = "yardstick_not_measured"
	NeverSent         = "never_sent"
	TraceIncomplete   = "trace_incomplete"
	TraceContradicts  = "trace_contradicts"
	LittlesLaw        = "littles_law"
	FirstAnswersSlow  = "first_answers_slow"
)

// remedies say what can be done about a reason that is not about what the aggregator said or did.
var remedies = map[string]string{
	OthersTook:        "close what else runs (a browser, a compiler, an update), and run the case again",
	OthersUnknown:     "run it where /proc/stat has a line for each core that the lab and the aggregator may use",
	Throttled:         "take the CPU quota away (docker --cpus, systemd's CPUQuota, a pod's limit), or pin the run to fewer cores instead: taskset",
	ThrottlingUnknown: "run it where /proc/PID/cgroup and /sys/fs/cgroup can be read",
	GeneratorStalled:  "find out what stops the lab (a debugger, a hypervisor, a machine that swaps), close what else runs, and run the case again",
	MachineStoodStill: "plug the machine in, turn power saving and swapping off, close what else runs, and run the case again",
	OnTmpfs:           "write to a disk: -out <folder on a disk>",
	DiskNotHeld:       "run it on a disk that is faster than what it is to be held to, and that nobody else writes to",
	NetworkNotHeld:    "close what else runs, and run the case again; if it stays, this machine is too slow for such a network",
	DirtyTree:         "commit the changes, `make build`, and run again: figures need a commit that they belong to",
	WithRace:          "build without -race: `make build`",
	GeneratorLate:     "close what else runs; if it stays, this machine is too slow for the rate: lower it in a copy of the scenario",
	GeneratorTook:     "run it on a machine with more cores, which generator and aggregator share",
	NoYardstick:       "run the case again; if it stays, the server that only answers is broken: report it",
	GeneratorSetRate:  "the aggregator may take more than this: run it on a machine with more cores",
}

// Remedy says what somebody who wants a VALID run can do about a reason for it not being one.
func Remedy(reason record.Reason) string {
	if remedy, ok := remedies[reason.Code]; ok {
		return remedy
	}
	if reason.Code == FirstAnswersSlow {
		return "run the case again; if it stays, the aggregator, or a cluster's log, was not ready when it said so: report it"
	}
	return "run the case again; if it stays, what the aggregator says of itself and what was sent do not agree: " +
		"keep the result folder and report it"
}

// OfAggregator reports that a reason is about what the aggregator said or did, and not about the
// machine, the generator or the build.
func OfAggregator(reason record.Reason) bool {
	_, ok := remedies[reason.Code]
	return !ok
}

// Disturbed reports that the run is INVALID for nothing but what lies in the machine, and passes.
func Disturbed(v record.Validity) bool {
	return !v.Valid && !slices.ContainsFunc(v.Reasons, func(r record.Reason) bool {
		return r.Code != OthersTook && r.Code != MachineStoodStill && r.Code != GeneratorStalled
	})
}

// DespiteDirtyTree is the validity without what was not committed. Who compares a change before it
// is a commit asks for it, and says beside the verdict that nobody can make the figures again.
func DespiteDirtyTree(v record.Validity) record.Validity {
	if !slices.ContainsFunc(v.Reasons, isDirtyTree) {
		return v
	}
	v.Reasons = slices.DeleteFunc(slices.Clone(v.Reasons), isDirtyTree)
	v.Valid = len(v.Reasons) == 0
	return v
}

func isDirtyTree(r record.Reason) bool { return r.Code == DirtyTree }

func because(code, format string, args ...any) record.Reason {
	return record.Reason{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Validate says whether the figures in s are the aggregator's.
func Validate(r *record.Raw, s record.Summary) record.Validity {
	around, unchecked := surroundingsReasons(r, s)
	reasons := slices.Concat(environmentReasons(r.Run.Environment), generatorReasons(r, s), around, traceReasons(r), latencyReasons(r, s), connectionReasons(r, s))
	if reasons == nil {
		reasons = []record.Reason{}
	}
	return record.Validity{Valid: len(reasons) == 0, Reasons: reasons, Unchecked: unchecked}
}

func environmentReasons(e record.Environment) []record.Reason {
	var reasons []record.Reason
	if e.Filesystem == "tmpfs" && !e.TmpfsIsAllowed {
		reasons = append(reasons, because(OnTmpfs, "the data folder is on tmpfs, where a sync costs nothing"))
	}
	if d := e.Disk; d != nil {
		reasons = append(reasons, heldReasons(DiskNotHeld, "disk", float64(d.MBPerS), d.MeasuredMBPerS, "MB/s")...)
		reasons = append(reasons, heldReasons(DiskNotHeld, "disk", float64(d.OperationsPerS), d.MeasuredOperationsPerS, "operations/s")...)
	}
	if n := e.Network; n != nil {
		reasons = append(reasons, heldReasons(NetworkNotHeld, "network", n.RTTMS, n.MeasuredRTTMS, "ms there and back")...)
		reasons = append(reasons, heldReasons(NetworkNotHeld, "network", float64(n.MbitPerS), n.MeasuredMbitPerS, "Mbit/s")...)
	}
	if e.Dirty {
		reasons = append(reasons, because(DirtyTree, "the tree has changes that are not committed"))
	}
	if e.Race {
		reasons = append(reasons, because(WithRace, "built with the race detector"))
	}
	return reasons
}

// heldReasons hold what a disk or a network took to what it was held to.
func heldReasons(code, what string, limit, measured float64, unit string) []record.Reason {
	if share := measured / limit; limit == 0 || share >= minHeldShare && share <= maxHeldShare {
		return nil
	}
	return []record.Reason{because(code, "the %s is to be held to %.9g %s, and took %.4g", what, limit, unit, measured)}
}

func generatorReasons(r *record.Raw, s record.Summary) []record.Reason {
	var reasons []record.Reason
	// Where there are too few requests for a percentile, the next coarser one has to do; a single
	// late one among few is as long as the machine may stand still.
	lag, of, bound := s.GeneratorLagMS.P99, "99th percentile", float64(maxLagMS)
	if lag == nil {
		lag, of = s.GeneratorLagMS.P90, "90th percentile"
	}
	if lag == nil {
		lag, of, bound = s.GeneratorLagMS.Max, "longest", float64(maxStallNS)/1e6
	}
	if lag != nil && *lag > bound {
		reasons = append(reasons, because(GeneratorLate, "the generator was late: %s of planned to sent is %.4g ms, the bound is %.0f ms", of, *lag, bound))
	}
	var planned, sent uint64
	for _, p := range r.Run.Phases {
		planned += p.Planned
	}
	for _, q := range r.Requests {
		if q.Attempts > 0 {
			sent++
		}
	}
	if sent != planned {
		reasons = append(reasons, because(NeverSent, "%d of %d planned requests were never sent", planned-sent, planned))
	}
	if share := s.GeneratorCPUShare; share != nil && *share > maxGeneratorShare {
		reasons = append(reasons, because(GeneratorTook, "the generator took %.0f %% of all cores, the bound is %.0f %%", *share*100, maxGeneratorShare*100))
	}
	if share := s.GeneratorCeilingShare; share != nil && *share > maxCeilingShare {
		reasons = append(reasons, because(GeneratorSetRate, "the generator, not the aggregator, set the rate: %.0f %% of its ceiling of %.4g requests/s, the bound is %.0f %%",
			*share*100, *s.GeneratorCeilingRequestsPerS, maxCeilingShare*100))
	}
	if r.Run.Yardstick != nil && s.RateToBare == nil {
		reasons = append(reasons, because(NoYardstick, "the yardstick has too few requests to set anything beside it"))
	}
	if stall := r.Run.Generator.LongestStallNS; stall > maxStallNS {
		reasons = append(reasons, because(MachineStoodStill, "the machine stood still for %d ms, the bound is %d ms", stall/1e6, maxStallNS/1e6))
	}
	return reasons
}

// traceReasons hold the trace to itself and to the ledger.
func traceReasons(r *record.Raw) []record.Reason {
	answered := r.Answered()
	if len(answered) < 2 || answered[0].TNS > 0 {
		return []record.Reason{because(TraceIncomplete, "the queue trace does not begin before the load")}
	}
	var reasons []record.Reason
	if r.Run.DrainedNS == 0 {
		reasons = append(reasons, because(TraceIncomplete, "the queue was not seen empty at the end"))
	}
	var wrong, fell int
	for i, s := range answered {
		if s.Received != s.Committed()+s.QueueDepth {
			wrong++
		}
		if i > 0 && s.Committed() < answered[i-1].Committed() {
			fell++
		}
	}
	if wrong > 0 {
		reasons = append(reasons, because(TraceContradicts, "in %d of %d samples the queue depth is not received - committed", wrong, len(answered)))
	}
	if fell > 0 {
		reasons = append(reasons, because(TraceContradicts, "in %d of %d samples the number of committed events fell", fell, len(answered)))
	}
	if gap := longestGapNS(r, answered); gap > maxTraceGapNS {
		reasons = append(reasons, because(TraceIncomplete, "the queue trace has a gap of %d ms, the bound is %d ms", gap/1e6, maxTraceGapNS/1e6))
	}
	if early, late := figures.OutsideLedger(r, answered); early+late > 0 {
		n := early + late
		reasons = append(reasons, because(TraceContradicts, "in %d of %d samples the received events are not those that the ledger had sent by then", n, len(answered)))
	}
	return reasons
}

// longestGapNS leaves out the time from the fault until the aggregator was ready again.
func longestGapNS(r *record.Raw, answered []record.Sample) int64 {
	var longest int64
	for i := 1; i < len(answered); i++ {
		from, to := answered[i-1].TNS, answered[i].TNS
		if f := r.Run.Fault; f != nil && from <= f.ReadyNS && to >= f.AtNS {
			continue
		}
		longest = max(longest, to-from)
	}
	return longest
}

// latencyReasons hold the queue trace to the processing latencies: to their mean, and to the
// longest, which ends the window.
func latencyReasons(r *record.Raw, s record.Summary) []record.Reason {
	if reasons := littleReasons(r, s); reasons != nil {
		return reasons
	}
	if early := figures.EndedTooEarlyNS(r, s); early > maxEarlyNS {
		return []record.Reason{because(TraceContradicts, "by the processing latencies all was committed %d ms before the queue trace still has events that wait", early/1e6)}
	}
	return nil
}

func littleReasons(r *record.Raw, s record.Summary) []record.Reason {
	if s.LittleTraceEvents == nil {
		return nil
	}
	depth, waits := *s.LittleTraceEvents+figures.WaitedBefore(r), *s.LittleLatencyEvents
	allowed := maxLittleError*max(depth, waits) + 3*figures.StandardError(r.Answered(), r.Histograms.Windows[0]) + float64(r.Run.Load.EventsPerRequest)
	if math.Abs(depth-waits) <= allowed {
		return nil
	}
	return []record.Reason{because(LittlesLaw, "Little's law: the trace's mean queue depth is %.4g, by the processing latencies it is %.4g", depth, waits)}
}

// connectionReasons hold the first answers of connections to those that are measured. The load
// opens its connections in the warm-up, so that no other figure has them. After a fault they wait
// for the aggregator.
func connectionReasons(r *record.Raw, s record.Summary) []record.Reason {
	g, median := r.Run.Generator, s.ServiceTimeMS.P50
	if g.Connections < minConnections || median == nil || r.Run.Fault != nil || float64(g.FirstAnswerNS) <= float64(maxFirstNS)+maxFirstFactor**median*1e6 {
		return nil
	}
	return []record.Reason{because(FirstAnswersSlow, "the first answers of %d connections took %d ms (median), and those that are measured %.3g ms",
		g.Connections, g.FirstAnswerNS/1e6, *median)}
}
