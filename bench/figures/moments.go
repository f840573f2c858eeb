package figures

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
)

// moments hold what stands in run.json alone to the ledger and to the trace, of which there are
// hashes: when phases began and ended, when the queue was empty, what was done to the aggregator.
func moments(r *record.Raw) error {
	return errors.Join(phasesByLedger("", r.Run.Phases, r.Attempts), yardstickByLedger(r), drainedByTrace(r), faultInOrder(r.Run),
		faultByLedger(r), faultByTrace(r), joinByTrace(r), stallsByTrace(r), processByTrace(r))
}

// phasesByLedger holds the end of each phase to its last answer, and its start to what lies around
// it: its first request is due then or later, and a phase without a rate, as well as the one behind
// it, waits for all answers before it.
func phasesByLedger(whose string, phases []record.PhaseTimes, attempts []ledger.Attempt) error {
	firsts, ends := make([]int64, len(phases)), make([]int64, len(phases))
	for i := range firsts {
		firsts[i] = math.MaxInt64
	}
	for _, a := range attempts {
		firsts[a.Phase], ends[a.Phase] = min(firsts[a.Phase], a.PlannedNS), max(ends[a.Phase], a.DoneNS)
	}
	earliest := int64(0)
	for i, p := range phases {
		if i > 0 && (p.Rate == 0 || phases[i-1].Rate == 0) {
			earliest = slices.Max(ends[:i])
		}
		switch {
		case p.EndNS != ends[i]:
			return fmt.Errorf("%sphase %s ended after %s, and by the ledger after %s", whose, p.Name, inSeconds(p.EndNS), inSeconds(ends[i]))
		case p.StartNS < earliest || p.StartNS > firsts[i]:
			return fmt.Errorf("%sphase %s began after %s, and by the ledger between %s and %s", whose, p.Name,
				inSeconds(p.StartNS), inSeconds(earliest), inSeconds(firsts[i]))
		}
	}
	return nil
}

// yardstickByLedger does the same with the load of the yardstick, and holds its phases to those of
// the run.
func yardstickByLedger(r *record.Raw) error {
	y := r.Run.Yardstick
	if y == nil {
		return nil
	}
	if len(y.Phases) != len(r.Run.Phases) {
		return fmt.Errorf("the yardstick had %d phases, and the aggregator %d", len(y.Phases), len(r.Run.Phases))
	}
	sent := make([]map[uint64]bool, len(y.Phases))
	for i := range sent {
		sent[i] = map[uint64]bool{}
	}
	for _, a := range r.Yardstick {
		if a.Phase < 0 || a.Phase >= len(sent) {
			return fmt.Errorf("the yardstick's ledger: request %d is of phase %d of %d", a.Request, a.Phase, len(sent))
		}
		sent[a.Phase][a.Request] = true
	}
	for i, p := range y.Phases {
		if p.Planned != uint64(len(sent[i])) {
			return fmt.Errorf("the yardstick's phase %s has %d requests, and by its ledger %d", p.Name, p.Planned, len(sent[i]))
		}
		like := r.Run.Phases[i]
		like.StartNS, like.EndNS, like.Planned = p.StartNS, p.EndNS, p.Planned
		if p != like {
			return fmt.Errorf("the yardstick's phase %s is %+v, and the aggregator's %+v", p.Name, p, r.Run.Phases[i])
		}
	}
	return phasesByLedger("the yardstick's ", y.Phases, r.Yardstick)
}

// drainedByTrace: a sample behind the last answer has shown that the queue is empty by then, and
// the last sample was taken afterwards.
func drainedByTrace(r *record.Raw) error {
	answered := r.Answered()
	if r.Run.DrainedNS == 0 || len(answered) == 0 { // the validity says so
		return nil
	}
	end := int64(0)
	for _, a := range r.Attempts {
		end = max(end, a.DoneNS)
	}
	last := r.Trace[len(r.Trace)-1].TNS
	at := slices.IndexFunc(answered, func(s record.Sample) bool { return s.TNS >= end && s.QueueDepth == 0 })
	if at < 0 || r.Run.DrainedNS < answered[at].AnsweredNS || r.Run.DrainedNS > last {
		earliest := last
		if at >= 0 {
			earliest = answered[at].AnsweredNS
		}
		return fmt.Errorf("the queue was empty after %s, and by the trace between %s and %s", inSeconds(r.Run.DrainedNS), inSeconds(earliest), inSeconds(last))
	}
	return nil
}

// faultInOrder: no moment of a fault lies before the one that it follows.
func faultInOrder(run record.Run) error {
	f := run.Fault
	if f == nil {
		return nil
	}
	in := []int64{0, f.AtNS}
	if f.ExitedNS > 0 {
		in = append(in, f.ExitedNS)
	}
	if f.Join != nil {
		in = append(in, f.Join.BeganNS, f.Join.JoinedNS)
	}
	in = append(in, f.RestartedNS, f.ReadyNS)
	if f.Join != nil {
		in = append(in, f.Join.LevelNS)
	}
	if run.DrainedNS > 0 {
		in = append(in, run.DrainedNS)
	}
	if !slices.IsSorted(in) {
		return fmt.Errorf("fault: its moments do not follow each other: %+v", *f)
	}
	return nil
}

// ended is the fault that ended the only aggregator there was; nil: there was none.
func ended(run record.Run) *record.FaultTimes {
	if f := run.Fault; f != nil && f.ExitedNS > 0 && run.Cluster == nil {
		return f
	}
	return nil
}

// faultByLedger: while there was no process nobody was answered, and nobody found none before the
// fault, nor when it was ready again.
func faultByLedger(r *record.Raw) error {
	f := ended(r.Run)
	if f == nil {
		return nil
	}
	for _, a := range r.Attempts {
		switch {
		case a.Status != 0 && a.SentNS > f.ExitedNS && a.DoneNS < f.RestartedNS:
			return fmt.Errorf("fault: there was no process from %s to %s, and by the ledger request %d was answered after %s",
				inSeconds(f.ExitedNS), inSeconds(f.RestartedNS), a.Request, inSeconds(a.DoneNS))
		case a.Cause == ledger.CauseConnectionRefused && (a.DoneNS < f.AtNS || a.SentNS > f.ReadyNS):
			return fmt.Errorf("fault: it was from %s to %s, and by the ledger request %d found no process after %s",
				inSeconds(f.AtNS), inSeconds(f.ReadyNS), a.Request, inSeconds(a.DoneNS))
		}
	}
	return nil
}

// faultByTrace: while there was no process no sample was answered, and the first sample after it
// was ready again was. That it was ready is not asked, since a full queue may come at once.
func faultByTrace(r *record.Raw) error {
	f := r.Run.Fault
	if f == nil || f.ReadyNS == 0 {
		return nil
	}
	at := slices.IndexFunc(r.Trace, func(s record.Sample) bool { return s.TNS > f.ReadyNS })
	if at >= 0 && !r.Trace[at].Answered() {
		return fmt.Errorf("fault: ready again after %s, and by the trace not yet after %s", inSeconds(f.ReadyNS), inSeconds(r.Trace[at].TNS))
	}
	if f = ended(r.Run); f == nil {
		return nil
	}
	for _, s := range r.Answered() {
		if s.TNS > f.ExitedNS && s.AnsweredNS < f.RestartedNS {
			return fmt.Errorf("fault: there was no process from %s to %s, and by the trace it answered after %s",
				inSeconds(f.ExitedNS), inSeconds(f.RestartedNS), inSeconds(s.AnsweredNS))
		}
	}
	return nil
}

// joinByTrace holds what was there when a node was made anew to what the trace has around it.
func joinByTrace(r *record.Raw) error {
	if r.Run.Fault == nil || r.Run.Fault.Join == nil {
		return nil
	}
	f, least, most := r.Run.Fault, uint64(0), uint64(math.MaxUint64)
	for _, s := range r.Answered() {
		switch {
		case s.AnsweredNS <= f.ExitedNS:
			least = s.UniqueProcessed
		case s.TNS >= f.Join.BeganNS:
			most = min(most, s.UniqueProcessed)
		}
	}
	if f.Join.Before < least || f.Join.Before > most {
		return fmt.Errorf("join: there were %d events when it began, and by the trace %d to %d", f.Join.Before, least, most)
	}
	return nil
}

// StallNS is how late the generator's beat is at least where that counts as a stall.
const StallNS = int64(100e6)

// stallsByTrace: stalls are a part of all that was late, of which the trace has the sum. A run of
// before surroundings were watched has no sum, and nothing that one could hide.
func stallsByTrace(r *record.Raw) error {
	g := r.Run.Generator
	least := StallNS * int64(g.Stalls) // of all together
	if g.Stalls > 0 {
		least += g.LongestStallNS - StallNS
	}
	if g.Stalls < 0 || (g.Stalls == 0) != (g.LongestStallNS == 0) || g.Stalls > 0 && g.LongestStallNS <= StallNS {
		return fmt.Errorf("generator: %d stalls, and the longest took %s", g.Stalls, inSeconds(g.LongestStallNS))
	}
	if len(r.Trace) == 0 {
		return nil
	}
	last := r.Trace[len(r.Trace)-1]
	switch {
	case r.Run.Surroundings != nil && least > last.StalledNS:
		return fmt.Errorf("generator: %d stalls took %s or more, and by the trace all together %s", g.Stalls, inSeconds(least), inSeconds(last.StalledNS))
	case r.Run.Surroundings == nil && last.StalledNS+last.ThrottledPeriods > 0:
		return errors.New("the trace has what was around the run, and run.json says nothing of it")
	}
	return nil
}

// processByTrace: what a process used is known of our own alone.
func processByTrace(r *record.Raw) error {
	used := slices.ContainsFunc(r.Trace, func(s record.Sample) bool { return s.ServerCPUNS > 0 })
	if r.Run.Aggregator.External && used {
		return errors.New("aggregator: it was running already, and by the trace the lab saw what CPU time it used")
	}
	return nil
}

func inSeconds(ns int64) string { return fmt.Sprintf("%.9f s", float64(ns)/1e9) }
