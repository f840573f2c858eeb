package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	faulting "sekali/bench/experiment/faults"
	"sekali/bench/pages/profile"
	"sekali/bench/record"
)

// Where things are, from the repository's root on.
const (
	referenceDir = "results/reference"
	picturesDir  = "results/pictures"
	reportFile   = "REPORT.md"
	readmeFile   = "README.md"
)

// The lines between which README.md's headline figures stand.
const (
	headlineBegin = "<!-- headline:begin -->\n"
	headlineEnd   = "<!-- headline:end -->"
)

// Write makes REPORT.md, its pictures and README.md's headline figures from results/reference/
// under root, and returns the names of the files it wrote. Pictures that are no longer of the
// report are removed. First it makes anew what the result folders themselves have that is not raw.
func Write(root string) ([]string, error) {
	if err := refresh(filepath.Join(root, filepath.FromSlash(referenceDir))); err != nil {
		return nil, err
	}
	files, err := render(root)
	if err != nil {
		return nil, err
	}
	if err := removeStale(root, files); err != nil {
		return nil, err
	}
	var written []string
	for _, f := range files {
		target := filepath.Join(root, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return written, fmt.Errorf("report: %w", err)
		}
		if err := os.WriteFile(target, f.text, 0o644); err != nil {
			return written, fmt.Errorf("report: %w", err)
		}
		written = append(written, f.name)
	}
	return written, nil
}

func removeStale(root string, files []file) error {
	stale, err := staleFiles(root, files)
	if err != nil {
		return err
	}
	for _, name := range stale {
		if err := os.Remove(filepath.Join(root, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// staleFiles are pictures and pages that are there and that the report does not have.
func staleFiles(root string, files []file) ([]string, error) {
	var there []string
	for _, pattern := range []string{picturesDir + "/*.svg", pagesDir + "/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		there = append(there, found...)
	}
	wanted := map[string]bool{}
	for _, f := range files {
		wanted[f.name] = true
	}
	var stale []string
	for _, name := range there {
		below, err := filepath.Rel(root, name)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		if name := filepath.ToSlash(below); !wanted[name] {
			stale = append(stale, name)
		}
	}
	return stale, nil
}

// file is something that the reference determines, to the byte.
type file struct {
	name string // from root on, with slashes
	text []byte
}

func render(root string) ([]file, error) {
	s, err := readSet(filepath.Join(root, filepath.FromSlash(referenceDir)))
	if err != nil {
		return nil, err
	}
	files, pictures, err := s.markdown()
	if err != nil {
		return nil, err
	}
	for _, p := range pictures {
		files = append(files, file{p.Path, p.svg})
	}
	readme, err := withHeadline(filepath.Join(root, readmeFile), s)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	return append(files, file{readmeFile, readme}), err
}

// withHeadline is the README with its headline figures made anew.
func withHeadline(name string, s *set) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	head, rest, ok := strings.Cut(string(text), headlineBegin)
	_, tail, closed := strings.Cut(rest, headlineEnd)
	if !ok || !closed {
		return nil, fmt.Errorf("report: %s has no %s and %s", name, strings.TrimSpace(headlineBegin), headlineEnd)
	}
	return []byte(head + headlineBegin + s.answersTable() + headlineEnd + tail), nil
}

//go:embed report.md.tmpl
var markdownText string

var markdownFuncs = template.FuncMap{
	"cell": cell, "number": figureOf, "sentence": sentence, "validity": validity, "exact": exact,
	"join": strings.Join, "megabytes": func(bytes int64) float64 { return float64(bytes) / 1e6 },
	"percent": percent,
}

var markdownTemplate = template.Must(template.New("report").Funcs(markdownFuncs).Parse(markdownText))

// view is what the template sees.
type view struct {
	AnswersTable string
	LevelsTable  string // "": the set has no ack-levels
	Short        []shortSection
	Cluster      *shortSection
	WhyRuns      string
	First        *picture // of the first screen; nil: none
	Every        string
	FaultsShort  string
	AckTable     string // "": the set has no ack-levels
	AckRuns      string
	AckKilled    bool // the table has the losses of the scenario kill
	Sections     []section
	CostTable    string
	Profile      *profile.Table // nil: no result has one
	ProfileOf    string
	Stages       string         // CPU and allocations by stage, a table
	StagesShort  string         // the shares of the largest of them
	Generator    *profile.Table // its CPU; nil: the result has none
	Allocated    string         // by the generator, bytes per stored event
	Flame        picture
	Faults       *record.Faults // nil: none
	FaultTable   string
	FaultNote    string // why controls stored events twice
	KindsTried   string
	OfCluster    *clusterFaults // nil: none
	Soak         *soak          // nil: none
	Beside       *beside        // nil: no yardsticks
	Senders      *senders       // nil: none
	Machines     []machine
	Sittings     sittings
}

// PublishedAnswer and PublishedProcessed are the course report's own figures.
func (view) PublishedAnswer() string    { return publishedAnswer }
func (view) PublishedProcessed() string { return publishedProcessed }

// section is one scenario.
type section struct {
	Name, Question string
	Groups         []*group
	Pictures       []picture
	Growth         string // a table over what is stored; "": not of this scenario
	Table, Audit   string
	Search         *search
	Published      bool // has the course report's own figures beside it
}

// machine is an environment and the runs that had it.
type machine struct {
	record.Environment
	Version string
	Runs    []string // linked
}

// markdown is REPORT.md, the pages that it leads to, and the pictures of both.
func (s *set) markdown() ([]file, []picture, error) {
	v := view{AnswersTable: s.answersTable(), LevelsTable: s.levelsTable(), WhyRuns: s.whyRuns(), Every: s.every(), CostTable: s.costTable(), Machines: s.machines(), Sittings: s.sittings}
	if levels := s.find("ack-levels"); levels != nil {
		v.AckTable, v.AckRuns, v.AckKilled = s.ackTable(levels), runsOf(levels.Cases), s.find("kill") != nil
	}
	if s.faults != nil {
		v.FaultNote = duplicatedNote(s.faults, faulting.Catalogue())
		v.Faults, v.FaultTable, v.FaultsShort, v.KindsTried = s.faults, faultTable(s.faults), faultsShort(s.faults), kindsTried(s.faults, faulting.Catalogue())
	}
	v.OfCluster = clusterFaultsOf(s.cluster)
	var pictures []picture
	if s.soak != nil {
		v.Soak, pictures = s.soak, append(pictures, s.soak.Picture)
	}
	v.Senders = s.senders
	var err error
	if v.Beside, err = besideOthers(s.yardsticks); err != nil {
		return nil, nil, err
	}
	if v.Beside != nil {
		pictures = append(pictures, v.Beside.Picture)
	}
	for _, sc := range s.scenarios {
		drawn, err := sc.pictures()
		if err != nil {
			return nil, nil, err
		}
		pictures = append(pictures, drawn...)
		grown := ""
		if sc.Name == growthScenario {
			grown = growthTable(sc.Cases[0])
		}
		v.Sections = append(v.Sections, section{Name: sc.Name, Growth: grown, Question: sc.Question, Groups: sc.Cases, Pictures: drawn,
			Table: sc.table(), Audit: table(sc.Cases, auditRows), Search: sc.Search, Published: sc.Name == courseReport})
	}
	v.First = firstPicture(pictures)
	v.Short = s.short(v.Sections)
	v.Cluster = s.clusterSection()
	for _, g := range s.groups() {
		for _, r := range slices.Concat(g.Repeats, g.Profiled) {
			for _, t := range r.Profiles {
				if t.Kind == "cpu" && v.Profile == nil {
					v.Profile, v.ProfileOf = &t, (&group{Repeats: []repeat{r}}).Runs()
					v.Stages, v.StagesShort = stageTable(r.Profiles, r.Summary), stagesShort(r.Profiles, r.Summary)
					v.Generator = tableOf(r.Profiles, "generator-cpu")
					v.Allocated = generatorAllocated(r.Profiles, r.Summary)
					v.Flame = picture{Path: path.Join(picturesDir, profile.FlameFile), svg: r.Flame,
						Alt: "Flame graph of the aggregator's CPU time, by stage and function"}
					pictures = append(pictures, v.Flame)
				}
			}
		}
	}
	var text bytes.Buffer
	if err := markdownTemplate.Execute(&text, v); err != nil {
		return nil, nil, fmt.Errorf("report: %w", err)
	}
	pages, err := v.pages()
	return append([]file{{reportFile, text.Bytes()}}, pages...), pictures, err
}

func (s *scenario) table() string {
	own := []row{}
	if s.Name == courseReport {
		own = []row{figureRow("answered, ms", answeredMS), figureRow("all stored, ms", processedMS)}
	}
	if s.Name == steady {
		own = syncRows
	}
	if s.Name == growthScenario {
		own = heldRows
	}
	return table(s.Cases, own, networkRows, throughputRows, processingRows, deduplicationRows, queueRows, serviceRows, responseRows,
		requestRows, readerRows(), bareRows, faultRows, generatorRows)
}

// promises say, for each ack level, what README promises: they are not measured.
var promises = map[string][2]string{
	"memory":  {"in the queue", "a graceful stop"},
	"journal": {"synced in the journal", "SIGKILL, power loss"},
	"store":   {"committed", "SIGKILL, power loss"},
}

func (s *set) ackTable(levels *scenario) string {
	promised := func(i int) func(*group) string {
		return func(g *group) string { return promises[g.first().Run.Aggregator.Ack][i] }
	}
	kill := s.find("kill")
	losses := row{"lost by SIGKILL, of acknowledged", func(g *group) string {
		k := kill.find(g.Case)
		if k == nil {
			return withheld
		}
		return exact(lost(k)) + " of " + exact(acknowledged(k))
	}}
	return table(levels.Cases, []row{{"answered when the events are", promised(0)}, {"promised to survive", promised(1)}, losses},
		serviceRows, responseRows, processingRows, throughputRows, queueRows, costRows)
}

func percent(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) }

// tableOf returns the profile of that kind, nil if there is none.
func tableOf(profiles []profile.Table, kind string) *profile.Table {
	if i := slices.IndexFunc(profiles, func(t profile.Table) bool { return t.Kind == kind }); i >= 0 {
		return &profiles[i]
	}
	return nil
}

// generatorAllocated is what a stored event cost the generator, in bytes: by its profile, which
// samples.
func generatorAllocated(profiles []profile.Table, s record.Summary) string {
	allocs, perS := tableOf(profiles, "generator-allocs"), s.ThroughputStoredPerS
	if allocs == nil || perS == nil || *perS == 0 {
		return withheld
	}
	return figureOf(float64(allocs.Total) / (*perS * s.ProcessedS))
}

// stageTable shares out what a stored event cost.
func stageTable(profiles []profile.Table, summary record.Summary) string {
	var text strings.Builder
	text.WriteString("| stage | CPU | share | µs per stored event | bytes allocated per stored event |\n|---|---:|---:|---:|---:|\n")
	for _, row := range stageRows(profiles, summary) {
		fmt.Fprintf(&text, "| %s | %s | %s | %s | %s |\n", cell(row[0]), row[1], row[2], row[3], row[4])
	}
	return text.String()
}

// stagesShort are the largest stages of a CPU profile, with their shares; "": there is none.
func stagesShort(profiles []profile.Table, summary record.Summary) string {
	const largest = 6
	var parts []string
	for _, row := range stageRows(profiles, summary) {
		if len(parts) < largest {
			parts = append(parts, row[0]+" "+row[2])
		}
	}
	return strings.Join(parts, ", ")
}

// stageRows are the stages of a CPU profile, and those that only allocate: name, time, share, and
// µs and allocated bytes per stored event where they are known. nil: there is no CPU profile.
func stageRows(profiles []profile.Table, summary record.Summary) [][5]string {
	cpu, allocs := tableOf(profiles, "cpu"), tableOf(profiles, "allocs")
	if cpu == nil {
		return nil
	}
	costs := profile.Costs{CPUUS: summary.ServerCPUUSPerStored, AllocatedBytes: summary.AllocatedBytesPerStored}
	allocated := map[string]string{}
	stages := slices.Clone(cpu.Stages)
	if allocs != nil {
		for _, s := range allocs.Stages {
			allocated[s.Name] = costs.PerStored(*allocs, s)
			if !slices.ContainsFunc(stages, func(of profile.Stage) bool { return of.Name == s.Name }) {
				stages = append(stages, profile.Stage{Name: s.Name})
			}
		}
	}
	var rows [][5]string
	for _, s := range stages {
		rows = append(rows, [5]string{s.Name, cpu.Format(s.Value), percent(cpu.Share(s.Value)),
			cmp.Or(costs.PerStored(*cpu, s), withheld), cmp.Or(allocated[s.Name], withheld)})
	}
	return rows
}

func (s *set) costTable() string {
	// What no record has is no column.
	rows := slices.DeleteFunc(slices.Clone(costRows), func(r row) bool {
		return !slices.ContainsFunc(s.groups(), func(g *group) bool { return r.cell(g) != withheld })
	})
	var text strings.Builder
	text.WriteString("| |")
	for _, r := range rows {
		fmt.Fprintf(&text, " %s |", r.name)
	}
	text.WriteString(" run |\n|---|" + strings.Repeat("---:|", len(rows)) + "---|\n")
	for _, g := range s.groups() {
		fmt.Fprintf(&text, "| %s |", cell(g.Label()))
		for _, r := range rows {
			fmt.Fprintf(&text, " %s |", cell(r.cell(g)))
		}
		fmt.Fprintf(&text, " %s |\n", g.Runs())
	}
	return text.String()
}

// machines are the environments, apart from the disk's own latency, which is measured before each
// result.
func (s *set) machines() []machine {
	var all []machine
	for _, g := range s.groups() {
		for _, r := range slices.Concat(g.Repeats, g.Profiled) {
			run := fmt.Sprintf("[%s](%s/)", cell(r.Run.ID), path.Dir(r.Path))
			m := machine{Environment: r.Run.Environment, Version: r.Run.Aggregator.Version, Runs: []string{run}}
			known := false
			for i := range all {
				if all[i].same(m) {
					known = true
					if !slices.Contains(all[i].Runs, run) {
						all[i].Runs = append(all[i].Runs, run)
					}
					all[i].Fdatasync = worse(all[i].Fdatasync, m.Fdatasync)
				}
			}
			if !known {
				all = append(all, m)
			}
		}
	}
	return all
}

func (m machine) same(other machine) bool {
	a, b := m.Environment, other.Environment
	a.Fdatasync, b.Fdatasync = record.Fdatasync{}, record.Fdatasync{}
	a.Network, b.Network = nil, nil // each case's own
	return a == b && m.Version == other.Version
}

// worse is the slower of two probes of one disk.
func worse(a, b record.Fdatasync) record.Fdatasync {
	if b.P50US > a.P50US {
		return b
	}
	return a
}
