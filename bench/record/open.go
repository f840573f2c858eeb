package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrNone is of a folder without any result.
var ErrNone = errors.New("no results")

// NoneError is an ErrNone of runs that were begun, and of which none has left a result.
type NoneError struct {
	Path    string
	LeftOut []LeftOut // what was planned, and why it has no result
}

func (e NoneError) Error() string {
	return fmt.Sprintf("record: %v: no run in %s has left one", ErrNone, e.Path)
}

func (e NoneError) Is(target error) bool { return target == ErrNone }

// Folder is a result folder and what its run.json says.
type Folder struct {
	Dir string // as reached from the path given to Open
	Run Run
	// LeftOut are the runs that were planned under the path given to Open and left no result. It is
	// one list, the same in each of its folders: a run of which nothing is left has no folder.
	LeftOut []LeftOut
	// Interrupted says how far its run had come when it ended early, or that it goes on; "": it is
	// whole, or was opened without its index.
	Interrupted string
}

// Open finds the results under a path: that of a result folder, of a run's folder (with
// index.json), or of a folder of runs. They come in the order in which they ran. A run without any
// result has no folders; where all runs of a folder are so, the error is a NoneError.
func Open(path string) ([]Folder, error) {
	switch {
	case exists(filepath.Join(path, RunFile)):
		return openAll(path, []string{"."})
	case exists(filepath.Join(path, IndexFile)):
		folders, left, err := openRun(path)
		return handOn(folders, left), err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	var all []Folder
	var out []LeftOut
	begun := false
	for _, entry := range entries {
		dir := filepath.Join(path, entry.Name())
		if !entry.IsDir() || !exists(filepath.Join(dir, IndexFile)) {
			continue
		}
		folders, left, err := openRun(dir)
		if err != nil {
			return nil, err
		}
		all, out, begun = append(all, folders...), append(out, left...), true
	}
	if len(all) == 0 && begun {
		return nil, NoneError{path, out}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("record: %w: %s holds neither %s nor %s, nor runs with results", ErrNone, path, RunFile, IndexFile)
	}
	return handOn(all, out), nil
}

// handOn has each folder say what was left out.
func handOn(folders []Folder, left []LeftOut) []Folder {
	for i := range folders {
		folders[i].LeftOut = left
	}
	return folders
}

func openRun(path string) ([]Folder, []LeftOut, error) {
	index, err := ReadIndex(path)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, entry := range index.Results {
		// The file may come from anywhere; it names folders beside itself and nothing else.
		if entry.Dir != filepath.Base(entry.Dir) || !filepath.IsLocal(entry.Dir) {
			return nil, nil, fmt.Errorf("%s: %q is not the name of a folder beside it", filepath.Join(path, IndexFile), entry.Dir)
		}
		names = append(names, entry.Dir)
	}
	folders, err := openAll(path, names)
	for i := range folders {
		if !index.Whole() && index.Planned > 0 {
			folders[i].Interrupted = fmt.Sprintf("%d of %d runs had ended", index.Ended(), index.Planned)
		}
	}
	return folders, index.LeftOut, err
}

func openAll(path string, names []string) ([]Folder, error) {
	var folders []Folder
	for _, name := range names {
		dir := filepath.Join(path, name)
		run, err := ReadRun(dir)
		if err != nil {
			return nil, err
		}
		folders = append(folders, Folder{Dir: dir, Run: run})
	}
	return folders, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// CheckFiles compares a folder's raw files with the hashes that its run.json has, and names each
// that differs.
func CheckFiles(f Folder) []error {
	now, err := HashFiles(f.Dir)
	if err != nil {
		return []error{err}
	}
	found := map[string]File{}
	for _, file := range now {
		found[file.Name] = file
	}
	var differ []error
	for _, want := range f.Run.Files {
		if got, ok := found[want.Name]; !ok {
			differ = append(differ, fmt.Errorf("%s: missing", filepath.Join(f.Dir, want.Name)))
		} else if got != want {
			differ = append(differ, fmt.Errorf("%s: SHA-256 is %s, in %s it is %s", filepath.Join(f.Dir, want.Name), got.SHA256, RunFile, want.SHA256))
		}
		delete(found, want.Name)
	}
	for _, file := range now {
		if _, unnamed := found[file.Name]; unnamed {
			differ = append(differ, fmt.Errorf("%s: not in %s", filepath.Join(f.Dir, file.Name), RunFile))
		}
	}
	return differ
}
