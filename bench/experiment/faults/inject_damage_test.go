package faults

import (
	"testing"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// TestConsequencesOfDamage: damage that nobody sees proves nothing, and what is said to be harmless
// must do nothing.
func TestConsequencesOfDamage(t *testing.T) {
	whole := record.Look{End: record.Shown, Counters: &audit.Counters{}, Again: &record.Again{Accepted: 10, Duplicates: 10}}
	lost := record.Look{End: record.Shown, Counters: &audit.Counters{}, Again: &record.Again{Accepted: 10, Duplicates: 9}}
	noticed := record.Look{End: record.Noticed}
	wholeFiles := &record.Stored{Runs: [][2]int64{{0, 80}}} // of 100 events that were sent
	read := func(unique uint64) record.Look {
		look := whole
		look.Counters = &audit.Counters{UniqueProcessed: unique}
		return look
	}
	for name, test := range map[string]struct {
		damage damage
		looks  []record.Look
		broken bool
	}{
		"nothing happened":        {damage{}, []record.Look{whole, whole}, true},
		"something was lost":      {damage{}, []record.Look{whole, lost}, false},
		"something was noticed":   {damage{}, []record.Look{whole, noticed}, false},
		"harmless":                {damage{harmless: true}, []record.Look{whole, whole}, false},
		"harmless, and noticed":   {damage{harmless: true}, []record.Look{whole, noticed}, true},
		"harmless, and it loses":  {damage{harmless: true}, []record.Look{whole, lost}, true},
		"a backlog, and all kept": {damage{backlog: true}, []record.Look{read(80)}, true},
		"a backlog, and it loses": {damage{backlog: true}, []record.Look{read(79)}, false},
	} {
		made, err := stream.New(stream.Config{PayloadBytes: stream.MinPayloadBytes})
		if err != nil {
			t.Fatal(err)
		}
		one := &trial{s: &sitting{}, stream: made, next: 5, record: record.Trial{EventsPerRequest: eventsPerRequest, Whole: wholeFiles, Looks: test.looks}}
		test.damage.holdConsequences(one)
		if (len(one.record.Broken) > 0) != test.broken {
			t.Errorf("%s: %q", name, one.record.Broken)
		}
	}
}
