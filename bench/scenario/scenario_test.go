package scenario

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden file of error texts")

const full = `
name: kill
question: What is lost?
tags: [long]
aggregator: {ack: journal, batch_events: 5000}
stream: {seed: 11, duplicates: 0.2, payload_bytes: 200}
load:
  events_per_request: 500
  phases:
    - {name: warm-up, rate: 50/s, duration: 1s}
    - {name: measured, rate: 2.5/s, duration: 1500ms, measured: true}
fault: {kind: sigkill, at: 2s, restart_after: 250ms}
expect: {refused: 0}
cases:
  - {name: journal}
  - name: memory
    aggregator: {ack: memory}
    stream: {duplicates: 0}
    load:
      phases:
        - {name: only, clients: 3, duration: 10s, measured: true}
    expect: {lost: some}
`

func TestCasesOverrideKeyByKey(t *testing.T) {
	s, err := Parse("kill.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "kill" || !s.Long() || len(s.Cases) != 2 || string(s.Text) != full {
		t.Fatalf("%+v", s)
	}
	base, memory := s.Cases[0].Settings, s.Cases[1].Settings
	if base.Aggregator.Ack != "journal" || memory.Aggregator.Ack != "memory" || memory.Aggregator.BatchEvents != 5000 {
		t.Errorf("aggregator: %+v, %+v", base.Aggregator, memory.Aggregator)
	}
	if base.Stream.Duplicates != 0.2 || memory.Stream.Duplicates != 0 || memory.Stream.Seed != 11 || memory.Stream.PayloadBytes != 200 {
		t.Errorf("stream: %+v, %+v", base.Stream, memory.Stream)
	}
	wantPhases := []Phase{
		{Name: "warm-up", Rate: 50, Duration: Duration(time.Second)},
		{Name: "measured", Rate: 2.5, Duration: Duration(1500 * time.Millisecond), Measured: true}}
	if !slices.Equal(base.Load.Phases, wantPhases) {
		t.Errorf("phases: %+v", base.Load.Phases)
	}
	if want := []Phase{{Name: "only", Clients: 3, Duration: Duration(10 * time.Second), Measured: true}}; !slices.Equal(memory.Load.Phases, want) {
		t.Errorf("a case's phases must replace the file's: %+v", memory.Load.Phases)
	}
	if memory.Load.EventsPerRequest != 500 || memory.Load.Encoding != "json" || memory.Load.Compression != "none" {
		t.Errorf("load: %+v", memory.Load)
	}
	if want := (Fault{Kind: Sigkill, At: Duration(2 * time.Second), RestartAfter: Duration(250 * time.Millisecond)}); memory.Fault != want || base.Fault != want {
		t.Errorf("fault: %+v, %+v", base.Fault, memory.Fault)
	}
	if want := (Expect{Lost: Exactly(0), Duplicated: Exactly(0), Unexpected: Exactly(0), Unacknowledged: Exactly(0), Refused: Exactly(0), Failures: Any, DeduplicationRate: "exact"}); base.Expect != want {
		t.Errorf("expect: %+v", base.Expect)
	}
	if memory.Expect.Lost != Some || memory.Expect.Refused != Exactly(0) {
		t.Errorf("expect of a case: %+v", memory.Expect)
	}
	if want := []string{"-ack=memory", "-batch-events=5000"}; !slices.Equal(memory.Aggregator.Flags(), want) {
		t.Errorf("flags: %q", memory.Aggregator.Flags())
	}
}

// TestNetwork: a case lays its own key over the file's.
func TestNetwork(t *testing.T) {
	text := strings.Replace(full, "  - {name: journal}", "  - {name: journal, network: {rtt: 2ms}}", 1) + "network: {mbit_per_s: 100}\n"
	s, err := Parse("kill.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if one, two := s.Cases[0].Settings.Network, s.Cases[1].Settings.Network; one != (Network{Duration(2 * time.Millisecond), 100}) || two != (Network{MbitPerS: 100}) {
		t.Errorf("%+v, %+v", one, two)
	}
}

func TestSweepLaysEveryValueOverEveryCase(t *testing.T) {
	s, err := Parse("kill.yaml", []byte(strings.Replace(full, sweepable, swept("[1, 1000]"), 1)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Cases {
		got = append(got, fmt.Sprintf("%s %d %s %+v", c.Name, c.Settings.Load.EventsPerRequest, c.Settings.Aggregator.Ack, *c.Point))
	}
	want := []string{
		"journal-events_per_request-1 1 journal {Parameter:load.events_per_request Value:1 Curve:journal index:0}",
		"memory-events_per_request-1 1 memory {Parameter:load.events_per_request Value:1 Curve:memory index:0}",
		"journal-events_per_request-1000 1000 journal {Parameter:load.events_per_request Value:1000 Curve:journal index:1}",
		"memory-events_per_request-1000 1000 memory {Parameter:load.events_per_request Value:1000 Curve:memory index:1}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
}

// TestEveryParameterCanBeSwept sets each, in a file without cases, and looks for it in the flags
// and the settings.
func TestEveryParameterCanBeSwept(t *testing.T) {
	const file = "name: s\nquestion: Which?\nload: {%sphases: [{name: m, clients: 1, requests: 9, measured: true}]}\nsweep: {parameter: %s, values: %s}\n"
	for name, test := range map[string]struct {
		values, second string
		set            func(Settings) any
		want           any
	}{
		"aggregator.ack":          {"[memory, store]", "ack-store", func(s Settings) any { return s.Aggregator.Ack }, "store"},
		"aggregator.batch_events": {"[1, 10]", "batch_events-10", func(s Settings) any { return s.Aggregator.BatchEvents }, 10},
		"load.events_per_request": {"[1, 10]", "events_per_request-10", func(s Settings) any { return s.Load.EventsPerRequest }, 10},
		"load.rate":               {"[1, 10]", "rate-10", func(s Settings) any { return s.Load.Phases[0].Rate }, Rate(10)},
		"stream.distance":         {"[history, recent]", "distance-recent", func(s Settings) any { return s.Stream.Distance }, "recent"},
		"stream.duplicates":       {"[0, 0.200]", "duplicates-0.2", func(s Settings) any { return s.Stream.Duplicates }, 0.2},
		"stream.ids":              {"[uuid4, time]", "ids-time", func(s Settings) any { return s.Stream.IDs }, "time"},
		"stream.payload_bytes":    {"[150, 1000]", "payload_bytes-1000", func(s Settings) any { return s.Stream.PayloadBytes }, 1000},
	} {
		perRequest := "events_per_request: 5, "
		if name == "load.events_per_request" {
			perRequest = ""
		}
		text := fmt.Sprintf(file, perRequest, name, test.values)
		if name == "load.rate" {
			text = strings.Replace(text, "clients: 1, requests: 9", "rate: 7/s, duration: 1s", 1)
		}
		s, err := Parse("s.yaml", []byte(text))
		if err != nil {
			t.Error(err)
			continue
		}
		if len(s.Cases) != 2 || s.Cases[1].Name != test.second || test.set(s.Cases[1].Settings) != test.want {
			t.Errorf("%s: %+v", name, s.Cases)
		}
	}
	if len(parameters) != 8 {
		t.Errorf("%d parameters, and 8 are tried", len(parameters))
	}
}

func TestSearch(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "p99<50ms,refused=0,unknown=0,backlog<2s,leftover<10% from 100/s, 1 within 15m0s",
		"search: {start: 2.5/s}\n": "p99<50ms,refused=0,unknown=0,backlog<2s,leftover<10% from 2.5/s, 1 within 15m0s",
		"search: {objective: p50<1ms, repeat: 3}\n":                "p50<1ms from 100/s, 3 within 15m0s",
		"search:\n  objective: p99<1s, refused=0\n  budget: 90s\n": "p99<1s,refused=0 from 100/s, 1 within 1m30s",
	} {
		s, err := Parse("s.yaml", []byte(full+text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := fmt.Sprintf("%s from %g/s, %d within %s", s.Search.Objective, float64(s.Search.Start), s.Search.Repeat, time.Duration(s.Search.Budget))
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for _, test := range []struct {
		count     Count
		zero, two bool
	}{{Count{}, true, true}, {Any, true, true}, {Some, false, true}, {Exactly(0), true, false}, {Exactly(2), false, true}} {
		if test.count.Allows(0) != test.zero || test.count.Allows(2) != test.two {
			t.Errorf("%q allows 0: %v, 2: %v", test.count, test.count.Allows(0), test.count.Allows(2))
		}
	}
}

// refused are small changes of a good file, each refused; the texts are the golden file's.
var refused = []struct{ name, old, new string }{
	{"unknown key", "question: What", "colour: red\nquestion: What"},
	{"unknown key in a phase", "rate: 50/s,", "rate: 50/s, speed: 3,"},
	{"unknown key in a case", "{name: journal}", "{name: journal, stream: {sead: 1}}"},
	{"repeated key", "expect: {refused: 0}", "expect: {refused: 0}\nname: again"},
	{"repeated key in a flow mapping", "{refused: 0}", "{refused: 0, refused: 1}"},
	{"negative rate", "rate: 50/s", "rate: -50/s"},
	{"rate of zero", "rate: 50/s", "rate: 0/s"},
	{"rate without a unit", "rate: 50/s", "rate: 50"},
	{"rate a minute", "rate: 50/s", "rate: 50/min"},
	{"rate that is not a number", "rate: 50/s", "rate: NaN/s"},
	{"rate that is a list", "rate: 50/s", "rate: [50/s]"},
	{"rate above the bound", "rate: 50/s", "rate: 5e9/s"},
	{"duration without a unit", "duration: 1s", "duration: 1"},
	{"duration in other units", "duration: 1s", "duration: 1 minute"},
	{"negative duration", "duration: 1s", "duration: -1s"},
	{"rate without a duration", ", duration: 1s", ""},
	{"rate and clients", "rate: 50/s", "rate: 50/s, clients: 2"},
	{"clients without an end", "clients: 3, duration: 10s", "clients: 3"},
	{"clients with two ends", "clients: 3", "clients: 3, requests: 3"},
	{"negative clients", "clients: 3", "clients: -3"},
	{"neither rate nor clients", "rate: 50/s, duration: 1s", "duration: 1s"},
	{"no phases", "        - {name: only, clients: 3, duration: 10s, measured: true}", "        []"},
	{"nothing measured", "duration: 1500ms, measured: true", "duration: 1500ms"},
	{"two phases of one name", "name: warm-up", "name: measured"},
	{"text for a number", "events_per_request: 500", "events_per_request: many"},
	{"fraction for a whole number", "events_per_request: 500", "events_per_request: 1.5"},
	{"number too large", "seed: 11", "seed: 99999999999999999999"},
	{"number just beyond 64 bits", "seed: 11", "seed: 18446744073709551616"},
	{"number with a leading zero", "seed: 11", "seed: 010"},
	{"hexadecimal number", "seed: 11", "seed: 0x10"},
	{"number with an underscore", "seed: 11", "seed: 1_000"},
	{"leading zero in a list", "expect: {refused: 0}", "sweep: {parameter: stream.payload_bytes, values: [0200, 300]}"},
	{"negative number for an unsigned one", "seed: 11", "seed: -11"},
	{"zero events a request", "events_per_request: 500", "events_per_request: 0"},
	{"number for a text", "name: kill", "name: [kill]"},
	{"mapping for a list", "tags: [long]", "tags: {long: true}"},
	{"list for a mapping", "expect: {refused: 0}", "expect: [refused]"},
	{"text for true", "measured: true", "measured: perhaps"},
	{"name with ../", "name: kill", "name: ../kill"},
	{"case name with ../", "name: journal", "name: ../../etc"},
	{"two cases of one name", "name: journal", "name: memory"},
	{"no name", "name: kill\n", ""},
	{"no question", "question: What is lost?\n", ""},
	{"ack level", "ack: memory", "ack: fsync"},
	{"negative flag", "batch_events: 5000", "batch_events: -1"},
	{"duplicates above one", "duplicates: 0.2", "duplicates: 1.2"},
	{"distance", "duplicates: 0.2", "duplicates: 0.2, distance: far"},
	{"encoding", "events_per_request: 500", "events_per_request: 500\n  encoding: xml"},
	{"kind of fault", "kind: sigkill", "kind: meteor"},
	{"fault without a moment", "at: 2s, ", ""},
	{"fault after the load", "at: 2s", "at: 20s"},
	{"moment without a fault", "kind: sigkill, ", ""},
	{"restart of a broken disk", "kind: sigkill, at: 2s", "kind: disk-full, at: 1s, for: 500ms"},
	{"broken disk without an end", "kind: sigkill", "kind: disk-error"},
	{"disk broken beyond the load", "kind: sigkill, at: 2s, restart_after: 250ms", "kind: slow-disk, at: 2s, for: 20s"},
	{"kill that lasts", "at: 2s", "at: 2s, for: 1s"},
	{"disk held to less than nothing", "expect: {refused: 0}", "disk: {mb_per_s: -1}"},
	{"disk held to more than there is", "expect: {refused: 0}", "disk: {operations_per_s: 2000000}"},
	{"disk of a cluster", "expect: {refused: 0}", "disk: {mb_per_s: 125}\ncluster: {nodes: 3}"},
	{"network without a unit", "expect: {refused: 0}", "network: {rtt: 1}"},
	{"network too near", "expect: {refused: 0}", "network: {rtt: 20us}"},
	{"network too far", "expect: {refused: 0}", "network: {rtt: 2s}"},
	{"network slower than nothing", "expect: {refused: 0}", "network: {mbit_per_s: -1}"},
	{"network faster than there is", "expect: {refused: 0}", "network: {mbit_per_s: 1000000}"},
	{"network with an unknown key", "expect: {refused: 0}", "network: {loss: 1}"},
	{"network of a cluster", "expect: {refused: 0}", "network: {rtt: 1ms}\ncluster: {nodes: 3}"},
	{"network with a yardstick", "expect: {refused: 0}", "network: {mbit_per_s: 100}\nyardstick: bare"},
	{"unknown client", "events_per_request: 500", "events_per_request: 500\n  client: curl"},
	{"light client with a rate", "events_per_request: 500", "events_per_request: 500\n  client: light"},
	{"unknown yardstick", "expect: {refused: 0}", "yardstick: ruler"},
	{"yardstick of an open loop", "expect: {refused: 0}", "yardstick: bare"},
	{"unknown reader", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: page, rate: 5/s}]"},
	{"reader without a rate", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: seq}]"},
	{"reader of a kind twice", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: seq, rate: 5/s}, {kind: seq, rate: 6/s}]"},
	{"streams at a rate", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: stream, clients: 5, rate: 5/s}]"},
	{"no streams", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: stream}]"},
	{"page of nothing", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: seq, rate: 5/s, limit: -1}]"},
	{"pages with clients", "fault: {kind: sigkill, at: 2s, restart_after: 250ms}", "readers: [{kind: seq, rate: 5/s, clients: 2}]"},
	{"readers beside a fault", "expect: {refused: 0}", "readers: [{kind: seq, rate: 5/s}]"},
	{"negative count", "refused: 0", "refused: -1"},
	{"count in words", "refused: 0", "refused: few"},
	{"rate expectation", "expect: {refused: 0}", "expect: {deduplication_rate: roughly}"},
	{"sweep of nothing", "expect: {refused: 0}", "sweep:"},
	{"sweep without values", "expect: {refused: 0}", "sweep: {parameter: stream.ids}"},
	{"sweep of an unknown parameter", "expect: {refused: 0}", "sweep: {parameter: stream.seed, values: [1, 2]}"},
	{"sweep of one value", "expect: {refused: 0}", "sweep: {parameter: stream.ids, values: [time]}"},
	{"sweep of a value twice", sweepable, swept("[10, 1, 010]")},
	{"sweep of equal values", sweepable, swept("[10, 1, 10]")},
	{"sweep of a fraction", sweepable, swept("[1, 2.5]")},
	{"sweep of a text for a number", sweepable, swept("[1, '10']")},
	{"sweep of zero", sweepable, swept("[0, 1]")},
	{"sweep of a list", sweepable, swept("[1, [2]]")},
	{"too many clients", full, "name: n\nquestion: q\nload:\n  events_per_request: 1\n  phases:\n    - {name: a, clients: 1025, requests: 10, measured: true}\n"},
	{"sweep of a value out of range", sweepable, swept("[1, 10000000]")},
	{"sweep of too many values", sweepable, swept("[" + strings.Repeat("1, ", maxCases/2) + "2]")},
	{"sweep of a number for a text", "expect: {refused: 0}", "sweep: {parameter: stream.ids, values: [time, 4]}"},
	{"sweep of an unknown text", "expect: {refused: 0}", "sweep: {parameter: stream.ids, values: [time, uuid5]}"},
	{"sweep of what is set", "expect: {refused: 0}", "sweep: {parameter: load.events_per_request, values: [1, 2]}"},
	{"sweep of what a case sets", "aggregator: {ack: journal, batch_events: 5000}", "sweep: {parameter: aggregator.ack, values: [journal, store]}"},
	{"sweep with an unknown key", "expect: {refused: 0}", "sweep: {parameter: stream.ids, values: [time, uuid4], from: 1}"},
	{"sweep with a bad setting beside it", "stream: {seed: 11,", "sweep: {parameter: stream.distance, values: [recent, history]}\nstream: {seed: 11, topics: -1,"},
	{"search of nothing", "expect: {refused: 0}", "search:"},
	{"search for nothing", "expect: {refused: 0}", "search: {objective: ''}"},
	{"objective without a unit", "expect: {refused: 0}", "search:\n  objective: p99<50ms,backlog<2"},
	{"objective without a unit, quoted", "expect: {refused: 0}", "search: {objective: 'p99<50ms,backlog<2'}"},
	{"objective that bounds a metric twice", "expect: {refused: 0}", "search: {objective: 'p99<50ms, p99<60ms'}"},
	{"objective that is a list", "expect: {refused: 0}", "search: {objective: [p99<50ms]}"},
	{"start of a search without a unit", "expect: {refused: 0}", "search: {start: 100}"},
	{"start of a search that is no number", "expect: {refused: 0}", "search: {start: NaN/s}"},
	{"start of a search that is infinite", "expect: {refused: 0}", "search: {start: Inf/s}"},
	{"start of a search in hexadecimal", "expect: {refused: 0}", "search: {start: 0x10/s}"},
	{"start of a search below one", "expect: {refused: 0}", "search: {start: 0.5/s}"},
	{"no search at all", "expect: {refused: 0}", "search: {repeat: 0}"},
	{"too many searches", "expect: {refused: 0}", "search: {repeat: 1000}"},
	{"search without time", "expect: {refused: 0}", "search: {budget: 0s}"},
	{"search for ever", "expect: {refused: 0}", "search: {budget: 1000h}"},
	{"search with an unknown key", "expect: {refused: 0}", "search: {objective: 'p99<50ms', until: 3}"},
	{"anchor", "{seed: 11,", "&s {seed: 11,"},
	{"alias", "{name: journal}", "{name: *n}"},
	{"tag", "name: kill", "name: !!str kill"},
	{"two documents", "name: kill", "name: one\n---\nname: kill"},
	{"not a mapping", full, "- a\n- b\n"},
	{"empty", full, ""},
	{"only a comment", full, "# nothing\n"},
	{"bad syntax", "tags: [long]", "tags: [long"},
	{"tab for indentation", "  events_per_request", "\tevents_per_request"},
	{"not UTF-8", "name: kill", "name: \xff"},
	{"alias bomb", full, aliasBomb()},
	{"nested too deeply", full, "name: " + strings.Repeat("[", 10000)},
	{"indented too deeply", full, deeplyIndented()},
	{"too large", full, "name: " + strings.Repeat("x", maxFileBytes)},
	{"too many cases", full, full + strings.Repeat("  - {name: x}\n", maxCases)},
}

// sweepable is a setting that a sweep can take the place of.
const sweepable = "load:\n  events_per_request: 500\n"

func swept(values string) string {
	return "sweep: {parameter: load.events_per_request, values: " + values + "}\nload:\n"
}

func aliasBomb() string {
	bomb := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 10; i++ {
		bomb += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 9), ", "))
	}
	return bomb
}

func deeplyIndented() string {
	var text strings.Builder
	for i := range 300 {
		fmt.Fprintf(&text, "%sa:\n", strings.Repeat(" ", i))
	}
	return text.String()
}

func TestRefusals(t *testing.T) {
	var got strings.Builder
	for _, test := range refused {
		text := strings.Replace(full, test.old, test.new, 1)
		if text == full {
			t.Errorf("%s: changes nothing", test.name)
		}
		started := time.Now()
		_, err := Parse("kill.yaml", []byte(text))
		var refusal *Error
		if !errors.As(err, &refusal) {
			t.Errorf("%s: not refused properly: %v", test.name, err)
			continue
		}
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("%s: took %s", test.name, took)
		}
		fmt.Fprintf(&got, "%s\n    %s\n", test.name, err)
	}
	golden := filepath.Join("testdata", "refusals.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("texts differ from %s (go test -update rewrites it):\n%s", golden, got.String())
	}
}

// TestScenariosOfTheLab keeps every file in scenarios/ readable, under the name of its file.
func TestScenariosOfTheLab(t *testing.T) {
	files, err := filepath.Glob("../../scenarios/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		s, err := Read(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Name+".yaml" != filepath.Base(file) {
			t.Errorf("%s is named %q", file, s.Name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	for _, test := range refused {
		f.Add([]byte(strings.Replace(full, test.old, test.new, 1)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("fuzz.yaml", text)
		if err != nil {
			var refusal *Error
			if !errors.As(err, &refusal) {
				t.Errorf("an error without a place: %v", err)
			}
			return
		}
		if !validName.MatchString(s.Name) || len(s.Cases) == 0 {
			t.Errorf("accepted: %+v", s)
		}
	})
}
