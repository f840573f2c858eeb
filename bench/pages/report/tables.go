package report

import (
	"fmt"
	"slices"
	"strings"

	"sekali/bench/figures"
	"sekali/bench/internal/audit"
	"sekali/bench/record"
)

// row is one line of a table that has a column for each case.
type row struct {
	name string
	cell func(*group) string
}

func figureRow(name string, of func(record.Summary) *float64) row {
	return row{name, func(g *group) string { return g.show(of) }}
}

func numberRow(name string, of func(record.Summary) float64) row {
	return figureRow(name, func(s record.Summary) *float64 { v := of(s); return &v })
}

func countRow(name string, of func(repeat) uint64) row {
	return row{name, func(g *group) string { return exact(g.count(of)) }}
}

// exact writes a count with all its digits.
func exact(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + " " + text[i:]
	}
	return text
}

// distributionRows are the percentiles that any of the cases has.
func distributionRows(name string, of func(record.Summary) record.Percentiles) []row {
	return []row{
		figureRow(name+" p50, ms", func(s record.Summary) *float64 { return of(s).P50 }),
		figureRow(name+" p90, ms", func(s record.Summary) *float64 { return of(s).P90 }),
		figureRow(name+" p99, ms", func(s record.Summary) *float64 { return of(s).P99 }),
		figureRow(name+" p99.9, ms", func(s record.Summary) *float64 { return of(s).P999 }),
		figureRow(name+" max, ms", func(s record.Summary) *float64 { return of(s).Max }),
	}
}

var (
	serviceRows    = distributionRows("service time", func(s record.Summary) record.Percentiles { return s.ServiceTimeMS })
	responseRows   = distributionRows(responseTime, func(s record.Summary) record.Percentiles { return s.ResponseTimeMS })
	processingRows = distributionRows("processing latency", func(s record.Summary) record.Percentiles { return s.ProcessingLatencyMS })
)

// heldRows are what commits waited for the runs of keys, which is to be 50 ms at most.
var heldRows = []row{
	figureRow("a commit's wait for the runs of keys p99, ms", func(s record.Summary) *float64 { return s.RunsHeldMS.P99 }),
	figureRow("a commit's wait for the runs of keys max, ms (target: 50 at most)", func(s record.Summary) *float64 { return s.RunsHeldMS.Max }),
}

// steady is the scenario whose waits stand beside what the disk itself takes.
const steady = "steady"

// syncRows are response times as multiples of a bare fdatasync of 4 KB, measured on the same disk
// just before.
var syncRows = []row{
	{"response time p50, × fdatasync p50", func(g *group) string {
		return showValues(g.repeatValues(func(r repeat) *float64 { return inSyncs(r, r.Summary.ResponseTimeMS.P50) }))
	}},
	{"response time p99, × fdatasync p50", func(g *group) string {
		return showValues(g.repeatValues(func(r repeat) *float64 { return inSyncs(r, r.Summary.ResponseTimeMS.P99) }))
	}},
}

// inSyncs is a time as a multiple of the disk's median sync; nil where either is not known.
func inSyncs(r repeat, ms *float64) *float64 {
	sync := r.Run.Environment.Fdatasync.P50US
	if ms == nil || sync == 0 {
		return nil
	}
	times := *ms * 1000 / sync
	return &times
}

var throughputRows = []row{
	figureRow("throughput, accepted events/s", func(s record.Summary) *float64 { return s.ThroughputAcceptedPerS }),
	figureRow("throughput, processed events/s", func(s record.Summary) *float64 { return s.ThroughputProcessedPerS }),
	figureRow("throughput, stored (unique) events/s", func(s record.Summary) *float64 { return s.ThroughputStoredPerS }),
}

var queueRows = []row{
	numberRow("queue depth max, events", func(s record.Summary) float64 { return float64(s.QueueDepthMax) }),
	numberRow("queue depth mean, events", func(s record.Summary) float64 { return s.QueueDepthMean }),
	numberRow("queue empty again after the last answer, s", func(s record.Summary) float64 { return s.DrainS }),
	figureRow("longest time without a commit while events waited, ms (sampled every 100 ms)", func(s record.Summary) *float64 { return s.CommitGapMSMax }),
}

var requestRows = []row{
	countRow("requests planned", func(r repeat) uint64 { return r.Summary.RequestsPlanned }),
	countRow("requests never sent", func(r repeat) uint64 { return r.Summary.RequestsPlanned - r.Summary.RequestsSent }),
	countRow("requests acknowledged", func(r repeat) uint64 { return r.Summary.RequestsAcknowledged }),
	countRow("requests refused", func(r repeat) uint64 { return r.Summary.RequestsRefused }),
	countRow("requests of unknown fate", func(r repeat) uint64 { return r.Summary.RequestsUnknown }),
	countRow("retries", func(r repeat) uint64 { return r.Summary.Retries }),
	{"failed attempts by cause", causes},
}

// readerRows are what those who read beside the load waited.
func readerRows() []row {
	var rows []row
	for _, kind := range figures.ReaderKinds {
		name := "page by " + kind + ", due to read"
		if kind == "stream" {
			name = "stream, received to read"
		}
		of := func(s record.Summary) record.ReaderSummary { return s.ReaderOf(kind) }
		rows = append(rows,
			figureRow(name+" p50, ms", func(s record.Summary) *float64 { return of(s).WaitMS.P50 }),
			figureRow(name+" p99, ms", func(s record.Summary) *float64 { return of(s).WaitMS.P99 }),
			row{map[bool]string{true: "events by streams", false: "pages by " + kind}[kind == "stream"] + " (failed)", func(g *group) string {
				if of(g.first().Summary).Kind == "" {
					return withheld
				}
				return exact(g.count(func(r repeat) uint64 { return of(r.Summary).Reads })) + " (" + exact(g.count(func(r repeat) uint64 { return of(r.Summary).Failed })) + ")"
			}})
	}
	return rows
}

// bareRows set small requests beside a server that only answers, in the same run.
var bareRows = []row{
	figureRow("rate, of the bare server's", func(s record.Summary) *float64 { return s.RateToBare }),
	figureRow("service time p99, × the bare server's", func(s record.Summary) *float64 { return s.ServiceTimeP99ToBare }),
	figureRow("bare server, requests/s", func(s record.Summary) *float64 { return s.BareRequestsPerS }),
	figureRow("bare server, service time p50, ms", func(s record.Summary) *float64 { return s.BareServiceTimeMS.P50 }),
	figureRow("bare server, service time p99, ms", func(s record.Summary) *float64 { return s.BareServiceTimeMS.P99 }),
	figureRow("bare server, CPU, µs per request", func(s record.Summary) *float64 { return s.BareCPUUSPerRequest }),
}

var faultRows = []row{
	figureRow("from the fault until ready again, s", func(s record.Summary) *float64 { return s.UnavailableS }),
	figureRow("from the restart, or the fault's end, until ready, s", func(s record.Summary) *float64 { return s.ReadyAfterS }),
	figureRow("longest time from the fault on without an acknowledgement by any node, s", func(s record.Summary) *float64 { return s.UnansweredS }),
	figureRow("a node's join, until the copy was in its place, s", func(s record.Summary) *float64 { return s.JoinS }),
	figureRow("and until it was as far as the others, s", func(s record.Summary) *float64 { return s.JoinLevelS }),
	figureRow("messages of the log that it was behind then", func(s record.Summary) *float64 { return s.JoinBehind }),
	figureRow("its longest lag, s", func(s record.Summary) *float64 { return s.JoinLagSMax }),
}

var deduplicationRows = []row{
	figureRow("deduplication rate", func(s record.Summary) *float64 { return s.DeduplicationRate }),
	{"duplicates dropped, of those sent", droppedOfSent},
	figureRow("deduplication rate of the generator's stream", func(s record.Summary) *float64 { return s.DeduplicationRateExpected }),
}

// ofClusterRows say what a cluster's figures are of.
var ofClusterRows = []row{
	{"server CPU, bytes written and memory are of", func(g *group) string {
		c := g.first().Run.Cluster
		if c == nil {
			return withheld
		}
		return fmt.Sprintf("%d aggregators and %d log servers together", c.Nodes, c.Nodes)
	}},
	{"syncs and bytes allocated are of", func(g *group) string {
		if g.first().Run.Cluster == nil {
			return withheld
		}
		return "the first aggregator"
	}},
}

var costRows = []row{
	figureRow("server CPU, µs per stored event", func(s record.Summary) *float64 { return s.ServerCPUUSPerStored }),
	figureRow("generator CPU, µs per stored event", func(s record.Summary) *float64 { return s.GeneratorCPUUSPerStored }),
	figureRow("bytes written per stored event", func(s record.Summary) *float64 { return s.BytesWrittenPerStored }),
	figureRow("syncs per 1000 stored events", func(s record.Summary) *float64 { return s.SyncsPer1000Stored }),
	figureRow("bytes allocated per stored event", func(s record.Summary) *float64 { return s.AllocatedBytesPerStored }),
	figureRow("bytes the generator wrote per stored event", func(s record.Summary) *float64 { return s.GeneratorBytesWrittenPerStored }),
	figureRow("bytes the generator allocated per stored event", func(s record.Summary) *float64 { return s.GeneratorAllocatedBytesPerStored }),
	figureRow("server resident memory max, MB", func(s record.Summary) *float64 { return megabytes(s.ServerRSSBytesMax) }),
	{"data folder in the page cache at the end, MB", pageCache},
}

// megabytes is nil where the bytes are.
func megabytes(bytes *int64) *float64 {
	if bytes == nil {
		return nil
	}
	mb := float64(*bytes) / 1e6
	return &mb
}

// pageCache is what the kernel holds beside the process's own memory; earlier records say nothing.
func pageCache(g *group) string {
	text := g.show(func(s record.Summary) *float64 { return megabytes(s.PageCacheBytes) })
	if around := g.first().Run.Surroundings; text == withheld && around != nil && around.PageCacheUnknown != "" {
		return "not measurable"
	}
	return text
}

// networkRows say over what publishers reached the aggregator, where it was not the loopback.
var networkRows = []row{
	{"network, to be", ofNetwork((*record.Network).String)},
	{"network, measured before the first repeat", ofNetwork((*record.Network).Measured)},
}

func ofNetwork(of func(*record.Network) string) func(*group) string {
	return func(g *group) string {
		n := g.first().Run.Environment.Network
		if n == nil {
			return withheld
		}
		return of(n)
	}
}

var generatorRows = []row{
	figureRow("generator lag p99, ms", func(s record.Summary) *float64 { return s.GeneratorLagMS.P99 }),
	figureRow("generator lag max, ms", func(s record.Summary) *float64 { return s.GeneratorLagMS.Max }),
	{"longest stall of the machine, ms", func(g *group) string {
		return showValues(g.repeatValues(func(r repeat) *float64 { ms := float64(r.Run.Generator.LongestStallNS) / 1e6; return &ms }))
	}},
	figureRow("generator's CPU, share of all cores", func(s record.Summary) *float64 { return s.GeneratorCPUShare }),
	figureRow("generator's ceiling (against a server that only answers), events/s", func(s record.Summary) *float64 { return s.GeneratorCeilingEventsPerS }),
	figureRow("load, share of the generator's ceiling", func(s record.Summary) *float64 { return s.GeneratorCeilingShare }),
	figureRow("server's CPU, share of all cores", func(s record.Summary) *float64 { return s.ServerCPUShare }),
	figureRow("other processes' CPU, share of all cores", func(s record.Summary) *float64 { return s.OtherCPUShare }),
	{"mean queue, events: by the samples / by Little's law from the latencies", little},
}

// little sets the mean queue depth of the trace beside the one that the latencies come to, or says
// that nothing held it to them.
func little(g *group) string {
	trace := g.show(func(s record.Summary) *float64 { return s.LittleTraceEvents })
	if trace == withheld {
		return "not checked"
	}
	return trace + " / " + g.show(func(s record.Summary) *float64 { return s.LittleLatencyEvents })
}

// outsideRows are what a reader outside saw while the load lasted, beside what the aggregator says
// of itself, and what that cost. A run without looks has none.
var outsideRows = []row{
	waitRow("p50", func(q audit.Quantiles) float64 { return q.P50 }),
	waitRow("p99", func(q audit.Quantiles) float64 { return q.P99 }),
	waitRow("max", func(q audit.Quantiles) float64 { return q.Max }),
	{"that reader's looks, share of the time", func(g *group) string {
		return g.seen(func(w audit.Waits) float64 { return w.Share })
	}},
}

func waitRow(name string, of func(audit.Quantiles) float64) row {
	return row{"events waited, by a reader outside, " + name + ", ms: at least / at most", func(g *group) string {
		least := g.seen(func(w audit.Waits) float64 { return of(w.AtLeastMS) })
		if least == withheld {
			return withheld
		}
		return least + " / " + g.seen(func(w audit.Waits) float64 { return of(w.AtMostMS) })
	}}
}

// seen shows a figure of the looks from outside.
func (g *group) seen(of func(audit.Waits) float64) string {
	return showValues(g.repeatValues(func(r repeat) *float64 {
		if a := r.Run.Audit; a == nil || a.Waits == nil || a.Waits.Bounded == 0 {
			return nil
		}
		v := of(*r.Run.Audit.Waits)
		return &v
	}))
}

// auditRows are the audit's counts, what was seen from outside, and what became of its checks.
var auditRows = slices.Concat(auditCounts, outsideRows, []row{
	{"checks of counters and database", checks},
	{"expectations", expectations},
	{"make verify computes it from", recomputed},
})

var auditCounts = []row{
	countRow("acknowledged", func(r repeat) uint64 { return r.Run.Audit.Acknowledged }),
	countRow("stored", func(r repeat) uint64 { return r.Run.Audit.Stored }),
	countRow("lost", func(r repeat) uint64 { return r.Run.Audit.Lost }),
	countRow("duplicated", func(r repeat) uint64 { return r.Run.Audit.Duplicated }),
	countRow("unexpected", func(r repeat) uint64 { return r.Run.Audit.Unexpected }),
	countRow("recovered", func(r repeat) uint64 { return r.Run.Audit.Recovered }),
	countRow("out of order", func(r repeat) uint64 { return r.Run.Audit.OutOfOrder }),
}

// recomputed says what make verify computes the audit from.
func recomputed(g *group) string {
	for _, r := range g.Repeats {
		if !r.Kept {
			return "the ledger, and the number of stored events"
		}
	}
	return "the ledger, and which events are stored"
}

func causes(g *group) string {
	sums := map[string]uint64{}
	for _, r := range g.Repeats {
		for cause, n := range r.Summary.ErrorsByCause {
			sums[cause] += n
		}
	}
	var texts []string
	for cause, n := range sums {
		// Status 0 is no answer at all.
		texts = append(texts, fmt.Sprintf("%s: %s", strings.TrimPrefix(cause, "0 "), exact(n)))
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

func checks(g *group) string {
	failed, held := failedChecks(g)
	if len(failed) > 0 {
		return "**" + strings.Join(failed, "; ") + "**"
	}
	return fmt.Sprintf("all %d held", held)
}

// failedChecks are those of the audits that did not hold, and how many did.
func failedChecks(g *group) (failed []string, held int) {
	for _, r := range g.Repeats {
		for _, c := range r.Run.Audit.Checks {
			if c.Held {
				held++
			} else {
				failed = append(failed, c.String())
			}
		}
	}
	return failed, held
}

func expectations(g *group) string {
	failed, held := failedExpectations(g)
	if len(failed) > 0 {
		return "**not held: " + strings.Join(failed, "; ") + "**"
	}
	return fmt.Sprintf("all %d held", held)
}

// failedExpectations are those that did not hold, and how many did.
func failedExpectations(g *group) (failed []string, held int) {
	for _, r := range g.Repeats {
		for _, e := range r.Run.Expectations {
			if e.Held {
				held++
			} else {
				failed = append(failed, fmt.Sprintf("%s: expected %s, got %s", e.Name, e.Expected, e.Got))
			}
		}
	}
	return failed, held
}

// validity is VALID, or every reason against it.
func validity(g *group) string {
	var reasons []string
	for _, r := range g.Repeats {
		reasons = append(reasons, r.Run.Validity.Texts()...)
	}
	if len(reasons) == 0 {
		return "VALID"
	}
	slices.Sort(reasons)
	return "**INVALID**: " + strings.Join(slices.Compact(reasons), "; ")
}

// table writes a Markdown table with a column for each group. Rows without a figure in any column
// are left out.
func table(groups []*group, parts ...[]row) string {
	var text strings.Builder
	text.WriteString("| |")
	for _, g := range groups {
		invalid := ""
		if validity(g) != "VALID" {
			invalid = " (INVALID)"
		}
		fmt.Fprintf(&text, " %s |", cell(g.title()+invalid))
	}
	text.WriteString("\n|---|" + strings.Repeat("---:|", len(groups)) + "\n")
	for _, r := range slices.Concat(parts...) {
		cells := make([]string, len(groups))
		empty := true
		for i, g := range groups {
			cells[i] = cell(r.cell(g))
			empty = empty && (cells[i] == withheld || cells[i] == "")
		}
		if !empty {
			fmt.Fprintf(&text, "| %s | %s |\n", named(r.name, groups...), strings.Join(cells, " | "))
		}
	}
	return text.String()
}

// cell keeps a text from ending its cell or its line.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
