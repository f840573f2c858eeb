package serve

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sekali/bench/chart"
	"sekali/bench/result"
	"sekali/bench/saturation"
)

const (
	// maxRuns bounds the list, and maxDepth how far below the folder a run is looked for:
	// results/runs/ab-…/a/runs/… is the deepest that this lab writes.
	maxRuns  = 500
	maxDepth = 6
)

// run is a folder with an index.json.
type run struct {
	Path        string // below the handler's folder, with slashes; "." is that folder
	Index       result.Index
	Problem     string // why it cannot be read; "": it can
	Interrupted bool   // ended early: not all of its cases are there
	Curves      []string
	Pages       map[string]bool    // by result folder: it has a report.html; a search's probes have none
	Figures     map[string]figures // by result folder
}

// figures are what the list shows of a result; zero where its run.json cannot be read.
type figures struct{ Rate, P50, P99, Lost, Reason string }

// read takes the figures out of a result's run.json, and why it is INVALID or what did not hold.
func (f *figures) read(dir string) {
	one, err := result.ReadRun(dir)
	if err != nil {
		f.Reason = "not readable"
		return
	}
	ms := func(v *float64) string {
		if v == nil {
			return "–"
		}
		return chart.Number(*v)
	}
	f.Rate = chart.Number(math.Round(one.Summary.ThroughputProcessedPerS))
	f.P50, f.P99 = ms(one.Summary.ResponseTimeMS.P50), ms(one.Summary.ResponseTimeMS.P99)
	if f.Lost = "–"; one.Audit != nil {
		f.Lost = chart.Number(float64(one.Audit.Lost))
	}
	reasons := one.Validity.Reasons
	for _, e := range one.Expectations {
		if !e.Held {
			reasons = append(reasons, e.Name+": expected "+e.Expected+", got "+e.Got)
		}
	}
	f.Reason = strings.Join(reasons, "; ")
}

// there is what the list shows: runs, the newest first, and the files of searches.
type there struct {
	Runs     []run
	More     bool     // there are other runs
	Searches []string // below the handler's folder, with slashes
}

// find finds what there is. A symbolic link is not followed.
func (h *Handler) find() (all there, err error) {
	tree := h.root.FS()
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil && name == "." {
			return err
		}
		if err != nil {
			return nil // a run under way removes its data folders
		}
		if entry.IsDir() {
			if name != "." && strings.HasPrefix(entry.Name(), ".") || strings.Count(name, "/") >= maxDepth {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Name() == result.IndexFile && entry.Type().IsRegular() {
			all.Runs = append(all.Runs, h.read(path.Dir(name)))
		}
		if entry.Name() == saturation.SearchFile && entry.Type().IsRegular() {
			all.Searches = append(all.Searches, name)
		}
		return nil
	})
	if err != nil {
		return there{}, fmt.Errorf("serve: %w", err)
	}
	slices.SortStableFunc(all.Runs, func(a, b run) int { return b.Index.StartedAt.Compare(a.Index.StartedAt) })
	if len(all.Runs) > maxRuns {
		all.Runs, all.More = all.Runs[:maxRuns], true
	}
	return all, nil
}

// read reads the index of a run whose path the walk has found.
func (h *Handler) read(name string) run {
	one := run{Path: name}
	index, err := result.ReadIndex(filepath.Join(h.dir, filepath.FromSlash(name)))
	if err != nil {
		one.Problem = err.Error()
		return one
	}
	for _, entry := range index.Results {
		if !local(entry.Dir) {
			one.Problem = fmt.Sprintf("%q is not the name of a folder beside %s", entry.Dir, result.IndexFile)
			return one
		}
	}
	one.Index, one.Pages, one.Figures = index, map[string]bool{}, map[string]figures{}
	if _, err := fs.Stat(h.root.FS(), path.Join(name, result.InterruptedFile)); err == nil {
		one.Interrupted = true
	}
	for _, entry := range index.Results {
		f := figures{Reason: "not readable"}
		// A link that leads out of the folder is refused by the root.
		if _, err := h.root.Stat(path.Join(name, entry.Dir, result.RunFile)); err == nil {
			f.Reason = ""
			f.read(filepath.Join(h.dir, filepath.FromSlash(name), entry.Dir))
		}
		one.Figures[entry.Dir] = f
		_, err := fs.Stat(h.root.FS(), path.Join(name, entry.Dir, result.PageFile))
		one.Pages[entry.Dir] = err == nil
	}
	curves, err := fs.Glob(h.root.FS(), path.Join(name, "*.svg"))
	for _, curve := range curves {
		one.Curves = append(one.Curves, path.Base(curve))
	}
	if err != nil {
		one.Problem = err.Error()
	}
	return one
}

// local says that a name is that of something beside, and not hidden.
func local(name string) bool {
	return name != "" && name == path.Base(name) && !strings.HasPrefix(name, ".") && filepath.IsLocal(name)
}

// known says whether a path is that of a run or a result of the list; only those are compared.
func (h *Handler) known(name string) (bool, error) {
	all, err := h.find()
	for _, one := range all.Runs {
		if one.Path == name {
			return true, nil
		}
		for _, entry := range one.Index.Results {
			if path.Join(one.Path, entry.Dir) == name {
				return true, nil
			}
		}
	}
	return false, err
}

// Result is the path of one of the run's results.
func (r run) Result(entry result.Entry) string { return path.Join(r.Path, entry.Dir) }

// Label names a result as tables do.
func (run) Label(entry result.Entry) string {
	return result.Scenario{Name: entry.Scenario, Case: entry.Case}.Label()
}

// Name is that of the run's folder; the folder that is shown has none.
func (r run) Name() string {
	if r.Path == "." {
		return r.Index.ID
	}
	return r.Path
}
