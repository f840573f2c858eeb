package report

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	faulting "sekali/bench/experiment/faults"
	"sekali/bench/figures"
	"sekali/bench/judge"
	"sekali/bench/pages/terminal"
	"sekali/bench/record"
)

const (
	// faultsDir has the records of `make faults` and what was computed from them, under reference.
	faultsDir = "faults"
	// clusterFaultsDir has those of `make cluster-faults`.
	clusterFaultsDir = "cluster-faults"
	// faultsFile is the table, in either; beside them in reference it is of a run that left no
	// records.
	faultsFile = "faults.json"
)

// readFaults returns the faults of the reference, nil if it has none.
func readFaults(reference string) (*record.Faults, error) {
	f, err := record.ReadFaults(filepath.Join(reference, faultsDir, faultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		f, err = record.ReadFaults(filepath.Join(reference, faultsFile))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &f, err
}

// readClusterFaults returns those of a cluster.
func readClusterFaults(reference string) (*record.Faults, error) {
	f, err := record.ReadFaults(filepath.Join(reference, clusterFaultsDir, faultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &f, err
}

func verifyFaults(reference string) (n int, differences []error) {
	return verifyFaultsIn(filepath.Join(reference, faultsDir))
}

func verifyClusterFaults(reference string) (n int, differences []error) {
	return verifyFaultsIn(filepath.Join(reference, clusterFaultsDir))
}

// verifyFaultsIn holds the table of the faults to their records, and those to their hashes; n is
// how many were recomputed.
func verifyFaultsIn(dir string) (n int, differences []error) {
	committed, err := record.ReadFaults(filepath.Join(dir, faultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, []error{err}
	}
	recomputed := committed
	recomputed.Faults, recomputed.Files = []record.FaultSummary{}, []record.File{}
	if committed.Planned > 0 {
		recomputed.Planned = len(committed.Files)
	}
	for i, file := range committed.Files {
		row, now, place, err := recomputeFault(dir, file.Name)
		if err != nil {
			differences = append(differences, fmt.Errorf("%s: %w", filepath.Join(dir, file.Name), err))
			continue
		}
		if want := (record.Sitting{Number: i + 1, Of: len(committed.Files)}); place != want && committed.Planned > 0 {
			differences = append(differences, fmt.Errorf("%s: is kind %d of %d, not %d of %d: some are absent", filepath.Join(dir, file.Name),
				place.Number, place.Of, want.Number, want.Of))
		}
		recomputed.Faults, recomputed.Files = append(recomputed.Faults, row), append(recomputed.Files, now)
	}
	differences = append(differences, verifyNames(dir, committed.Files)...)
	return len(recomputed.Faults), append(differences, compareJSON(filepath.Join(dir, faultsFile), committed, recomputed)...)
}

// recomputeFault computes a row from its record.
func recomputeFault(dir, name string) (row record.FaultSummary, file record.File, place record.Sitting, err error) {
	if name != filepath.Base(name) || !filepath.IsLocal(name) {
		return row, file, place, fmt.Errorf("%q is not the name of a file beside it", name)
	}
	if file, err = record.HashFile(dir, name); err != nil {
		return row, file, place, err
	}
	left, err := record.ReadFault(filepath.Join(dir, name))
	if err != nil {
		return row, file, place, err
	}
	if left.Sitting != nil {
		place = *left.Sitting
	}
	row, err = figures.Fault(left)
	return row, file, place, err
}

// kindsTried says how many of the kinds there are.
func kindsTried(f *record.Faults, kinds []faulting.Kind) string {
	if f.Planned > 0 {
		return fmt.Sprintf("%d of %d kinds of this sitting", len(f.Faults), f.Planned)
	}
	var absent []string
	for _, kind := range kinds {
		if !slices.ContainsFunc(f.Faults, func(row record.FaultSummary) bool { return row.Fault == kind.Name }) {
			absent = append(absent, kind.Name)
		}
	}
	text := fmt.Sprintf("%d of the %d kinds that there are now", len(kinds)-len(absent), len(kinds))
	if len(absent) > 0 {
		text += "; not tried: " + cell(strings.Join(absent, ", "))
	}
	return text + "; how many were to be tried was not recorded"
}

// verifyNames names the records that no table speaks of.
func verifyNames(dir string, files []record.File) (differences []error) {
	there, err := filepath.Glob(filepath.Join(dir, "*"+record.Extension))
	if err != nil {
		return []error{err}
	}
	for _, path := range there {
		if !slices.ContainsFunc(files, func(f record.File) bool { return f.Name == filepath.Base(path) }) {
			differences = append(differences, fmt.Errorf("%s: no table speaks of it", path))
		}
	}
	return differences
}

// faultTable is one row a fault.
func faultTable(f *record.Faults) string {
	var b strings.Builder
	b.WriteString("| fault | times tried | events acknowledged | lost | stored twice | not as sent | recovered | time to recover, s: median | most | promise | verdict |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n")
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "| %s | – | – | – | – | – | – | – | – | %s | skipped: %s |\n", cell(fault.Fault), fault.Promise, cell(fault.Skipped))
			continue
		}
		median, most := terminal.Recovery(fault)
		held := faultVerdict(fault)
		if fault.Seen != "" {
			held += "; " + cell(fault.Seen)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", cell(fault.Fault), exact(uint64(fault.Times)), exact(uint64(fault.Acknowledged)),
			exact(uint64(fault.Lost)), exact(uint64(fault.Duplicated)), exact(uint64(fault.Unexpected)), exact(uint64(fault.Recovered)), median, most, fault.Promise, held)
	}
	return b.String()
}

// duplicatedNote says of the controls that stored an event twice that they are to: what they inject
// is in the catalogue. It is "" if none did.
func duplicatedNote(f *record.Faults, catalogue []faulting.Kind) string {
	var b strings.Builder
	for _, fault := range f.Faults {
		at := slices.IndexFunc(catalogue, func(k faulting.Kind) bool { return k.Name == fault.Fault })
		if fault.Promise != record.SomethingLost || fault.Duplicated == 0 || at < 0 {
			continue
		}
		fmt.Fprintf(&b, "Stored twice %s: by the control \"%s\", on purpose: %s.\nNothing is promised there; the audit has to see it.\n",
			exact(uint64(fault.Duplicated)), cell(fault.Fault), catalogue[at].Injects)
	}
	return b.String()
}

// faultVerdict is whether the promise was kept, and what was not.
func faultVerdict(fault record.FaultSummary) string {
	if judge.FaultHeld(fault) {
		return "held"
	}
	var broken []string
	for _, what := range fault.Broken {
		broken = append(broken, cell(what))
	}
	return strings.Join(append([]string{"**not held**"}, broken...), "; ")
}

// faultAnswer is the faults in one sentence. What damages the files themselves promises less, and
// is in the tables alone.
func faultAnswer(f *record.Faults) string {
	var kinds, times, acknowledged, lost, duplicated, controls, failed int
	for _, fault := range f.Faults {
		switch {
		case fault.Skipped != "":
		case fault.Promise == record.SomethingLost || fault.Promise == record.MustBeCaught:
			controls++
			if judge.FaultHeld(fault) {
				failed++
			}
		case fault.Promise == record.NothingLost:
			kinds++
			times, acknowledged = times+fault.Times, acknowledged+fault.Acknowledged
			lost, duplicated = lost+fault.Lost, duplicated+fault.Duplicated
		}
	}
	return fmt.Sprintf("%s of %s lost, %s stored twice, in %d kinds tried %s times; %d of %d controls failed, as they must",
		exact(uint64(lost)), exact(uint64(acknowledged)), exact(uint64(duplicated)), kinds, exact(uint64(times)), failed, controls)
}

// faultsShort is one row a promise.
func faultsShort(f *record.Faults) string {
	var b strings.Builder
	b.WriteString("| promise | kinds of fault | times tried | events acknowledged | lost | stored twice | verdict |\n|---|---:|---:|---:|---:|---:|---|\n")
	for _, promise := range []string{record.NothingLost, record.SomethingLost, record.MustBeCaught, record.PrefixOrRefuse} {
		var sum record.FaultSummary
		var kinds int
		var broken []string
		for _, fault := range f.Faults {
			if fault.Promise != promise || fault.Skipped != "" {
				continue
			}
			kinds++
			sum.Times, sum.Acknowledged = sum.Times+fault.Times, sum.Acknowledged+fault.Acknowledged
			sum.Lost, sum.Duplicated = sum.Lost+fault.Lost, sum.Duplicated+fault.Duplicated
			if !judge.FaultHeld(fault) {
				broken = append(broken, cell(fault.Fault))
			}
		}
		if kinds == 0 {
			continue
		}
		verdict := "all held"
		if len(broken) > 0 {
			verdict = "**not held: " + strings.Join(broken, ", ") + "**"
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s |\n", promise, kinds, exact(uint64(sum.Times)), exact(uint64(sum.Acknowledged)),
			exact(uint64(sum.Lost)), exact(uint64(sum.Duplicated)), verdict)
	}
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "| %s | skipped: %s (%s) | | | | | |\n", fault.Promise, cell(fault.Fault), cell(fault.Skipped))
		}
	}
	return b.String()
}
