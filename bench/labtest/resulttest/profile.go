package resulttest

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/google/pprof/profile"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// AddProfile adds a CPU profile to a result folder: a second of main, which calls the functions
// that are named for a tenth of it each.
func AddProfile(dir string, functions ...string) error {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	for i, name := range append([]string{"main"}, functions...) {
		f := &profile.Function{ID: uint64(i + 1), Name: name}
		p.Function = append(p.Function, f)
		p.Location = append(p.Location, &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}})
	}
	for _, callee := range p.Location[1:] {
		p.Sample = append(p.Sample, &profile.Sample{Location: []*profile.Location{callee, p.Location[0]}, Value: []int64{1, 1e8}})
	}
	p.Sample = append(p.Sample, &profile.Sample{Location: p.Location[:1], Value: []int64{1, int64(10-len(functions)) * 1e8}})
	folder := filepath.Join(dir, record.ProfilesDir)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(folder, "cpu.pb.gz"))
	if err != nil {
		return err
	}
	if err := errors.Join(p.Write(file), file.Close()); err != nil {
		return err
	}
	_, err = judge.Finish(dir)
	return err
}
