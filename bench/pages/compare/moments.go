package compare

import (
	"errors"
	"fmt"
	"slices"

	"sekali/bench/judge"
	"sekali/bench/record"
)

// maxOthersApart is how far what others took of the cores may be from the median over all repeats.
// Beyond it something else ran beside the repeat. It is two thirds of what makes a run INVALID.
const maxOthersApart = 0.1

// maxLeftOut is the share of the pairs of runs that may be left out.
const maxLeftOut = 0.1

// moment is a repeat during which the machine was another than during most.
type moment struct {
	repeat int  // of its side, from 0
	before bool // it was so before the repeat began: no side had a part in it
	text   string
}

// moments are those repeats: the disk synced more than a factor of 2 faster or slower than in the
// median, or others took more of the cores.
func (p *pair) moments() (odd []moment) {
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
		repeat := i
		if i >= len(p.a.folders) {
			repeat -= len(p.a.folders)
		}
		if us := all[i].Run.Environment.Fdatasync.P50US; us > maxSyncFactor*sync || us > 0 && us*maxSyncFactor < sync {
			odd = append(odd, moment{repeat, true, fmt.Sprintf("the disk took %.4g µs to sync before this repeat, %.4g in the median (%s)", us, sync, all[i].Dir)})
		}
		if s.OtherCPUShare != nil && *s.OtherCPUShare > share+maxOthersApart {
			odd = append(odd, moment{repeat, false, fmt.Sprintf("others took %.0f %% of the cores during this repeat, %.0f %% in the median (%s)",
				100**s.OtherCPUShare, 100*share, all[i].Dir)})
		}
	}
	return odd
}

// leaveOut takes the few pairs of runs away before which the disk was another, whatever their
// figures: of many pairs some meet such a moment, and one would forbid the verdict of all. What
// others took during a repeat may be a side's own doing, such as work that it leaves to the kernel:
// that stays, and so does what is INVALID or broke a promise.
func (p *pair) leaveOut() {
	odd := map[int]string{}
	for _, m := range p.moments() {
		if m.before {
			odd[m.repeat] = m.text
		}
	}
	n := len(p.a.folders)
	if !p.paired || float64(len(odd)) > maxLeftOut*float64(n) {
		return
	}
	for i := n - 1; i >= 0; i-- {
		text, is := odd[i]
		if !is || !p.a.held(i) || !p.b.held(i) {
			continue
		}
		p.a.remove(i)
		p.b.remove(i)
		p.leftOut = append(p.leftOut, text)
	}
}

// held says that a repeat is VALID and kept what its scenario claims, and that it can be told which
// requests are its own.
func (g *group) held(i int) bool {
	run := g.folders[i].Run
	return run.Validity.Valid && len(judge.Broken(run)) == 0 && (len(g.responses) == 0 || len(g.responses) == len(g.folders))
}

func (g *group) remove(i int) {
	if len(g.responses) > 0 {
		g.responses = slices.Delete(g.responses, i, i+1)
	}
	g.folders, g.summaries = slices.Delete(g.folders, i, i+1), slices.Delete(g.summaries, i, i+1)
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
