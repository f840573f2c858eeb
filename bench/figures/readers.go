package figures

import (
	"fmt"

	"sekali/bench/record"
)

// statusOK is HTTP's.
const statusOK = 200

// readers says what those who read beside the load waited, by kind.
func readers(r *record.Raw, s *record.Summary) error {
	for _, of := range r.Run.Readers {
		one, times := record.ReaderSummary{Kind: of.Kind}, newHistogram()
		for _, read := range r.Reads {
			switch {
			case read.Kind != of.Kind:
			case read.Status != statusOK:
				one.Failed++
			default:
				one.Reads++
				one.Events += uint64(read.Events)
				times.addUS(max(0, read.DoneNS-read.DueNS)/1000, 1)
			}
		}
		var err error
		if one.WaitMS, err = times.milliseconds(int64(one.Reads)); err != nil {
			return fmt.Errorf("readers by %s: %w", of.Kind, err)
		}
		s.Readers = append(s.Readers, one)
	}
	return nil
}

// ReaderKinds are the kinds of readers, in the order of the tables.
var ReaderKinds = []string{"topic", "seq", "time", "stream"}

// readerMetrics are the percentiles of each kind.
func readerMetrics() []Metric {
	var all []Metric
	for _, kind := range ReaderKinds {
		all = append(all,
			Metric{"read_" + kind + "_ms_p50", Lower, func(s record.Summary) *float64 { return s.ReaderOf(kind).WaitMS.P50 }},
			Metric{"read_" + kind + "_ms_p99", Lower, func(s record.Summary) *float64 { return s.ReaderOf(kind).WaitMS.P99 }})
	}
	return all
}
