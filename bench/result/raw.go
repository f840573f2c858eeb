package result

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"sekali/loadgen/ledger"
)

// Raw is a result folder as it was measured: the raw files, and run.json for the inputs.
type Raw struct {
	Run        Run
	Trace      []Sample
	Histograms Histograms

	requests []request // by number, whether sent or not
	attempts []ledger.Attempt
}

// request is a request with all its attempts.
type request struct {
	planned  bool // the ledger knows it
	phase    int
	outcome  ledger.Outcome
	attempts int
	first    ledger.Attempt // the first attempt; the planned one if it was never sent
	answer   ledger.Attempt // the attempt that was acknowledged
}

// ReadRaw reads a result folder. It believes the files: Verify of the report compares them with
// their hashes.
func ReadRaw(dir string) (*Raw, error) {
	run, err := ReadRun(dir)
	if err != nil {
		return nil, err
	}
	raw := &Raw{Run: run}
	if raw.attempts, err = readAll(filepath.Join(dir, RequestsFile), ledger.Read); err != nil {
		return nil, err
	}
	if raw.Trace, err = readAll(filepath.Join(dir, TraceFile), ReadTrace); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(dir, HistogramsFile), &raw.Histograms); err != nil {
		return nil, err
	}
	if err := raw.fold(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return raw, nil
}

func readAll[T any](path string, read func(io.Reader) iter.Seq2[T, error]) ([]T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	defer file.Close()
	var all []T
	for row, err := range read(bufio.NewReader(file)) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, row)
	}
	return all, nil
}

// fold brings the attempts of each request together, and holds them to the plan.
func (r *Raw) fold() error {
	var planned uint64
	for _, p := range r.Run.Phases {
		planned += p.Planned
	}
	r.requests = make([]request, planned)
	for _, a := range r.attempts {
		if a.Request >= planned {
			return fmt.Errorf("ledger: request %d of %d planned", a.Request, planned)
		}
		if a.Phase < 0 || a.Phase >= len(r.Run.Phases) {
			return fmt.Errorf("ledger: request %d is of phase %d of %d", a.Request, a.Phase, len(r.Run.Phases))
		}
		r.requests[a.Request].add(a)
	}
	if len(r.measured()) == 0 {
		return errors.New("ledger: no request of a measured phase")
	}
	return nil
}

func (q *request) add(a ledger.Attempt) {
	if !q.planned || a.Attempt < q.first.Attempt {
		q.first = a
	}
	q.planned, q.phase = true, a.Phase
	if a.Attempt == 0 {
		return
	}
	q.attempts++
	if a.Outcome() == ledger.Acknowledged && (q.outcome != ledger.Acknowledged || a.DoneNS < q.answer.DoneNS) {
		q.answer = a
	}
	q.outcome = q.outcome.Then(a.Outcome())
}

// measured returns the requests of the measured phases, in the order of their numbers.
func (r *Raw) measured() []request {
	var measured []request
	for _, q := range r.requests {
		if q.planned && r.Run.Phases[q.phase].Measured {
			measured = append(measured, q)
		}
	}
	return measured
}

// Response is an acknowledged request as its publisher saw it.
type Response struct {
	PlannedNS int64   // since the attack's start
	MS        float64 // planned → acknowledged
}

// Responses are those of all phases, in the order in which the requests were planned.
func (r *Raw) Responses() []Response {
	var all []Response
	for _, q := range r.requests {
		if q.outcome == ledger.Acknowledged {
			all = append(all, Response{q.first.PlannedNS, float64(q.answer.ResponseTime()) / 1e6})
		}
	}
	slices.SortStableFunc(all, func(a, b Response) int { return cmp.Compare(a.PlannedNS, b.PlannedNS) })
	return all
}
