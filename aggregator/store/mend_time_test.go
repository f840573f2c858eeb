package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekali/aggregator/event"
)

// TestMendTime: times that lie in the future are taken back to now, in both layouts; all else
// stays.
func TestMendTime(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	for _, layout := range []Layout{LayoutBlocks, LayoutRows} {
		t.Run(string(layout), func(t *testing.T) {
			dir := t.TempDir()
			s, state, err := Open(dir, Design{Layout: layout})
			if err != nil {
				t.Fatal(err)
			}
			a, id := NewApplier(s), 0
			apply := func(n int, at time.Time) {
				t.Helper()
				rows := []Row{}
				for range n {
					id++
					rows = append(rows, Row{Event: event.Event{Topic: "t", ID: fmt.Sprint(id), Timestamp: "2026-11-23T06:41:10Z", Payload: "{}"},
						ReceivedAt: at.Format(receivedLayout)})
				}
				out, err := a.Apply(state, Batch{Rows: rows})
				if err != nil {
					t.Fatal(err)
				}
				state = out.State
			}
			apply(300, now.Add(-time.Hour))
			apply(700, now.AddDate(10, 0, 0))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if fault := AheadOf(state.LastReceivedAt, now, false); !strings.Contains(fault, "mend-time") {
				t.Errorf("it says %q", fault)
			}
			for _, want := range []int64{700, 0} {
				if n, err := MendTime(dir, now); err != nil || n != want {
					t.Errorf("%d mended, want %d: %v", n, want, err)
				}
			}
			if state, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 || state.LastReceivedAt != now.Format(receivedLayout) {
				t.Errorf("%+v %q %v", state, faults, err)
			}
			if s, _, err = Open(dir, Design{}); err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for query, want := range map[string]int{
				"SELECT count(*) FROM events WHERE received_at = '" + now.Format(receivedLayout) + "'": 700,
				"SELECT count(*) FROM events WHERE received_at < '" + now.Format(receivedLayout) + "'": 300,
				"SELECT count(*) FROM events WHERE payload = '{}' AND timestamp <> ''":                 1000,
			} {
				var n int
				if err := s.Pool.QueryRow(query).Scan(&n); err != nil || n != want {
					t.Errorf("%s: %d, want %d: %v", query, n, want, err)
				}
			}
		})
	}
}
