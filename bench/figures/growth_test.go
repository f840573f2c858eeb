package figures_test

import (
	"fmt"
	"math"
	"testing"

	"sekali/bench/figures"
	"sekali/bench/record"
)

// The first 1000 events are stored in one second and 100 bytes each, the next in two seconds and
// 300 bytes each.
func TestGrowth(t *testing.T) {
	const second = int64(1e9)
	trace := []record.Sample{
		{TNS: -1, AnsweredNS: 1, UniqueProcessed: 500, ServerWriteBytes: 7000, ServerRSSBytes: 1},
		{TNS: second, AnsweredNS: second + 1, Received: 4000, UniqueProcessed: 1500, ServerWriteBytes: 107_000, JournalBytes: 50_000, ServerRSSBytes: 5},
		{TNS: second * 3 / 2}, // no answer
		{TNS: 2 * second, AnsweredNS: 2*second + 1, Received: 4000, UniqueProcessed: 2000, ServerWriteBytes: 257_000, JournalBytes: 50_000, ServerRSSBytes: 9},
		{TNS: 3 * second, AnsweredNS: 3*second + 1, Received: 4000, UniqueProcessed: 2500, ServerWriteBytes: 407_000, JournalBytes: 50_000, ServerRSSBytes: 8},
		{TNS: 4 * second, AnsweredNS: 4*second + 1, Received: 4000, UniqueProcessed: 3499, ServerWriteBytes: 1_407_000, JournalBytes: 50_000, ServerRSSBytes: 99},
	}
	want := []figures.GrowthStep{
		{From: 0, To: 1000, StoredPerS: 1000, AcceptedPerS: 4000, StoreBytesPerStored: 50, JournalBytesPerAccepted: 12.5, ResidentBytesMax: 5},
		{From: 1000, To: 2000, StoredPerS: 500, AcceptedPerS: 0, StoreBytesPerStored: 300, JournalBytesPerAccepted: math.NaN(), ResidentBytesMax: 9},
	}
	got := figures.Growth(trace, 1000)
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if fmt.Sprint(got[i]) != fmt.Sprint(want[i]) { // NaN is not NaN
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
	if figures.Growth(nil, 1000) != nil || figures.Growth(trace[:1], 1000) != nil {
		t.Error("steps of nothing")
	}
}
