package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"

	"sekali/loadgen/ledger"
)

// Raw is a result folder as it was measured: the raw files, and run.json for the inputs.
type Raw struct {
	Run        Run
	Trace      []Sample
	Histograms Histograms
	Stored     *Stored          // nil: not kept
	Reads      []Read           // beside the load; nil: none
	Yardstick  []ledger.Attempt // of the yardstick's load; nil: none

	Requests []Request // by number, whether sent or not
	Attempts []ledger.Attempt
}

// Request is a request with all its attempts.
type Request struct {
	Planned  bool // the ledger knows it
	Phase    int
	Outcome  ledger.Outcome
	Attempts int
	First    ledger.Attempt // the first attempt; the planned one if it was never sent
	Answer   ledger.Attempt // the attempt that was acknowledged
}

// ReadRaw reads a result folder. It believes the files: Verify of the report compares them with
// their hashes.
func ReadRaw(dir string) (*Raw, error) {
	run, err := ReadRun(dir)
	if err != nil {
		return nil, err
	}
	return ReadRawOf(dir, run)
}

// ReadRawOf reads the raw files of a run whose run.json need not be written yet.
func ReadRawOf(dir string, run Run) (raw *Raw, err error) {
	raw = &Raw{Run: run}
	if raw.Attempts, err = readAll(filepath.Join(dir, RequestsFile), ledger.Read); err != nil {
		return nil, err
	}
	if raw.Trace, err = readAll(filepath.Join(dir, TraceFile), ReadTrace); err != nil {
		return nil, err
	}
	if err := ReadJSON(filepath.Join(dir, HistogramsFile), &raw.Histograms); err != nil {
		return nil, err
	}
	if raw.Stored, err = ReadStored(dir); err != nil {
		return nil, err
	}
	if run.Readers != nil {
		if raw.Reads, err = readAll(filepath.Join(dir, ReadsFile), ReadReads); err != nil {
			return nil, err
		}
	}
	if run.Yardstick != nil {
		if raw.Yardstick, err = readAll(filepath.Join(dir, YardstickFile), ledger.Read); err != nil {
			return nil, err
		}
	}
	if err := raw.fold(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return raw, nil
}

func readAll[T any](path string, read func(io.Reader) iter.Seq2[T, error]) ([]T, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
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

// maxUnwritten bounds the requests of a phase that were planned and have no row in the ledger, as
// where a run was interrupted: run.json may come from anywhere, and each takes memory.
const maxUnwritten = 1 << 20

// fold brings the attempts of each request together, and holds them to the plan.
func (r *Raw) fold() error {
	var planned uint64
	for _, p := range r.Run.Phases {
		if p.Planned > uint64(len(r.Attempts))+maxUnwritten {
			return fmt.Errorf("ledger: phase %s has %d requests planned, and all phases %d rows", p.Name, p.Planned, len(r.Attempts))
		}
		planned += p.Planned
	}
	r.Requests = make([]Request, planned)
	for _, a := range r.Attempts {
		if a.Request >= planned {
			return fmt.Errorf("ledger: request %d of %d planned", a.Request, planned)
		}
		if a.Phase < 0 || a.Phase >= len(r.Run.Phases) {
			return fmt.Errorf("ledger: request %d is of phase %d of %d", a.Request, a.Phase, len(r.Run.Phases))
		}
		r.Requests[a.Request].add(a)
	}
	if len(r.Measured()) == 0 {
		return errors.New("ledger: no request of a measured phase")
	}
	return nil
}

func (q *Request) add(a ledger.Attempt) {
	if !q.Planned || a.Attempt < q.First.Attempt {
		q.First = a
	}
	q.Planned, q.Phase = true, a.Phase
	if a.Attempt == 0 {
		return
	}
	q.Attempts++
	if a.Outcome() == ledger.Acknowledged && (q.Outcome != ledger.Acknowledged || a.DoneNS < q.Answer.DoneNS) {
		q.Answer = a
	}
	q.Outcome = q.Outcome.Then(a.Outcome())
}

// Measured returns the requests of the measured phases, in the order of their numbers.
func (r *Raw) Measured() []Request {
	var measured []Request
	for _, q := range r.Requests {
		if q.Planned && r.Run.Phases[q.Phase].Measured {
			measured = append(measured, q)
		}
	}
	return measured
}

// Answered returns the samples that hold counters; the first one is from before the attack.
func (r *Raw) Answered() []Sample {
	var answered []Sample
	for _, s := range r.Trace {
		if s.Answered() {
			answered = append(answered, s)
		}
	}
	return answered
}
