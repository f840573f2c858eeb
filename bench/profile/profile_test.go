package profile

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
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
	if err := Print(&out, dir, 5); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu: CPU time in the measured phases, 100ms in all", "75ms", "75.0%", "insert", "go tool pprof -http=: " + dir, "-diff_base"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q:\n%s", want, out.String())
		}
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	if tables, err := Read(filepath.Join(dir, "none"), 1); err != nil || tables != nil {
		t.Errorf("of a missing folder: %v, %v", tables, err)
	}
	if err := Print(&bytes.Buffer{}, dir, 1); err == nil {
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
