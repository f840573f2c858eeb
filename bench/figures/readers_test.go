package figures

import (
	"testing"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// TestReaders: what readers waited, by kind; what failed is counted and in no percentile.
func TestReaders(t *testing.T) {
	raw := &record.Raw{Run: record.Run{Readers: []record.Readers{{Kind: "seq"}, {Kind: "stream"}, {Kind: "time"}}}}
	for i := range int64(1000) {
		raw.Reads = append(raw.Reads, record.Read{Kind: "seq", DueNS: i * 1e6, DoneNS: i*1e6 + (1+i%100)*1e6, Status: 200, Events: 100})
	}
	raw.Reads = append(raw.Reads, record.Read{Kind: "seq", DoneNS: 9e9, Status: 503}, record.Read{Kind: "stream", DueNS: 5e6, DoneNS: 7e6, Status: 200, Events: 1},
		record.Read{Kind: "stream", DoneNS: 1})
	var s record.Summary
	if err := readers(raw, &s); err != nil {
		t.Fatal(err)
	}
	seq, stream, never := s.ReaderOf("seq"), s.ReaderOf("stream"), s.ReaderOf("time")
	if seq.Reads != 1000 || seq.Events != 100_000 || seq.Failed != 1 || *seq.WaitMS.P50 < 49.9 || *seq.WaitMS.P50 > 50.1 || *seq.WaitMS.P99 < 98.9 || *seq.WaitMS.P99 > 99.1 {
		t.Errorf("by seq: %+v", seq)
	}
	if stream.Reads != 1 || stream.Failed != 1 || stream.WaitMS.P50 != nil || *stream.WaitMS.Max != 2 {
		t.Errorf("streams: %+v", stream)
	}
	if never.Kind != "time" || never.Reads != 0 || never.WaitMS.Max != nil || s.FailedReads() != 2 {
		t.Errorf("by time: %+v; %d failed", never, s.FailedReads())
	}
}

// TestBare: the aggregator's requests are set beside those that the bare server took in its own
// measured phase.
func TestBare(t *testing.T) {
	raw := &record.Raw{Run: record.Run{Yardstick: &record.YardstickRun{ServerCPUNS: 22e6, Phases: []record.PhaseTimes{{Name: "warm-up"}, {Name: "measured", Measured: true}}}}}
	for i := range int64(2200) {
		a := ledger.Attempt{Request: uint64(i), Attempt: 1, Status: 202, PlannedNS: i * 1e6, SentNS: i * 1e6, DoneNS: i*1e6 + 2e6, Phase: 1}
		if i < 200 {
			a.Phase, a.DoneNS = 0, a.DoneNS+50e6
		}
		raw.Yardstick = append(raw.Yardstick, a)
	}
	raw.Yardstick = append(raw.Yardstick, ledger.Attempt{Request: 2200, Attempt: 1, Phase: 1, Status: 503, DoneNS: 1e12})
	rate, p99 := 400., 3.
	s := record.Summary{RequestsAcknowledged: 800, MeasuredS: 2, ThroughputAcceptedPerS: &rate, ServiceTimeMS: record.Percentiles{P99: &p99}}
	if err := bare(raw, &s); err != nil {
		t.Fatal(err)
	}
	if got := *s.BareRequestsPerS; got < 999 || got > 1001 { // 2000 of them in 2.001 s
		t.Errorf("the bare server took %v requests/s", got)
	}
	if *s.BareCPUUSPerRequest != 10 || *s.RateToBare < 0.399 || *s.RateToBare > 0.401 || *s.ServiceTimeP99ToBare < 1.49 || *s.ServiceTimeP99ToBare > 1.51 {
		t.Errorf("%+v µs, rate %v, p99 %v", *s.BareCPUUSPerRequest, *s.RateToBare, *s.ServiceTimeP99ToBare)
	}
	raw.Yardstick = raw.Yardstick[2190:]
	s = record.Summary{RequestsAcknowledged: 800, MeasuredS: 2, ThroughputAcceptedPerS: &rate, ServiceTimeMS: record.Percentiles{P99: &p99}}
	if err := bare(raw, &s); err != nil || s.BareRequestsPerS != nil || s.RateToBare != nil || s.ServiceTimeP99ToBare != nil {
		t.Errorf("of ten requests: %+v, %v", s, err)
	}
	raw.Yardstick[0].Phase = 2
	if err := bare(raw, &s); err == nil {
		t.Error("a phase that there was not")
	}
}
