package compare

import (
	"errors"
	"fmt"
	"slices"

	"sekali/bench/record"
)

// maxOthersApart is how far what others took of the cores may be from the median over all repeats.
// Beyond it something else ran beside the repeat. It is two thirds of what makes a run INVALID.
const maxOthersApart = 0.1

// moments names each repeat during which the machine was another than during most: its disk synced
// more than a factor of 2 faster or slower than in the median, or others took more of its cores.
func (p *pair) moments() (warnings []string) {
	all := slices.Concat(p.a.folders, p.b.folders)
	var syncs, shares []float64
	for _, f := range all {
		if us := f.Run.Environment.Fdatasync.P50US; us > 0 {
			syncs = append(syncs, us)
		}
	}
	for _, s := range slices.Concat(p.a.summaries, p.b.summaries) {
		if s.OtherCPUShare != nil {
			shares = append(shares, *s.OtherCPUShare)
		}
	}
	sync, share := median(syncs), median(shares)
	for i, s := range slices.Concat(p.a.summaries, p.b.summaries) {
		if us := all[i].Run.Environment.Fdatasync.P50US; us > maxSyncFactor*sync || us > 0 && us*maxSyncFactor < sync {
			warnings = append(warnings, fmt.Sprintf("the disk took %.4g µs to sync before this repeat, %.4g in the median (%s)", us, sync, all[i].Dir))
		}
		if s.OtherCPUShare != nil && *s.OtherCPUShare > share+maxOthersApart {
			warnings = append(warnings, fmt.Sprintf("others took %.0f %% of the cores during this repeat, %.0f %% in the median (%s)",
				100**s.OtherCPUShare, 100*share, all[i].Dir))
		}
	}
	return warnings
}

// files names raw files that are not those of their run.json, and ledgers that are there twice:
// each repeat was to be a run of its own.
func (p *pair) files() (warnings []string) {
	seen := map[string]string{}
	for _, f := range slices.Concat(p.a.folders, p.b.folders) {
		if f.Dir == "" {
			continue // of no folder
		}
		if err := errors.Join(record.CheckFiles(f)...); err != nil {
			warnings = append(warnings, fmt.Sprintf("what was measured was changed: %v", err))
		}
		for _, file := range f.Run.Files {
			if file.Name != record.RequestsFile {
				continue
			}
			if other, twice := seen[file.SHA256]; twice {
				warnings = append(warnings, fmt.Sprintf("%s and %s are the same run", other, f.Dir))
			}
			seen[file.SHA256] = f.Dir
		}
	}
	return warnings
}
