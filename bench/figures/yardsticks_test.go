package figures

import (
	"reflect"
	"strings"
	"testing"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

func rounds(seconds ...float64) []record.YardstickRound {
	var all []record.YardstickRound
	for i, s := range seconds {
		cpu, memory := s/2, int64(100+i)
		all = append(all, record.YardstickRound{Events: 1000, Expected: 800, Stored: 800, Seconds: s, ClientCPUS: s / 4, ServerCPUS: &cpu, ServerMemoryBytes: &memory,
			BytesWritten: 800 * int64(10*s), BytesKept: 400 * int64(10*s)})
	}
	return all
}

func TestYardsticksSummarize(t *testing.T) {
	y := record.Yardsticks{Stream: stream.Config{Duplicates: 0.2}, Systems: []record.Yardstick{
		{ID: "slow", Rounds: rounds(8, 10, 4)},
		{ID: record.Sekali, Rounds: rounds(1, 2, 4)},
		{ID: "absent", Skipped: "is not installed"},
	}}
	y.Systems[1].Rounds[1].EventsRead, y.Systems[1].Rounds[2].EventsRead = 500, 1_000_000
	dir := t.TempDir()
	y, err := Yardsticks(y)
	if err != nil {
		t.Fatal(err)
	}
	slow := y.Systems[0]
	if want := (record.Spread{Median: 125, Min: 100, Max: 250}); slow.EventsPerS != want {
		t.Errorf("events/s: %+v, want %+v", slow.EventsPerS, want)
	}
	if want := (record.Spread{Median: 5, Min: 1, Max: 8}); slow.SekaliRatio != want { // round by round, not of the medians
		t.Errorf("ratio: %+v, want %+v", slow.SekaliRatio, want)
	}
	if slow.EventsReadPerS != 0 || y.Systems[1].EventsReadPerS != 250 {
		t.Errorf("read: %v and %v a second, want 0 and 250", slow.EventsReadPerS, y.Systems[1].EventsReadPerS)
	}
	if slow.ClientCPUUSPerEvent != 2000 || *slow.ServerCPUUSPerEvent != 4000 || *slow.ServerMemoryBytes != 102 {
		t.Errorf("%+v", slow)
	}
	if slow.BytesWrittenPerEvent != 80 || slow.BytesKeptPerEvent != 40 {
		t.Errorf("%v bytes written and %v kept an event, want 80 and 40", slow.BytesWrittenPerEvent, slow.BytesKeptPerEvent)
	}
	if err := record.WriteYardsticks(dir, y); err != nil {
		t.Fatal(err)
	}
	read, err := record.ReadYardsticks(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Yardsticks(read)
	if err != nil || !reflect.DeepEqual(read, again) {
		t.Errorf("what is read is not what it computes: %v\n%+v\n%+v", err, read, again)
	}
}

func TestYardsticksRefuseWhatProvesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*record.Yardstick)
		want   string
	}{
		"an event is missing": {func(s *record.Yardstick) { s.Rounds[1].Stored-- }, "round 2: of 1000 events 799 were stored"},
		"no time passed":      {func(s *record.Yardstick) { s.Rounds[0].Seconds = 0 }, "round 1"},
		"no rounds":           {func(s *record.Yardstick) { s.Rounds = nil }, "neither rounds nor a reason"},
	} {
		y := record.Yardsticks{Systems: []record.Yardstick{{ID: "one", Rounds: rounds(1, 2)}}}
		c.change(&y.Systems[0])
		if _, err := Yardsticks(y); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
