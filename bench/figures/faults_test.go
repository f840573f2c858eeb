package figures_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"sekali/bench/figures"
	"sekali/bench/internal/audit"
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

// TestFaultOfCluster: replicas that differ are a broken promise, a control is held if it was caught
// each time, and outages are told by level: the longest silence around each fault.
func TestFaultOfCluster(t *testing.T) {
	of := func(change func(*record.Trial)) record.Fault {
		trial := recordtest.ClusterTrial(300)
		change(&trial)
		return record.Fault{Name: "SIGKILL", Promise: record.NothingLost, Tells: record.TellsOutages, Trials: []record.Trial{trial}}
	}
	whole := row(t, of(func(*record.Trial) {}))
	if want := "journal not acknowledged for 0.10, 0.10, 0.30 s; store not acknowledged for 4.00, 4.50, 6.00 s"; whole.Seen != want || !judge.FaultHeld(whole) {
		t.Errorf("%+v, want seen %q", whole, want)
	}
	if want := []float64{6000, 4000, 4500}; !reflect.DeepEqual(whole.Levels[1].OutageMS, want) || whole.Levels[1].Level != "store" {
		t.Errorf("%+v", whole.Levels)
	}
	for name, change := range map[string]func(*record.Replica){
		"position": func(r *record.Replica) { r.Position-- }, "hash": func(r *record.Replica) { r.Hash = "" },
		"events": func(r *record.Replica) { r.Events-- }, "bytes": func(r *record.Replica) { r.SHA256 = "ef" },
		"seq": func(r *record.Replica) { r.LastSeq++ }, "epoch": func(r *record.Replica) { r.Epoch++ },
	} {
		if r := row(t, of(func(t *record.Trial) { change(&t.Looks[0].Replicas[1]) })); judge.FaultHeld(r) {
			t.Errorf("another %s: held: %+v", name, r)
		}
	}
	control := recordtest.ClusterFaults()[2]
	if r := row(t, control); !judge.FaultHeld(r) || r.Caught != 2 {
		t.Errorf("caught: %+v", r)
	}
	control.Trials[0].Caught = control.Trials[0].Caught[:1]
	if r := row(t, control); judge.FaultHeld(r) {
		t.Errorf("one of two was not caught: held: %+v", r)
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

// All that faults and a soak send is valid: what is counted as rejected, or answered as such, is
// seen in the record of either.
func TestRejectedInRecords(t *testing.T) {
	one := uint64(1)
	for name, c := range map[string]struct {
		counters func(*audit.Counters)
		answers  func(*ledger.Digest)
		broken   string
	}{
		"control":              {func(*audit.Counters) {}, func(*ledger.Digest) {}, ""},
		"counted":              {func(c *audit.Counters) { c.Rejected = 1 }, func(*ledger.Digest) {}, "rejected_by_ledger is 1, must be 0"},
		"counted by one life":  {func(c *audit.Counters) { c.RejectedInLife = &one }, func(*ledger.Digest) {}, "rejected_in_life is 1, must be 0"},
		"told, as is counted":  {func(c *audit.Counters) { c.Rejected = 1 }, reject, "valid_events_rejected is"},
		"told and not counted": {func(*audit.Counters) {}, reject, "valid_events_rejected is"},
	} {
		trial, left := recordtest.Trial(10, 0), recordtest.Soak()
		c.counters(trial.Looks[0].Counters)
		c.counters(&left.Counters)
		c.answers(&trial.Ledger)
		c.answers(&left.Ledger)
		found, err := figures.Soak(left)
		if err != nil {
			t.Fatal(err)
		}
		fault := row(t, record.Fault{Name: name, Promise: record.NothingLost, Trials: []record.Trial{trial}})
		for _, broken := range [][]string{fault.Broken, found.Broken} {
			if text := strings.Join(broken, "; "); !strings.Contains(text, c.broken) || (text == "") != (c.broken == "") {
				t.Errorf("%s: %q is not said: %q", name, c.broken, text)
			}
		}
	}
}

// reject has each answer of the first kind reject an event.
func reject(d *ledger.Digest) { d.Kinds[0].Accepted, d.Kinds[0].Rejected = d.Kinds[0].Accepted-1, 1 }

// A record that contradicts itself gives no figures.
func TestFaultRecordThatContradictsItself(t *testing.T) {
	for name, spoil := range map[string]func(*record.Trial){
		"sum":   func(t *record.Trial) { t.Looks[0].Stored.Sums[0] = "0" },
		"level": func(t *record.Trial) { t.Levels = nil },
		"end":   func(t *record.Trial) { t.Looks[0].End = "" },
		"run":   func(t *record.Trial) { t.Looks[0].Stored.Runs[0][1] = 0 },
		"fate":  func(t *record.Trial) { t.Ledger = ledger.Digest{Rows: [][2]uint64{{1, 1}}} },
		"an outage that is healed before it is struck": func(t *record.Trial) { t.Outages[0].HealedNS = 0 },
		"an outage within another":                     func(t *record.Trial) { t.Outages[1].FromNS = 1e9 },
		"a silence before the outage":                  func(t *record.Trial) { t.Outages[1].Levels[1].SilencesNS[0][0] = 1e9 },
		"a silence behind it":                          func(t *record.Trial) { t.Outages[1].Levels[1].SilencesNS[1][1] += 60e9 },
		"a silence that is none":                       func(t *record.Trial) { t.Outages[1].Levels[1].SilencesNS[1][1] -= 150e6 },
		"silences with nothing between them":           func(t *record.Trial) { t.Outages[1].Levels[1].Acknowledged = 0 },
		"more heard than in all":                       func(t *record.Trial) { t.Outages[1].Levels[1].Acknowledged = 200 },
	} {
		trial := recordtest.ClusterTrial(300)
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

// TestSoakWithoutAColumn: a record that lacks what it was to watch has no figures; one of before
// the controls has its own.
func TestSoakWithoutAColumn(t *testing.T) {
	for i, metric := range recordtest.Soak().Metrics {
		left := recordtest.Soak()
		left.Metrics = slices.Delete(left.Metrics, i, i+1)
		for at := range left.Windows {
			left.Windows[at].Values = slices.Delete(left.Windows[at].Values, i, i+1)
		}
		found, err := figures.Soak(left)
		if control := slices.Contains(record.SoakControls, metric); control != (err == nil) || control && len(found.Columns) != len(record.SoakColumns)-1 {
			t.Errorf("without %s: %v, %v", metric, found.Columns, err)
		}
	}
}
