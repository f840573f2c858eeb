package profile

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"

	"sekali/bench/record"
)

// stacks writes a profile of samples, each a stack from the innermost function out and its value.
func stacks(t *testing.T, path, sampleType, unit string, samples map[string]int64) {
	t.Helper()
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: sampleType, Unit: unit}}}
	locations := map[string]*profile.Location{}
	for names, value := range samples {
		sample := &profile.Sample{Value: []int64{1, value}}
		for name := range strings.SplitSeq(names, "<") {
			if locations[name] == nil {
				f := &profile.Function{ID: uint64(len(p.Function) + 1), Name: name}
				p.Function = append(p.Function, f)
				locations[name] = &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
				p.Location = append(p.Location, locations[name])
			}
			sample.Location = append(sample.Location, locations[name])
		}
		p.Sample = append(p.Sample, sample)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := p.Write(file); err != nil {
		t.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	stacks(t, filepath.Join(dir, "cpu.pb.gz"), "cpu", "nanoseconds", map[string]int64{
		"insert<write<main":        60_000_000,
		"read<main":                30_000_000,
		"write<main":               10_000_000,
		"insert<walk<insert<write": 20_000_000, // insert is on the stack twice
	})
	stacks(t, filepath.Join(dir, "heap.pb.gz"), "inuse_space", "bytes", map[string]int64{"buffer<main": 5_000_000})
	tables, err := Read(dir, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) != 2 || tables[0].Kind != "cpu" || tables[1].Kind != "heap" {
		t.Fatalf("%+v", tables)
	}
	cpu := tables[0]
	want := []Function{{"insert", 80_000_000, 80_000_000}, {"read", 30_000_000, 30_000_000}}
	if cpu.Total != 120_000_000 || !slices.Equal(cpu.Functions, want) {
		t.Errorf("%+v", cpu)
	}
	if share := cpu.Share(cpu.Functions[0].Flat); share < 0.66 || share > 0.67 {
		t.Errorf("insert's share is %v", share)
	}
	all, err := Read(dir, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all[0].Functions {
		if f.Name == "main" && (f.Flat != 0 || f.Cum != 100_000_000) || f.Name == "write" && f.Cum != 90_000_000 {
			t.Errorf("%+v", f)
		}
	}
}

func TestPrint(t *testing.T) {
	dir := t.TempDir()
	stacks(t, filepath.Join(dir, "cpu.pb.gz"), "cpu", "nanoseconds", map[string]int64{"insert<write": 75_000_000, "read<write": 25_000_000})
	var out bytes.Buffer
	cost := 20.0
	if err := Print(&out, dir, 5, Costs{CPUUS: &cost}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu: CPU time in the measured window, 100ms in all", "other  100ms  100.0%        20.00", FlameFile, "75ms", "75.0%", "insert", "go tool pprof -http=: " + dir, "-diff_base"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q:\n%s", want, out.String())
		}
	}
}

// TestStages: the label decides, then whether it is the collector's.
func TestStages(t *testing.T) {
	label := func(name string) map[string][]string { return map[string][]string{stageLabel: {name}} }
	of := func(names ...string) []*profile.Location {
		var stack []*profile.Location
		for _, name := range names {
			stack = append(stack, &profile.Location{Line: []profile.Line{{Function: &profile.Function{Name: name}}}})
		}
		return stack
	}
	p := &profile.Profile{Sample: []*profile.Sample{
		{Value: []int64{30}, Label: label("dedup"), Location: of("find", "decide")},
		{Value: []int64{25}, Label: label("dedup"), Location: of("runtime.gcBgMarkWorker")}, // a label is a label
		{Value: []int64{40}, Location: of("runtime.scanobject", "runtime.gcBgMarkWorker")},
		{Value: []int64{5}, Location: of("runtime.mcall")},
	}}
	want := []Stage{{"dedup", 55}, {collectorStage, 40}, {otherStage, 5}}
	if got := stages(p, 0, stageOf); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestAllocStages: without labels the functions of the folder's table tell, the first that is on
// the stack. A folder without a table has no stages of allocations.
func TestAllocStages(t *testing.T) {
	dir := t.TempDir()
	stacks(t, filepath.Join(dir, "allocs.pb.gz"), "alloc_space", "bytes", map[string]int64{
		"make<event.Next<pipeline.(*writer).readPart<pipeline.(*writer).run": 50,
		"event.Parse<http.serve": 30,
		"runtime.malg":           20,
	})
	allocStages := func() []Stage {
		tables, err := Read(dir, 1)
		if err != nil || len(tables) != 1 {
			t.Fatal(tables, err)
		}
		return tables[0].Stages
	}
	if got := allocStages(); got != nil {
		t.Errorf("without a table: %v", got)
	}
	table := `{"stages":["http","decode","read"],"functions":[{"prefix":"pipeline.(*writer).read","stage":"read"},
		{"prefix":"event.","stage":"decode"},{"prefix":"http.","stage":"http"}]}`
	if err := os.WriteFile(filepath.Join(dir, record.StagesFile), []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := allocStages(), []Stage{{"read", 50}, {"decode", 30}, {otherStage, 20}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestFlame: it is XML whatever the functions are called, a stage's frame is as wide as its share,
// children lie within, and what is too narrow to be seen is left out.
func TestFlame(t *testing.T) {
	dir := t.TempDir()
	stacks(t, filepath.Join(dir, "cpu.pb.gz"), "cpu", "nanoseconds", map[string]int64{
		"a[]]>&\"b<path/write": 750_000, "read<path/write": 249_900, "tiny": 100})
	if err := writeFlame(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, FlameFile))
	if err != nil {
		t.Fatal(err)
	}
	var picture struct {
		Frames []struct {
			Name string `xml:"data-n,attr"`
			Rect struct {
				X     float64 `xml:"x,attr"`
				Y     float64 `xml:"y,attr"`
				Width float64 `xml:"width,attr"`
			} `xml:"rect"`
		} `xml:"g>g"`
	}
	if err := xml.Unmarshal(text, &picture); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range picture.Frames {
		got = append(got, fmt.Sprintf("%s %.0f+%.0f at %.0f", f.Name, f.Rect.X, f.Rect.Width, f.Rect.Y/flameRow))
	}
	want := []string{"all 0+1200 at 0", "other 0+1200 at 1", "write 0+1200 at 2", `a[]]>&"b 0+900 at 3`, "read 900+300 at 3"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if tables, err := Read(filepath.Join(dir, "none"), 1); err != nil || tables != nil {
		t.Errorf("of a missing folder: %v, %v", tables, err)
	}
	if err := Print(&bytes.Buffer{}, dir, 1, Costs{}); err == nil {
		t.Error("an empty folder was printed")
	}
	stacks(t, filepath.Join(dir, "mutex.pb.gz"), "other", "count", map[string]int64{"f": 1})
	if _, err := Read(dir, 1); err == nil || !strings.Contains(err.Error(), `no samples of type "delay"`) {
		t.Errorf("of the wrong type: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mutex.pb.gz"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, 1); err == nil {
		t.Error("a text was read as a profile")
	}
}
