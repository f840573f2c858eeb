package report

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"sekali/bench/result"
)

// faultsFile is the table of `make faults`, under reference.
const faultsFile = "faults.json"

// readFaults returns the faults of the reference, nil if it has none.
func readFaults(reference string) (*result.Faults, error) {
	f, err := result.ReadFaults(filepath.Join(reference, faultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &f, err
}

// faultTable is one row a fault.
func faultTable(f *result.Faults) string {
	var b strings.Builder
	b.WriteString("| fault | times | acknowledged | lost | stored twice | not as sent | recovered | time to recover, s: median | most | promise | |\n" +
		"|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|\n")
	for _, fault := range f.Faults {
		if fault.Skipped != "" {
			fmt.Fprintf(&b, "| %s | – | – | – | – | – | – | – | – | %s | skipped: %s |\n", cell(fault.Fault), fault.Promise, cell(fault.Skipped))
			continue
		}
		median, most := fault.Recovery()
		held := "held"
		if !fault.Held() {
			held = "**not held**"
		}
		if fault.Seen != "" {
			held += "; " + cell(fault.Seen)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", cell(fault.Fault), exact(uint64(fault.Times)), exact(uint64(fault.Acknowledged)),
			exact(uint64(fault.Lost)), exact(uint64(fault.Duplicated)), exact(uint64(fault.Unexpected)), exact(uint64(fault.Recovered)), median, most, fault.Promise, held)
	}
	return b.String()
}

// faultAnswer is the faults in one sentence. What damages the files themselves promises less, and is counted apart.
func faultAnswer(f *result.Faults) string {
	var kinds, times, acknowledged, lost, duplicated, controls, seen, damages, held int
	for _, fault := range f.Faults {
		switch {
		case fault.Skipped != "":
		case fault.Promise == result.SomethingLost:
			controls++
			if fault.Lost > 0 {
				seen++
			}
		case fault.Promise == result.PrefixOrRefuse:
			damages++
			if fault.Held() {
				held++
			}
		case fault.Promise == result.NothingLost:
			kinds++
			times += fault.Times
			acknowledged += fault.Acknowledged
			lost += fault.Lost
			duplicated += fault.Duplicated
		}
	}
	return fmt.Sprintf("%d kinds, %s times: lost %s of %s, stored %s twice; %d of %d controls lost something, as they must; "+
		"%d of %d kinds of damaged files left a valid beginning or were refused",
		kinds, exact(uint64(times)), exact(uint64(lost)), exact(uint64(acknowledged)), exact(uint64(duplicated)), seen, controls, held, damages)
}

// faultsShort is one row a promise.
func faultsShort(f *result.Faults) string {
	var b strings.Builder
	b.WriteString("| promise | kinds | times | acknowledged | lost | stored twice | |\n|---|---:|---:|---:|---:|---:|---|\n")
	for _, promise := range []string{result.NothingLost, result.SomethingLost, result.PrefixOrRefuse} {
		var sum result.Fault
		var kinds int
		var broken []string
		for _, fault := range f.Faults {
			if fault.Promise != promise || fault.Skipped != "" {
				continue
			}
			kinds++
			sum.Times, sum.Acknowledged = sum.Times+fault.Times, sum.Acknowledged+fault.Acknowledged
			sum.Lost, sum.Duplicated = sum.Lost+fault.Lost, sum.Duplicated+fault.Duplicated
			if !fault.Held() {
				broken = append(broken, cell(fault.Fault))
			}
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
