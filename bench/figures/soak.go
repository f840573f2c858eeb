package figures

import (
	"fmt"
	"math"
	"slices"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// Soak computes a soak's figures. The error is for a record that contradicts itself.
func Soak(r record.Soak) (found record.SoakSummary, err error) {
	found = record.SoakSummary{Date: r.Date, Machine: r.Machine, Commit: r.Commit, Seconds: r.Seconds, RequestsPerS: r.RequestsPerS,
		EventsPerRequest: r.EventsPerRequest, Readers: r.Readers, SlowClients: r.SlowClients, PagesRead: r.PagesRead,
		KillsS: r.KillsS, RecoveryMS: r.RecoveryMS, WindowS: r.WindowS,
		Windows: []record.WindowSummary{}, Broken: r.Broken}
	if found.Columns, err = soakColumns(r.Metrics); err != nil {
		return found, err
	}
	report, answered, err := auditSoak(r)
	if err != nil {
		return found, fmt.Errorf("soak: %w", err)
	}
	for _, c := range report.FailedChecks() {
		found.Broken = append(found.Broken, c.String())
	}
	found.Acknowledged, found.Stored, found.Lost, found.Duplicated = report.Acknowledged, report.Stored, report.Lost, report.Duplicated
	found.Unexpected = report.Unexpected + r.Stored.OutOfOrder
	found.Unanswered = r.Planned - min(r.Planned, answered)
	lag, _ := r.Lag.QuantileMS(0.99)
	found.LagMSP99 = round(lag)
	for i, w := range r.Windows {
		if len(w.Values) != len(r.Metrics) {
			return found, fmt.Errorf("soak: window %d has %d values, want %d", i, len(w.Values), len(r.Metrics))
		}
		if w.Responses.Count() > 0 { // else the load had ended
			found.Windows = append(found.Windows, soakWindow(found.Columns, r.Metrics, w))
		}
	}
	return found, nil
}

// auditSoak holds what is stored against the ledger.
func auditSoak(r record.Soak) (report audit.Report, answered uint64, err error) {
	made, err := stream.New(r.Stream)
	if err != nil {
		return report, 0, err
	}
	last := uint64(math.MaxUint64)
	for a, err := range r.Ledger.Attempts() {
		if err != nil {
			return report, 0, err
		}
		if a.Outcome() == ledger.Acknowledged && a.Request != last {
			answered, last = answered+1, a.Request
		}
	}
	report, _, err = digested{made, uint64(r.EventsPerRequest), r.Planned, r.Ledger}.audit(&r.Stored, &r.Counters)
	return report, answered, err
}

// soakColumns are the columns of a soak that watched these metrics: all, but for controls that it
// may lack.
func soakColumns(metrics []string) (columns []string, err error) {
	for _, column := range record.SoakColumns {
		switch {
		case column == record.SoakP50, column == record.SoakP99, slices.Contains(metrics, column):
			columns = append(columns, column)
		case !slices.Contains(record.SoakControls, column):
			return nil, fmt.Errorf("soak: the record lacks %s", column)
		}
	}
	return columns, nil
}

// soakWindow is a window in the columns of the table.
func soakWindow(columns, metrics []string, w record.SoakWindow) record.WindowSummary {
	window := record.WindowSummary{S: w.S, Stored: w.Stored}
	for _, column := range columns {
		var v float64
		switch column {
		case record.SoakP50:
			v, _ = w.Responses.QuantileMS(0.50)
		case record.SoakP99:
			v, _ = w.Responses.QuantileMS(0.99)
		default:
			v = w.Values[slices.Index(metrics, column)]
		}
		window.Values = append(window.Values, round(v))
	}
	return window
}
