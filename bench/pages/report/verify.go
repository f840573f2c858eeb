package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"sekali/bench/record"
)

// maxDifferences bounds what Verify prints; the rest is counted.
const maxDifferences = 20

// Verify recomputes everything that follows from results/reference/ under root: it compares the raw
// files with their hashes, each run.json's summary, validity, audit and expectations, bench.txt and
// report.html with the raw files, each index with its folders, and REPORT.md, the pictures and
// README.md's headline figures with what they would be now. It prints the first differences; same
// says that there are none. The error is for what could not be compared at all.
func Verify(root string, w io.Writer) (same bool, err error) {
	recomputed, differences, err := verifyReference(filepath.Join(root, filepath.FromSlash(referenceDir)))
	if err != nil {
		return false, err
	}
	if files, err := render(root); err != nil {
		// What is broken was named above, or is named here.
		differences = append(differences, err)
	} else {
		more, err := verifyFiles(root, files)
		if err != nil {
			return false, err
		}
		differences = append(differences, more...)
	}
	for i, d := range differences {
		if i == maxDifferences {
			fmt.Fprintf(w, "and %d more\n", len(differences)-i)
			break
		}
		fmt.Fprintln(w, d)
	}
	if len(differences) == 0 {
		fmt.Fprintf(w, "%d results recomputed, nothing differs\n", recomputed)
	}
	return len(differences) == 0, nil
}

// verifyReference holds what lies below the reference to its raw files, and counts the results.
func verifyReference(reference string) (recomputed int, differences []error, err error) {
	folders, err := record.Open(reference)
	if err != nil {
		return 0, nil, err
	}
	differences = verifySittings(reference)
	differences = append(differences, verifyFolders(folders)...)
	searches, err := searchFolders(reference)
	if err != nil {
		return 0, nil, err
	}
	recomputed = len(folders)
	for _, dir := range searches {
		n, more := verifySearch(dir)
		recomputed, differences = recomputed+n, append(differences, more...)
	}
	differences = append(differences, verifyYardsticks(reference)...)
	for _, verify := range []func(string) (int, []error){verifyFaults, verifyClusterFaults, verifySoak} {
		n, more := verify(reference)
		recomputed, differences = recomputed+n, append(differences, more...)
	}
	return recomputed, differences, nil
}

// verifyFolders verifies as many folders at a time as there are processors.
func verifyFolders(folders []record.Folder) []error {
	of := make([][]error, len(folders))
	var all sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, f := range folders {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			of[i] = verifyFolder(f)
		})
	}
	all.Wait()
	return slices.Concat(of...)
}

// verifyDerived compares a file with what it would be now, unless that could not be made.
func verifyDerived(name string, recomputed []byte, err error) []error {
	if err != nil {
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	committed, err := os.ReadFile(name)
	if err != nil {
		return []error{fmt.Errorf("report: %w", err)}
	}
	return difference(name, committed, recomputed)
}

// compareJSON compares two values as they would be written.
func compareJSON[T any](name string, committed, recomputed T) []error {
	if reflect.DeepEqual(committed, recomputed) {
		return nil
	}
	a, errA := record.MarshalJSON(committed)
	b, errB := record.MarshalJSON(recomputed)
	if err := errors.Join(errA, errB); err != nil {
		return []error{fmt.Errorf("%s: %w", name, err)}
	}
	return difference(name, a, b)
}

func verifyFiles(root string, files []file) ([]error, error) {
	var differences []error
	for _, f := range files {
		committed, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(f.name)))
		if errors.Is(err, fs.ErrNotExist) {
			differences = append(differences, fmt.Errorf("%s: missing", f.name))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		differences = append(differences, difference(f.name, committed, f.text)...)
	}
	stale, err := staleFiles(root, files)
	for _, name := range stale {
		differences = append(differences, fmt.Errorf("%s: is not of the report", name))
	}
	return differences, err
}

// difference names the first line in which two texts differ.
func difference(name string, committed, recomputed []byte) []error {
	if bytes.Equal(committed, recomputed) {
		return nil
	}
	a, b := strings.Split(string(committed), "\n"), strings.Split(string(recomputed), "\n")
	line := 0
	for line < len(a) && line < len(b) && a[line] == b[line] {
		line++
	}
	at := func(lines []string) string {
		if line < len(lines) {
			return fmt.Sprintf("%.120q", strings.TrimSpace(lines[line]))
		}
		return "nothing more"
	}
	return []error{fmt.Errorf("%s: line %d is %s, recomputed it is %s", name, line+1, at(a), at(b))}
}
