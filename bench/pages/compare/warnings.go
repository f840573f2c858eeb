package compare

import (
	"fmt"
	"slices"
	"strings"

	"sekali/bench/record"
)

// warnings are the reasons why a difference between the sides is not, or not only, that of the
// programs. With one of them there is no verdict on the figures.
func (p *pair) warnings() []string {
	var warnings []string
	a, b := p.a.folders[0].Run, p.b.folders[0].Run
	if p.a.label != p.b.label {
		warnings = append(warnings, fmt.Sprintf("the scenarios differ: %s and %s", p.a.label, p.b.label))
	} else if a.Scenario.Text != b.Scenario.Text {
		warnings = append(warnings, "the text of the scenario differs")
	}
	for _, f := range slices.Concat(p.a.folders[1:], p.b.folders[1:]) {
		if f.Run.Scenario.Text != a.Scenario.Text && f.Run.Scenario.Text != b.Scenario.Text {
			warnings = append(warnings, fmt.Sprintf("the text of the scenario differs between the repeats of one side: %s", f.Dir))
		}
	}
	told := map[string]bool{} // by name: of twenty repeats one says it
	for _, f := range slices.Concat(p.b.folders, p.a.folders[1:]) {
		for _, d := range differences(a, f.Run) {
			if d.a != d.b && !told[d.name] {
				told[d.name] = true
				warnings = append(warnings, fmt.Sprintf("the %s differs: %s and %s (%s)", d.name, d.a, d.b, f.Dir))
			}
		}
	}
	if a, b := p.a.syncTime(), p.b.syncTime(); min(a, b) > 0 && max(a, b) > maxSyncFactor*min(a, b) {
		warnings = append(warnings, fmt.Sprintf("the disk took %.4g µs to sync for A and %.4g µs for B, more than a factor of %d", a, b, maxSyncFactor))
	}
	for _, m := range p.moments() {
		warnings = append(warnings, m.text)
	}
	warnings = append(warnings, p.files()...)
	if a, b := p.a.profiled(), p.b.profiled(); a != b {
		warnings = append(warnings, fmt.Sprintf("%s was run with profiles, which take time, and the other side without", map[bool]string{true: "A", false: "B"}[a]))
	}
	if p.a.broken() && p.b.broken() {
		warnings = append(warnings, "neither side holds what its scenario claims")
	}
	for _, side := range []struct {
		name  string
		group group
	}{{"A", p.a}, {"B", p.b}} {
		if programs := side.group.programs(); programs != "" {
			warnings = append(warnings, fmt.Sprintf("%s is not one program: %s", side.name, programs))
		}
		for _, f := range side.group.folders {
			if !f.Run.Validity.Valid {
				warnings = append(warnings, fmt.Sprintf("%s is INVALID: %s (%s)", side.name, strings.Join(f.Run.Validity.Texts(), "; "), f.Dir))
			}
			if f.Run.Audit == nil {
				warnings = append(warnings, fmt.Sprintf("%s was not audited (%s)", side.name, f.Dir))
			}
		}
	}
	return warnings
}

// invalid ends the last line: how many runs of each side are INVALID, which leaves their cases
// without a verdict on the figures.
func (v Verdict) invalid(pairs []pair) string {
	var invalid, all [2]int
	for _, p := range pairs {
		for side, g := range []group{p.a, p.b} {
			for _, f := range g.folders {
				if all[side]++; !f.Run.Validity.Valid {
					invalid[side]++
				}
			}
		}
	}
	if v != NotEnough || invalid[0]+invalid[1] == 0 {
		return ""
	}
	return fmt.Sprintf("; INVALID are %d of %d runs of A and %d of %d of B, and no figure of their cases decides", invalid[0], all[0], invalid[1], all[1])
}

// programs names two of a side that is not one program, and the repeat that shows it; "": it is
// one. A record that has no version shows nothing.
func (g group) programs() string {
	first := g.folders[0].Run.Aggregator.Version
	for _, f := range g.folders[1:] {
		if version := f.Run.Aggregator.Version; first != "" && version != "" && version != first {
			return fmt.Sprintf("version %s and version %s (%s)", first, version, f.Dir)
		}
	}
	return ""
}

// maxSyncFactor is how far apart the disk's own sync times may be: the disk is another one then, or
// shared with somebody.
const maxSyncFactor = 2

// syncTime is the median over the repeats; 0: none was measured.
func (g group) syncTime() float64 {
	var took []float64
	for _, f := range g.folders {
		if us := f.Run.Environment.Fdatasync.P50US; us > 0 {
			took = append(took, us)
		}
	}
	if len(took) == 0 {
		return 0
	}
	return median(took)
}

// flags are those that the figures depend on: whether there are profiles is said apart.
func flags(r record.Run) []string {
	return slices.DeleteFunc(slices.Clone(r.Aggregator.Flags), func(flag string) bool { return flag == "-profile-contention" })
}

// streamOf is a run's stream, of a server that was running already without its seed, which is of
// the moment.
func streamOf(r record.Run) string {
	s := r.Stream
	if r.Aggregator.External {
		s.Seed = 0
	}
	return fmt.Sprintf("%+v", s)
}

// loadOf is how a run's events were to be sent.
func loadOf(r record.Run) string {
	text := fmt.Sprintf("%d events a request, %s, compression %s", r.Load.EventsPerRequest, r.Load.Encoding, r.Load.Compression)
	for _, p := range r.Phases {
		text += fmt.Sprintf("; %s at %g/s %s, %d clients, measured %t", p.Name, p.Rate, p.Arrivals, p.Clients, p.Measured)
	}
	return text
}

// heldTo is what the data folder's disk is held to.
func heldTo(d *record.Disk) string {
	if d == nil {
		return "none"
	}
	return fmt.Sprintf("%d MB/s and %d operations/s", d.MBPerS, d.OperationsPerS)
}

// property is something of both sides that must be equal.
type property struct{ name, a, b string }

func differences(a, b record.Run) []property {
	ea, eb := a.Environment, b.Environment
	durability := func(r record.Run) string {
		s := r.Environment.Store
		return fmt.Sprintf("ack=%s, journal_mode=%s, synchronous=%s", r.Aggregator.Ack, s.JournalMode, s.Synchronous)
	}
	// A record of before they were read has neither.
	recorded := func(name, a, b string) property {
		if a == "" || b == "" {
			return property{name: name}
		}
		return property{name, a, b}
	}
	var sa, sb record.Surroundings // of before they were watched: nothing is recorded
	if a.Surroundings != nil && b.Surroundings != nil {
		sa, sb = *a.Surroundings, *b.Surroundings
	}
	return []property{
		recorded("set of cores to run on", ea.Affinity, eb.Affinity),
		recorded("CPU quota", ea.CPUQuota, eb.CPUQuota),
		recorded("aggregator's set of cores", sa.AggregatorAffinity, sb.AggregatorAffinity),
		recorded("aggregator's CPU quota", sa.AggregatorQuota, sb.AggregatorQuota),
		{"processor", ea.CPUModel, eb.CPUModel},
		{"number of cores", fmt.Sprint(ea.Cores), fmt.Sprint(eb.Cores)},
		{"memory", fmt.Sprint(ea.MemoryBytes), fmt.Sprint(eb.MemoryBytes)},
		{"system", ea.OS + " " + ea.Kernel, eb.OS + " " + eb.Kernel},
		{"filesystem", ea.Filesystem, eb.Filesystem},
		{"rate that the disk is held to", heldTo(ea.Disk), heldTo(eb.Disk)},
		{"network", ea.Network.String(), eb.Network.String()},
		{"durability", durability(a), durability(b)},
		{"deduplication", ea.Store.Dedup, eb.Store.Dedup},
		{"layout", ea.Store.Layout, eb.Store.Layout},
		{"page size", fmt.Sprint(ea.Store.PageSize), fmt.Sprint(eb.Store.PageSize)},
		{"list of flags", fmt.Sprint(flags(a)), fmt.Sprint(flags(b))},
		{"stream", streamOf(a), streamOf(b)},
		{"load", loadOf(a), loadOf(b)},
		{"Go version", ea.GoVersion, eb.GoVersion},
	}
}
