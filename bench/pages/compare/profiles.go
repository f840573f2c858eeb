package compare

import (
	"io"
	"os"
	"path/filepath"
	"slices"

	"sekali/bench/pages/profile"
	"sekali/bench/record"
)

// grownFunctions is how many functions are named where a comparison says where the time went.
const grownFunctions = 15

// printProfiles says where B's CPU time grew, if both sides have profiles.
func (p *pair) printProfiles(w io.Writer) error {
	if !p.a.profiled() || !p.b.profiled() {
		_, err := io.WriteString(w, "Where the CPU time grew is not known: no profiles (bench ab -profile takes them)\n")
		return err
	}
	return profile.PrintGrowth(w, p.a.profiles(), p.b.profiles(), grownFunctions)
}

// profiled says that a repeat has profiles.
func (g group) profiled() bool {
	return slices.ContainsFunc(g.folders, func(f record.Folder) bool {
		_, err := os.Stat(filepath.Join(f.Dir, record.ProfilesDir))
		return err == nil
	})
}

func (g group) profiles() profile.Side {
	var side profile.Side
	var costs []float64
	for i, f := range g.folders {
		side.Dirs = append(side.Dirs, filepath.Join(f.Dir, record.ProfilesDir))
		if cost := g.summaries[i].ServerCPUUSPerStored; cost != nil {
			costs = append(costs, *cost)
		}
	}
	side.CPUUSPerStored = median(costs)
	return side
}
