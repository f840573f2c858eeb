// Package terminal prints records for people who look at a terminal.
package terminal

import (
	"fmt"
	"io"
	"strings"

	"github.com/montanaflynn/stats"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// Recovery is the median and the largest of the times to recover, in seconds; "–" if there is none.
func Recovery(f record.FaultSummary) (median, most string) {
	if len(f.RecoveryMS) == 0 {
		return "–", "–"
	}
	middle, _ := stats.Median(f.RecoveryMS)
	largest, _ := stats.Max(f.RecoveryMS)
	return fmt.Sprintf("%.2f", middle/1000), fmt.Sprintf("%.2f", largest/1000)
}

// Faults prints the kinds of fault and what they lost.
func Faults(w io.Writer, f record.Faults) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s\n\n%-44s %6s %13s %7s %11s %11s %10s %9s\n", f.Date, f.Machine, f.Commit,
		"fault", "times", "acknowledged", "lost", "duplicated", "recovered", "median s", "most s")
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "%-44s skipped: %s\n", fault.Fault, fault.Skipped)
			continue
		}
		median, most := Recovery(fault)
		verdict := ""
		switch {
		case !judge.FaultHeld(fault):
			verdict = "  NOT HELD: " + fault.Promise
		case fault.Promise != record.NothingLost:
			verdict = "  " + fault.Promise
		}
		for _, broken := range fault.Broken {
			verdict += "; " + broken
		}
		if fault.Seen != "" {
			verdict += "  (" + fault.Seen + ")"
		}
		fmt.Fprintf(&b, "%-44s %6d %13d %7d %11d %11d %10s %9s%s\n", fault.Fault, fault.Times, fault.Acknowledged, fault.Lost,
			fault.Duplicated, fault.Recovered, median, most, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
