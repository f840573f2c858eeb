package compare

import (
	"io"
	"path/filepath"

	"sekali/bench/profile"
	"sekali/bench/result"
)

// grownFunctions is how many functions are named where a comparison says where the time went.
const grownFunctions = 15

// printProfiles says where B's CPU time grew, if both sides have profiles.
func (p *pair) printProfiles(w io.Writer) error {
	return profile.PrintGrowth(w, p.a.profiles(), p.b.profiles(), grownFunctions)
}

func (g group) profiles() profile.Side {
	var side profile.Side
	var costs []float64
	for i, f := range g.folders {
		side.Dirs = append(side.Dirs, filepath.Join(f.Dir, result.ProfilesDir))
		if cost := g.summaries[i].ServerCPUUSPerStored; cost != nil {
			costs = append(costs, *cost)
		}
	}
	side.CPUUSPerStored = median(costs)
	return side
}
