package figures

import (
	"fmt"
	"slices"
	"strconv"

	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// LeastOthersNS is the shortest time of which it is said what others took: the machine's time is
// counted in ticks of 10 ms a core, and in a third of a second generator and aggregator alone have
// come to a tenth of two cores more than the machine. Where a load is shorter, the lab watches on.
const LeastOthersNS = second

// second is one in nanoseconds.
const second = int64(1e9)

// Summarize computes a run's figures from its raw files and run.json's inputs, and from nothing
// else.
func Summarize(r *record.Raw) (record.Summary, error) {
	var s record.Summary
	countRequests(r, &s)
	if err := times(r, &s); err != nil {
		return s, err
	}
	w := windowOf(r, s)
	s.DrainS = seconds(w.endNS - w.answeredNS)
	throughput(r, &s, w)
	queue(r, &s, w)
	commitGap(r, &s, w)
	little(r, &s)
	costs(r, &s, w)
	surroundings(r, &s, w)
	ceiling(r, &s)
	if err := readers(r, &s); err != nil {
		return s, err
	}
	if err := bare(r, &s); err != nil {
		return s, err
	}
	fault(r, &s)
	if err := deduplication(r, &s); err != nil {
		return s, err
	}
	return s, nil
}

// minRateSamples is how many requests, or commits, a throughput rests on at least. Where the times
// between them scatter by as much as their mean, as at random, a rate of n of them has a standard
// error of 1/√n: 10 % of a hundred, 29 % of a dozen.
const minRateSamples = 100

// throughput divides by the time that was measured. Ten requests of an open loop at 10/s take a
// second, although the last of them is due after nine tenths of it: without the interval behind it
// a server that answers at once would have a higher rate than was sent.
//
// Every event passes a request and a commit. The rate at which they are processed rests on the
// more numerous of the two: a commit of many requests averages over them.
func throughput(r *record.Raw, s *record.Summary, w window) {
	measured, window := max(w.answeredNS, w.dueNS)-w.startNS, max(w.endNS, w.dueNS)-w.startNS
	s.MeasuredS, s.ProcessedS = seconds(measured), seconds(window)
	requests := int64(s.RequestsAcknowledged)
	if requests >= minRateSamples {
		s.ThroughputAcceptedPerS = perSecond(float64(s.AcceptedEvents), measured)
	}
	if max(requests, commits(r)) >= minRateSamples {
		s.ThroughputProcessedPerS = perSecond(processed(r, *s, w), window)
		s.ThroughputStoredPerS = perSecond(uniqueShare(r, w)*float64(s.AcceptedEvents), window)
	}
}

// commits are those of the measured window.
func commits(r *record.Raw) (n int64) {
	for _, w := range r.Histograms.Windows {
		n += counted(w.End.CommitUS) - counted(w.Start.CommitUS)
	}
	return n
}

// countRequests counts what the ledger holds of the measured phases.
func countRequests(r *record.Raw, s *record.Summary) {
	s.ErrorsByCause = map[string]uint64{}
	for _, q := range r.Measured() {
		s.RequestsPlanned++
		if q.Attempts == 0 {
			continue
		}
		s.RequestsSent++
		s.Retries += uint64(q.Attempts - 1)
		switch q.Outcome {
		case ledger.Acknowledged:
			s.RequestsAcknowledged++
			s.AcceptedEvents += uint64(q.Answer.Accepted)
			s.RejectedEvents += uint64(q.Answer.Rejected)
		case ledger.Refused:
			s.RequestsRefused++
		case ledger.Unknown:
			s.RequestsUnknown++
		}
	}
	for _, a := range r.Attempts {
		if a.Attempt > 0 && a.Outcome() != ledger.Acknowledged && r.Run.Phases[a.Phase].Measured {
			s.ErrorsByCause[strconv.Itoa(a.Status)+" "+a.Cause]++
		}
	}
}

// times fills the distributions.
func times(r *record.Raw, s *record.Summary) error {
	service, response, lag, processing, held := newHistogram(), newHistogram(), newHistogram(), newHistogram(), newHistogram()
	for _, q := range r.Measured() {
		if q.Attempts > 0 {
			// Sent before it was due is on time.
			lag.addUS(max(0, q.First.Lag().Microseconds()), 1)
		}
		if q.Outcome == ledger.Acknowledged {
			service.addUS(q.Answer.ServiceTime().Microseconds(), 1)
			response.addUS(q.Answer.ResponseTime().Microseconds(), 1)
		}
	}
	// The events of a transaction are committed at one moment: together they are one sample.
	for _, w := range r.Histograms.Windows {
		processing.addWindow(w.Start.ProcessingLatencyUS, w.End.ProcessingLatencyUS)
		held.addWindow(w.Start.RunsHeldUS, w.End.RunsHeldUS)
	}
	for _, d := range []struct {
		name    string
		from    *histogram
		samples int64
		to      *record.Percentiles
	}{
		{"service time", service, service.counts.TotalCount(), &s.ServiceTimeMS},
		{"response time", response, response.counts.TotalCount(), &s.ResponseTimeMS},
		{"generator lag", lag, lag.counts.TotalCount(), &s.GeneratorLagMS},
		{"processing latency", processing, min(commits(r), processing.counts.TotalCount()), &s.ProcessingLatencyMS},
		{"wait for the runs", held, held.counts.TotalCount(), &s.RunsHeldMS},
	} {
		var err error
		if *d.to, err = d.from.milliseconds(d.samples); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

// counted is how many values a histogram of the aggregator has.
func counted(buckets [][2]int64) int64 {
	var n int64
	for _, b := range buckets {
		n += b[1]
	}
	return n
}

// window is the time that a summary's rates are divided by, in nanoseconds since the attack's
// start.
type window struct {
	startNS    int64 // first planned request of the measured phases
	answeredNS int64 // their last answer
	endNS      int64 // what they had accepted is committed; not before answeredNS
	dueNS      int64 // end of the schedule of those that are open loops, an interval after the last request; 0: none is

	before uint64 // events accepted by answers before startNS
	within uint64 // events accepted by answers up to answeredNS
}

// windowOf finds the moment at which the measured events were committed. Events leave the queue in
// the order in which they came, so it is when as many were committed as had been accepted. The
// trace shows that at its next sample; the longest processing latency bounds it from above, and
// more closely where little was sent.
func windowOf(r *record.Raw, s record.Summary) window {
	measured := r.Measured()
	w := window{startNS: measured[0].First.PlannedNS}
	for _, p := range r.Run.Phases {
		if p.Measured && p.Rate > 0 {
			w.startNS = min(w.startNS, p.StartNS) // at random moments the first request comes later
			w.dueNS = max(w.dueNS, p.StartNS+int64(float64(p.Planned)/p.Rate*float64(second)))
		}
	}
	for _, q := range measured {
		w.startNS = min(w.startNS, q.First.PlannedNS)
		if q.Outcome == ledger.Acknowledged {
			w.answeredNS = max(w.answeredNS, q.Answer.DoneNS)
		}
	}
	if s.RequestsAcknowledged == 0 {
		for _, p := range r.Run.Phases {
			if p.Measured {
				w.answeredNS = max(w.answeredNS, p.EndNS)
			}
		}
	}
	for _, q := range r.Requests {
		if q.Outcome != ledger.Acknowledged {
			continue
		}
		if q.Answer.DoneNS < w.startNS {
			w.before += uint64(q.Answer.Accepted)
		}
		if q.Answer.DoneNS <= w.answeredNS {
			w.within += uint64(q.Answer.Accepted)
		}
	}
	w.endNS = committedNS(r, w.within)
	// Of a cluster, what other nodes have acknowledged comes later to the one that is measured.
	if latest := s.ProcessingLatencyMS.Max; latest != nil && r.Run.Fault == nil && r.Run.Cluster == nil {
		w.endNS = min(w.endNS, w.answeredNS+int64(*latest*1e6))
	}
	w.endNS = max(w.endNS, w.answeredNS)
	return w
}

// EndedTooEarlyNS is how long after the window's end, as the processing latencies have it, the
// trace still shows less committed than the window had accepted; 0: it does not.
func EndedTooEarlyNS(r *record.Raw, s record.Summary) (late int64) {
	answered := r.Answered()
	if r.Run.Fault != nil || len(answered) == 0 || len(r.Measured()) == 0 {
		return 0
	}
	w := windowOf(r, s)
	fewer := func(sample record.Sample) bool { return grown(answered[0].Committed(), sample.Committed()) < w.within }
	if fewer(answered[len(answered)-1]) {
		return 0 // something is missing, which is another matter
	}
	for _, sample := range answered {
		if fewer(sample) {
			late = max(late, sample.TNS-w.endNS)
		}
	}
	return late
}

// processed is how many of the accepted events were committed in the window: all, but for what a
// kill at ack=memory took from the queue.
func processed(r *record.Raw, s record.Summary, w window) float64 {
	accepted, answered := float64(s.AcceptedEvents), r.Answered()
	if r.Run.Fault == nil || r.Run.Aggregator.Ack != "memory" || len(answered) == 0 {
		return accepted
	}
	committed := newCurve(answered, func(s record.Sample) float64 { return float64(grown(answered[0].Committed(), s.Committed())) })
	return min(accepted, committed.at(w.endNS)-float64(w.before))
}

// committedNS is when the trace first shows that so many events were committed; where it never does
// (a kill at ack=memory loses some), when the queue was empty.
func committedNS(r *record.Raw, events uint64) int64 {
	answered := r.Answered()
	for _, sample := range answered {
		if grown(answered[0].Committed(), sample.Committed()) >= events {
			return sample.AnsweredNS
		}
	}
	if r.Run.DrainedNS > 0 || len(answered) == 0 {
		return r.Run.DrainedNS
	}
	return answered[len(answered)-1].AnsweredNS
}

func queue(r *record.Raw, s *record.Summary, w window) {
	depth := newCurve(r.Answered(), func(s record.Sample) float64 { return float64(s.QueueDepth) })
	for _, sample := range r.Answered() {
		if sample.TNS >= w.startNS && sample.TNS <= w.endNS {
			s.QueueDepthMax = max(s.QueueDepthMax, sample.QueueDepth)
		}
	}
	if w.endNS > w.startNS {
		s.QueueDepthMean = round(depth.area(w.startNS, w.endNS) / float64(w.endNS-w.startNS))
	}
}

// commitGap finds the longest stretch of samples in which events waited and none was committed, up
// to the sample that shows the next commit.
func commitGap(r *record.Raw, s *record.Summary, w window) {
	if r.Run.Fault != nil {
		return // time without a process is not the writer's
	}
	answered := r.Answered()
	from, longest := -1, int64(0) // from: where the stretch begins; -1: not in one
	for i, sample := range answered {
		if from >= 0 && sample.Committed() != answered[from].Committed() {
			if i > from+1 {
				longest = max(longest, sample.AnsweredNS-answered[from].AnsweredNS)
			}
			from = -1
		}
		if sample.QueueDepth == 0 || sample.TNS < w.startNS || sample.TNS > w.endNS {
			from = -1
		} else if from < 0 {
			from = i
		}
	}
	if longest > 0 {
		s.CommitGapMSMax = figure(float64(longest) / 1e6)
	}
}

// costs divides what the two processes used in the window by what was stored in it.
func costs(r *record.Raw, s *record.Summary, w window) {
	answered := r.Answered()
	most := int64(0)
	for _, sample := range r.Trace {
		most = max(most, sample.ServerRSSBytes)
	}
	if most > 0 { // else the process is not ours, and nothing is known
		s.ServerRSSBytesMax = &most
	}
	if around := r.Run.Surroundings; around != nil {
		s.PageCacheBytes = around.PageCacheBytes
	}
	unique := func(s record.Sample) float64 { return float64(s.UniqueProcessed) }
	used := func(field func(record.Sample) float64) float64 {
		c := newCurve(answered, field).rising()
		return c.at(w.endNS) - c.at(w.startNS)
	}
	stored := used(unique)
	per := func(total, scale float64) *float64 {
		if stored <= 0 {
			return nil
		}
		return figure(total / stored * scale)
	}
	cores := r.Run.Environment.Cores
	share := func(cpuNS float64) *float64 {
		if cores == 0 || w.endNS <= w.startNS {
			return nil
		}
		return figure(cpuNS / float64(w.endNS-w.startNS) / float64(cores))
	}
	generatorCPU := used(func(s record.Sample) float64 { return float64(s.GeneratorCPUNS) })
	s.GeneratorCPUUSPerStored, s.GeneratorCPUShare = per(generatorCPU, 1e-3), share(generatorCPU)
	s.SyncsPer1000Stored = per(used(func(s record.Sample) float64 { return float64(s.Commits) })+
		used(func(s record.Sample) float64 { return float64(s.JournalSyncs) }), 1000)
	s.AllocatedBytesPerStored = per(used(func(s record.Sample) float64 { return float64(s.AllocatedBytes) }), 1)
	onTmpfs := r.Run.Environment.Filesystem == "tmpfs"
	if !slices.ContainsFunc(answered, func(s record.Sample) bool { return s.GeneratorAllocatedBytes == 0 }) {
		s.GeneratorAllocatedBytesPerStored = per(used(func(s record.Sample) float64 { return float64(s.GeneratorAllocatedBytes) }), 1)
		if !onTmpfs {
			s.GeneratorBytesWrittenPerStored = per(used(func(s record.Sample) float64 { return float64(s.GeneratorWriteBytes) }), 1)
		}
	}
	if r.Run.Aggregator.External {
		return
	}
	serverCPU := used(func(s record.Sample) float64 { return float64(s.ServerCPUNS) })
	s.ServerCPUUSPerStored, s.ServerCPUShare = per(serverCPU, 1e-3), share(serverCPU)
	if !onTmpfs {
		s.BytesWrittenPerStored = per(used(func(s record.Sample) float64 { return float64(s.ServerWriteBytes) }), 1)
	}
}

// uniqueShare is how much of what the window accepted was stored as new, by the aggregator's
// counters: from the commit that finished what came before to the one that finished the window.
// Requests of a phase after the measured ones may have been answered in between; they count in it,
// and the share is what they have in common.
func uniqueShare(r *record.Raw, w window) float64 {
	answered := r.Answered()
	if len(answered) == 0 || w.within == w.before {
		return 0
	}
	base := answered[0]
	var stored curve
	for _, s := range answered {
		stored.x = append(stored.x, int64(grown(base.Committed(), s.Committed())))
		stored.y = append(stored.y, float64(grown(base.UniqueProcessed, s.UniqueProcessed)))
	}
	return (stored.at(int64(w.within)) - stored.at(int64(w.before))) / float64(w.within-w.before)
}

// ceiling sets the rate of the measured phases beside the generator's own.
func ceiling(r *record.Raw, s *record.Summary) {
	g := r.Run.Generator
	if g.CeilingRequests == 0 || g.CeilingNS <= 0 {
		return
	}
	ceiling := float64(g.CeilingRequests) / (float64(g.CeilingNS) / float64(second))
	rate := 0.
	closed := true
	for _, p := range r.Run.Phases {
		if p.Measured && p.Rate > 0 {
			rate, closed = max(rate, p.Rate), false
		}
	}
	if closed && s.MeasuredS > 0 {
		rate = float64(s.RequestsAcknowledged) / s.MeasuredS
	}
	s.GeneratorCeilingRequestsPerS = figure(ceiling)
	s.GeneratorCeilingEventsPerS = figure(ceiling * float64(r.Run.Load.EventsPerRequest))
	s.GeneratorCeilingShare = figure(rate / ceiling)
}

func fault(r *record.Raw, s *record.Summary) {
	f := r.Run.Fault
	if f == nil || f.ReadyNS == 0 {
		return
	}
	if j := f.Join; j != nil {
		s.JoinS, s.JoinLevelS = figure(seconds(j.JoinedNS-j.BeganNS)), figure(seconds(j.LevelNS-j.BeganNS))
		s.JoinBehind, s.JoinLagSMax = figure(float64(j.Behind)), figure(j.LagSMax)
	}
	if r.Run.Cluster != nil {
		s.UnansweredS = unanswered(r, f.AtNS)
	}
	unready := func(s record.Sample) bool { return !s.Ready && s.TNS >= f.AtNS && s.TNS <= f.ReadyNS }
	if f.ExitedNS == 0 && !slices.ContainsFunc(r.Trace, unready) {
		return // a disk that is slow, or a network that was cut elsewhere, and an aggregator that went on
	}
	s.UnavailableS = figure(seconds(f.ReadyNS - f.AtNS))
	s.ReadyAfterS = figure(seconds(f.ReadyNS - f.RestartedNS))
}

// unanswered is the longest time without an acknowledgement, from a moment until the load's end.
func unanswered(r *record.Raw, from int64) *float64 {
	var done []int64
	for _, a := range r.Attempts {
		if a.DoneNS >= from && a.Outcome() == ledger.Acknowledged {
			done = append(done, a.DoneNS)
		}
	}
	slices.Sort(done)
	longest := int64(0)
	for _, at := range done {
		longest, from = max(longest, at-from), at
	}
	for _, p := range r.Run.Phases {
		longest = max(longest, p.EndNS-from)
	}
	return figure(seconds(longest))
}

// deduplication sets the aggregator's own counters beside what the stream says about the
// acknowledged events.
func deduplication(r *record.Raw, s *record.Summary) error {
	if answered := r.Answered(); len(answered) > 0 {
		first, last := answered[0], answered[len(answered)-1]
		s.StoredEvents = grown(first.UniqueProcessed, last.UniqueProcessed)
		s.DuplicateEvents = grown(first.DuplicateDropped, last.DuplicateDropped)
	}
	if processed := s.StoredEvents + s.DuplicateEvents; processed > 0 {
		s.DeduplicationRate = figure(float64(s.DuplicateEvents) / float64(processed))
	}
	events, err := stream.New(r.Run.Stream)
	if err != nil {
		return err
	}
	perRequest := uint64(r.Run.Load.EventsPerRequest)
	seen := make([]bool, events.Originals(uint64(len(r.Requests))*perRequest))
	var acknowledged, repeats uint64
	for number, q := range r.Requests {
		if q.Outcome != ledger.Acknowledged {
			continue
		}
		for n := uint64(number) * perRequest; n < uint64(number+1)*perRequest; n++ {
			original := events.Original(n)
			if seen[original] {
				repeats++
			}
			seen[original] = true
			acknowledged++
		}
	}
	if acknowledged > 0 {
		s.DeduplicationRateExpected = figure(float64(repeats) / float64(acknowledged))
	}
	return nil
}

// grown is the growth of a counter that must not fall; where it does, Validate says so and the
// growth is nothing.
func grown(from, to uint64) uint64 { return max(from, to) - from }

func seconds(ns int64) float64 { return round(float64(ns) / float64(second)) }

func perSecond(events float64, ns int64) *float64 {
	if ns <= 0 {
		return nil
	}
	return figure(events / (float64(ns) / float64(second)))
}
