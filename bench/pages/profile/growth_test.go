package profile

import (
	"bytes"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

// TestGrowth: two repeats a side are added up, in shares of what an event cost; what grew most
// comes first.
func TestGrowth(t *testing.T) {
	write := func(samples ...map[string]int64) (dirs []string) {
		for _, one := range samples {
			dir := t.TempDir()
			stacks(t, filepath.Join(dir, "cpu.pb.gz"), "cpu", "nanoseconds", one)
			dirs = append(dirs, dir)
		}
		return dirs
	}
	a := Side{write(map[string]int64{"insert<write": 50, "read<write": 50}, map[string]int64{"insert<write": 70, "read<write": 30}), 10}
	b := Side{write(map[string]int64{"insert<write": 500, "read<write": 250, "spin<write": 250}), 16}
	var out bytes.Buffer
	if err := PrintGrowth(&out, a, b, 2); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(out.String()), " ")
	want := "Where the CPU time of a stored event grew, µs: 10.000 in A, 16.000 in B " +
		"stage A B growth other 10.000 16.000 +6.000 " +
		"flat A flat B growth of cum 0.000 4.000 +4.000 +4.000 spin 6.000 8.000 +2.000 +2.000 insert"
	if got != want {
		t.Errorf("%s\nexpected:\n%s", got, want)
	}
	for name, other := range map[string]Side{"no profile": {[]string{t.TempDir()}, 10}, "no cost": {b.Dirs, math.NaN()}} {
		out.Reset()
		if err := PrintGrowth(&out, a, other, 2); err != nil || out.Len() > 0 {
			t.Errorf("%s: %v, %s", name, err, out.String())
		}
	}
}
