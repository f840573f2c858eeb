package figures_test

import (
	"reflect"
	"strings"
	"testing"

	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/labtest/recordtest"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

func row(t *testing.T, f record.Fault) record.FaultSummary {
	t.Helper()
	r, err := figures.Fault(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What the synthetic faults come to, counted by hand: 20 events a request, of which 16 are
// originals.
func TestFault(t *testing.T) {
	rows := map[string]record.FaultSummary{}
	for _, f := range recordtest.Faults() {
		rows[f.Name] = row(t, f)
	}
	if f := rows["SIGKILL"]; f.Acknowledged != 16*501 || f.Lost != 0 || f.Times != 2 || f.Seen != "2 refused with 503" || !judge.FaultHeld(f) {
		t.Errorf("%+v", f)
	}
	want := []record.LevelCounts{{Level: "journal", Acknowledged: rows["SIGKILL"].Levels[0].Acknowledged}, {Level: "store", Acknowledged: rows["SIGKILL"].Levels[1].Acknowledged}}
	if f := rows["SIGKILL"]; !reflect.DeepEqual(f.Levels, want) || want[0].Acknowledged < 16*250 || want[1].Acknowledged < 16*250 {
		t.Errorf("by level: %+v", f.Levels)
	}
	if f := rows["SIGKILL at ack=memory"]; f.Acknowledged != 16*50 || f.Lost != 40 || !judge.FaultHeld(f) {
		t.Errorf("%+v", f)
	}
	if f := rows["a cut journal"]; f.Seen != "1 opened, 1 refused at the start, 0 noticed when read or written, 0 ended later" || !judge.FaultHeld(f) {
		t.Errorf("%+v", f)
	}
	if f := rows["overload"]; f.Lost != 1 || judge.FaultHeld(f) {
		t.Errorf("%+v", f)
	}
	if f := rows["power loss"]; f.Skipped == "" || f.Times != 0 {
		t.Errorf("%+v", f)
	}
}

// What may be wrong with what is stored, each seen by the audit of the record.
func TestFaultSeesWhatIsWrong(t *testing.T) {
	made := recordtest.Stream()
	changed := recordtest.Event(made, 3)
	changed.Payload = []byte(strings.Replace(string(changed.Payload), "level", "Level", 1))
	for name, c := range map[string]struct {
		change                    func(*record.Trial)
		lost, doubled, unexpected int
	}{
		"nothing":     {func(*record.Trial) {}, 0, 0, 0},
		"lost":        {func(t *record.Trial) { *t.Looks[0].Stored = recordtest.Stored(made, 2, 160) }, 2, 0, 0},
		"all lost":    {func(t *record.Trial) { t.Looks[0].Stored, t.Looks[0].Counters = nil, nil }, 160, 0, 0},
		"never sent":  {func(t *record.Trial) { *t.Looks[0].Stored = recordtest.Stored(made, 0, 161) }, 0, 0, 1},
		"out of turn": {func(t *record.Trial) { t.Looks[0].Stored.OutOfOrder = 1 }, 0, 0, 1},
		"doubled": {func(t *record.Trial) {
			all := record.NewCollector(made)
			for n := range uint64(160) {
				all.Add(recordtest.Event(made, n))
			}
			all.Add(recordtest.Event(made, 7))
			*t.Looks[0].Stored = all.Stored(true)
			t.Looks[0].Stored.OutOfOrder = 0
		}, 0, 1, 0},
		"changed": {func(t *record.Trial) {
			all := record.NewCollector(made)
			for n := range uint64(160) {
				if n == 3 {
					all.Add(changed)
				} else {
					all.Add(recordtest.Event(made, n))
				}
			}
			*t.Looks[0].Stored = all.Stored(false)
		}, 0, 0, 1},
		"expired and lost": {func(t *record.Trial) {
			t.Looks[0] = record.Look{End: record.Shown, Again: &record.Again{Accepted: 200, Duplicates: 197}}
		}, 3, 0, 0},
	} {
		trial := recordtest.Trial(10, 0)
		c.change(&trial)
		f := row(t, record.Fault{Name: name, Promise: record.NothingLost, Trials: []record.Trial{trial}})
		if f.Lost != c.lost || f.Duplicated != c.doubled || f.Unexpected != c.unexpected || judge.FaultHeld(f) != (name == "nothing") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// A counter that does not fit the ledger, and a beginning that is none, are promises that were not
// kept.
func TestFaultHoldsCountersAndBeginnings(t *testing.T) {
	trial := recordtest.Trial(10, 0)
	trial.Looks[0].Counters.Received += 60
	trial.Looks[0].Counters.DuplicateDropped += 60
	if f := row(t, record.Fault{Name: "counters", Promise: record.NothingLost, Trials: []record.Trial{trial}}); judge.FaultHeld(f) {
		t.Errorf("%+v", f)
	}
	trial = recordtest.Trial(10, 0)
	whole := recordtest.Stored(recordtest.Stream(), 1, 160)
	trial.Whole = &whole
	if f := row(t, record.Fault{Name: "beginning", Promise: record.PrefixOrRefuse, Trials: []record.Trial{trial}}); judge.FaultHeld(f) || len(f.Broken) != 1 {
		t.Errorf("%+v", f)
	}
}

// A record that contradicts itself gives no figures.
func TestFaultRecordThatContradictsItself(t *testing.T) {
	for name, spoil := range map[string]func(*record.Trial){
		"sum":   func(t *record.Trial) { t.Looks[0].Stored.Sums[0] = "0" },
		"level": func(t *record.Trial) { t.Levels = nil },
		"end":   func(t *record.Trial) { t.Looks[0].End = "" },
		"run":   func(t *record.Trial) { t.Looks[0].Stored.Runs[0][1] = 0 },
		"fate":  func(t *record.Trial) { t.Ledger = ledger.Digest{Rows: [][2]uint64{{1, 1}}} },
	} {
		trial := recordtest.Trial(10, 0)
		spoil(&trial)
		if f, err := figures.Fault(record.Fault{Name: name, Promise: record.NothingLost, Trials: []record.Trial{trial}}); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestSoak(t *testing.T) {
	found, err := figures.Soak(recordtest.Soak())
	if err != nil {
		t.Fatal(err)
	}
	if found.Acknowledged != 1200*16 || found.Stored != 1200*16 || found.Lost != 0 || len(found.Windows) != 60 || found.Unanswered != 0 || len(found.Broken) > 0 {
		t.Errorf("%+v", found)
	}
	if p99 := found.Windows[0].Values[7]; p99 < 3 || p99 > 3*1.01 {
		t.Errorf("of 20 response times two are 3 ms: p99 is %v", p99)
	}
}
