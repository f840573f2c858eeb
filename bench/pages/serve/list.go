package serve

import (
	"fmt"
	"io/fs"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sekali/bench/experiment/ab"
	"sekali/bench/experiment/saturation"
	"sekali/bench/internal/chart"
	"sekali/bench/judge"
	"sekali/bench/record"
)

const (
	// maxRuns bounds the list, and maxDepth how far below the folder a run is looked for:
	// results/runs/ab-…/a/runs/… is the deepest that this lab writes.
	maxRuns  = 500
	maxDepth = 6
)

// failedCase is the verdict on a case that broke an expectation, or came to no result.
const failedCase = "FAILED"

// run is a folder with an index.json.
type run struct {
	Path        string // below the handler's folder, with slashes; "." is that folder
	Started     time.Time
	Commit      string
	Environment string
	Problem     string // why it cannot be read; "": it can
	Interrupted string // that not all of its cases may be there, and how many are; "": it is whole
	Curves      []string
	Rows        []row
}

// row is one result, or a case that came to none.
type row struct {
	Path, Label, Dir           string // of a case without a result, Path is that of the run
	Started                    time.Time
	Commit                     string   // "+" behind it: and changes that were not committed
	Verdict                    string   // VALID, INVALID or FAILED
	Reason                     string   // why not VALID
	None                       bool     // it came to no result
	Rate, P50, P99, Lost       *float64 // nil: not known
	Read                       bool     // its run.json was read
	Page                       bool     // it has a page, or one can be made of its files
	Trace                      bool     // it has a queue trace, for its spark
	scenario, environmentOfRun string
}

// Link is the URL where a row's name leads: its page, or its files.
func (r row) Link() string {
	if r.Page {
		return fileURL(path.Join(r.Path, record.PageFile))
	}
	return fileURL(r.Path) + "/"
}

// Class is how the verdict is coloured.
func (r row) Class() string { return map[bool]string{true: "good", false: "bad"}[r.Verdict == "VALID"] }

// session is a search or a sitting of A and B: many runs that answer one question.
type session struct {
	Path, Kind, Answer string
	Started            time.Time
	Commit             string
	Runs               []run
}

// item is what has a place of its own in the list: a run or a session.
type item struct {
	Run     *run
	Session *session
}

func (i item) started() time.Time {
	if i.Run != nil {
		return i.Run.Started
	}
	return i.Session.Started
}

// there is what the list shows, the newest first.
type there struct {
	Items []item
	More  bool // there are other runs
}

// runs are all runs of the list, those of sessions too.
func (t there) runs() []run {
	var all []run
	for _, i := range t.Items {
		if i.Run != nil {
			all = append(all, *i.Run)
		} else {
			all = append(all, i.Session.Runs...)
		}
	}
	return all
}

// find finds what there is. A symbolic link is not followed. Of the runs that are not shown no file
// is read.
func (h *Handler) find() (there, error) {
	found := &folders{}
	if err := found.look(h.root.FS(), ".", 0); err != nil {
		return there{}, fmt.Errorf("serve: %w", err)
	}
	begun := make(map[string]time.Time, len(found.runs))
	for _, name := range found.runs {
		begun[name] = h.begun(name)
	}
	slices.SortStableFunc(found.runs, func(a, b string) int { return begun[b].Compare(begun[a]) })
	shown := found.runs[:min(len(found.runs), maxRuns)]
	all := h.list(shown, found.sessionsOf(shown))
	all.More = len(shown) < len(found.runs)
	return all, nil
}

// folders are those of runs, and of sessions.
type folders struct{ runs, sessions []string }

// look looks into a folder and below it; what is in a run's own folder is of that run.
func (f *folders) look(tree fs.FS, name string, depth int) error {
	entries, err := fs.ReadDir(tree, name)
	if err != nil && name == "." {
		return err
	}
	has := func(file string) bool { // none if a run under way has removed its data folder
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == file && e.Type().IsRegular() })
	}
	if has(saturation.SearchFile) || has(ab.File) {
		f.sessions = append(f.sessions, name)
	}
	if has(record.IndexFile) {
		f.runs = append(f.runs, name)
		return nil
	}
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") || depth == maxDepth {
			continue
		}
		if err := f.look(tree, path.Join(name, entry.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// sessionsOf leaves out the sessions of which there are runs and none is shown.
func (f *folders) sessionsOf(shown []string) []string {
	return slices.DeleteFunc(f.sessions, func(dir string) bool {
		within := func(run string) bool { return strings.HasPrefix(run, dir+"/") }
		return slices.ContainsFunc(f.runs, within) && !slices.ContainsFunc(shown, within)
	})
}

// begun is when a run began, by the name that the lab gives its folder; of another name, by its
// index.
func (h *Handler) begun(name string) time.Time {
	base := path.Base(name)
	if at, err := time.Parse(record.IDLayout, base[:min(len(base), len(record.IDLayout))]); err == nil {
		return at
	}
	index, err := record.ReadIndex(filepath.Join(h.dir, filepath.FromSlash(name)))
	if err != nil {
		return time.Time{} // what is wrong is said where it is shown
	}
	return index.StartedAt
}

// list reads the runs, and puts those of a session together.
func (h *Handler) list(names, sessions []string) (all there) {
	runs := make([]run, 0, len(names))
	for _, name := range names {
		runs = append(runs, h.read(name))
	}
	slices.SortStableFunc(runs, func(a, b run) int { return b.Started.Compare(a.Started) })
	of := map[string]*session{}
	for _, dir := range sessions {
		of[dir] = h.session(dir)
		all.Items = append(all.Items, item{Session: of[dir]})
	}
	for _, one := range runs {
		dir := slices.IndexFunc(sessions, func(dir string) bool { return dir != "." && strings.HasPrefix(one.Path, dir+"/") })
		if dir < 0 {
			all.Items = append(all.Items, item{Run: &one})
			continue
		}
		s := of[sessions[dir]]
		s.Runs = append(s.Runs, one)
		s.Started, s.Commit = one.Started, one.Commit // in the end, of the first
	}
	slices.SortStableFunc(all.Items, func(a, b item) int { return b.started().Compare(a.started()) })
	return all
}

// session says what a search or a sitting came to.
func (h *Handler) session(dir string) *session {
	s := &session{Path: dir}
	under := filepath.Join(h.dir, filepath.FromSlash(dir))
	if _, err := h.root.Stat(path.Join(dir, ab.File)); err == nil {
		s.Kind = "A and B"
		record, err := ab.Read(under)
		if err != nil {
			s.Answer = err.Error()
			return s
		}
		s.Answer = fmt.Sprintf("%s: %s against %s, %d pairs of %s", record.Verdict, record.B.Given, record.A.Given, record.Pairs, strings.Join(record.Scenarios, ", "))
		if record.Ended != "" {
			s.Answer += "; " + record.Ended
		}
		return s
	}
	s.Kind = "search"
	record, err := saturation.Read(under)
	if err != nil {
		s.Answer = err.Error()
		return s
	}
	s.Answer = record.Objective + ": " + record.Verdict()
	if record.Ended != "" {
		s.Answer += "; ended early: " + record.Ended
	}
	return s
}

// read reads a run whose path the walk has found.
func (h *Handler) read(name string) run {
	one := run{Path: name}
	index, err := record.ReadIndex(filepath.Join(h.dir, filepath.FromSlash(name)))
	if err != nil {
		one.Problem = err.Error()
		return one
	}
	e := index.Environment
	one.Started, one.Commit, one.Environment = index.StartedAt, e.Commit, fmt.Sprintf("%s, %d cores", e.CPUModel, e.Cores)
	if e.Dirty {
		one.Commit += "+"
	}
	for _, entry := range index.Results {
		if !local(entry.Dir) {
			one.Problem = fmt.Sprintf("%q is not the name of a folder beside %s", entry.Dir, record.IndexFile)
			one.Rows = nil
			return one
		}
		one.Rows = append(one.Rows, h.row(one, entry))
	}
	for _, left := range index.LeftOut {
		if left.Failed() {
			why := strings.TrimPrefix(left.Why, record.LeftFailed+": ")
			one.Rows = append(one.Rows, row{Path: name, Label: record.Scenario{Name: left.Scenario, Case: left.Case}.Label(), None: true,
				Started: one.Started, Commit: one.Commit, Verdict: failedCase, Reason: "no result: " + why})
		}
	}
	one.Interrupted = interrupted(index, h.exists(name, record.InterruptedFile))
	curves, err := fs.Glob(h.root.FS(), path.Join(name, "*.svg"))
	for _, curve := range curves {
		one.Curves = append(one.Curves, path.Base(curve))
	}
	if err != nil {
		one.Problem = err.Error()
	}
	return one
}

// interrupted says that a run is not whole. One that was killed could leave no mark, and looks like
// one that goes on.
func interrupted(index record.Index, marked bool) string {
	text := "interrupted"
	switch {
	case marked:
	case index.Whole():
		return ""
	default:
		text += ", or still under way"
	}
	if index.Planned == 0 {
		return text + ": not all of its cases are there"
	}
	return text + fmt.Sprintf(": %d of %d cases", index.Ended(), index.Planned)
}

func (h *Handler) exists(parts ...string) bool {
	_, err := h.root.Stat(path.Join(parts...))
	return err == nil
}

func verdict(held, valid bool) string {
	switch {
	case !held:
		return failedCase
	case !valid:
		return "INVALID"
	}
	return "VALID"
}

// row takes the figures out of a result's run.json, the verdict, which is that of `bench run`, and
// why it is INVALID or what did not hold. Of one that cannot be read there is what the index says.
func (h *Handler) row(of run, entry record.Entry) row {
	r := row{Path: path.Join(of.Path, entry.Dir), Dir: entry.Dir, Started: of.Started, Commit: of.Commit,
		Label: record.Scenario{Name: entry.Scenario, Case: entry.Case}.Label(), scenario: entry.Scenario, environmentOfRun: of.Environment}
	r.Verdict = verdict(entry.Held, entry.Valid)
	r.Page, r.Trace = h.hasPage(r.Path), h.exists(r.Path, record.TraceFile)
	// A link that leads out of the folder is refused by the root.
	if !h.exists(r.Path, record.RunFile) {
		r.Reason = "not readable"
		return r
	}
	one, err := record.ReadRun(filepath.Join(h.dir, filepath.FromSlash(r.Path)))
	if err != nil {
		r.Reason = "not readable"
		return r
	}
	r.Read, r.Verdict = true, verdict(len(judge.Broken(one)) == 0, one.Validity.Valid)
	if rate := one.Summary.ThroughputProcessedPerS; rate != nil {
		rounded := math.Round(*rate)
		r.Rate = &rounded
	}
	r.P50, r.P99 = one.Summary.ResponseTimeMS.P50, one.Summary.ResponseTimeMS.P99
	if one.Audit != nil {
		lost := float64(one.Audit.Lost)
		r.Lost = &lost
	}
	reasons := one.Validity.Texts()
	for _, e := range one.Expectations {
		if !e.Held {
			reasons = append(reasons, e.Name+": expected "+e.Expected+", got "+e.Got)
		}
	}
	r.Reason = strings.Join(reasons, "; ")
	return r
}

// local says that a name is that of something beside, and not hidden.
func local(name string) bool {
	return name != "" && name == path.Base(name) && !strings.HasPrefix(name, ".") && filepath.IsLocal(name)
}

// known says whether a path is that of a run or a result of the list; only those are compared.
func (h *Handler) known(name string) (bool, error) {
	all, err := h.find()
	for _, one := range all.runs() {
		if one.Path == name || slices.ContainsFunc(one.Rows, func(r row) bool { return r.Path == name }) {
			return true, nil
		}
	}
	return false, err
}

// Name is that of the run's folder.
func (r run) Name() string { return folderName(r.Path) }

// Name is that of the session's folder.
func (s session) Name() string { return folderName(s.Path) }

// folderName leaves out what all have; the folder that is shown has no name.
func folderName(name string) string {
	if name == "." {
		return "this run"
	}
	return strings.TrimPrefix(name, "runs/")
}

// number writes a figure, or that there is none.
func number(v *float64) string {
	if v == nil {
		return "–"
	}
	return chart.Number(*v)
}
