package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/montanaflynn/stats"

	faulting "sekali/bench/experiment/faults"
	"sekali/bench/record"
)

// clusterFaults are the faults of a cluster, as its page and REPORT.md show them.
type clusterFaults struct {
	*record.Faults
	Short, Table, Tried string
	Outage              *record.FaultSummary // the first kind that tells for how long nothing was acknowledged; nil: none does
}

func clusterFaultsOf(f *record.Faults) *clusterFaults {
	if f == nil {
		return nil
	}
	c := &clusterFaults{Faults: f, Short: faultsShort(f), Table: clusterFaultTable(f), Tried: kindsTried(f, faulting.ClusterCatalogue())}
	if at := slices.IndexFunc(f.Faults, tellsOutages); at >= 0 {
		c.Outage = &f.Faults[at]
	}
	return c
}

func tellsOutages(fault record.FaultSummary) bool {
	return slices.ContainsFunc(fault.Levels, func(l record.LevelCounts) bool { return len(l.OutageMS) > 0 })
}

// outageLevels are the levels of which any fault tells for how long they were out.
func outageLevels(f *record.Faults) (levels []string) {
	for _, fault := range f.Faults {
		for _, l := range fault.Levels {
			if len(l.OutageMS) > 0 && !slices.Contains(levels, l.Level) {
				levels = append(levels, l.Level)
			}
		}
	}
	return levels
}

// outageCell is the least, the median and the most of the longest times without an acknowledgement
// at a level, in seconds.
func outageCell(fault record.FaultSummary, level string) string {
	at := slices.IndexFunc(fault.Levels, func(l record.LevelCounts) bool { return l.Level == level })
	if at < 0 || len(fault.Levels[at].OutageMS) == 0 {
		return withheld
	}
	sorted := slices.Sorted(slices.Values(fault.Levels[at].OutageMS))
	middle, _ := stats.Median(sorted)
	return fmt.Sprintf("%.2f / %.2f / %.2f", sorted[0]/1000, middle/1000, sorted[len(sorted)-1]/1000)
}

// clusterFaultTable is one row a fault.
func clusterFaultTable(f *record.Faults) string {
	levels := outageLevels(f)
	var b strings.Builder
	b.WriteString("| fault | times | acknowledged | lost | stored twice | not as sent | recovered |")
	for _, level := range levels {
		fmt.Fprintf(&b, " nothing acknowledged at `%s` for, s: least / median / most |", level)
	}
	b.WriteString(" promise | |\n|---|---:|---:|---:|---:|---:|---:|" + strings.Repeat("---:|", len(levels)) + "---|---|\n")
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "| %s |%s %s | skipped: %s |\n", cell(fault.Fault), strings.Repeat(" – |", 6+len(levels)), fault.Promise, cell(fault.Skipped))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |", cell(fault.Fault), exact(uint64(fault.Times)), exact(uint64(fault.Acknowledged)),
			exact(uint64(fault.Lost)), exact(uint64(fault.Duplicated)), exact(uint64(fault.Unexpected)), exact(uint64(fault.Recovered)))
		for _, level := range levels {
			fmt.Fprintf(&b, " %s |", outageCell(fault, level))
		}
		held := faultVerdict(fault)
		if fault.Promise == record.MustBeCaught {
			held += fmt.Sprintf("; caught %d of %d times", fault.Caught, fault.Times)
		}
		fmt.Fprintf(&b, " %s | %s |\n", fault.Promise, held)
	}
	return b.String()
}
