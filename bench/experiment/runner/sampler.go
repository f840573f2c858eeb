package runner

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sekali/bench/internal/machine"
	"sekali/bench/record"
	"sekali/bench/system/process"
)

// sampleInterval is how often the trace asks the aggregator, give or take a quarter: a fixed time
// would keep step with a round rate of requests and see the same moment of each.
const sampleInterval = 100 * time.Millisecond

// sampler keeps the queue trace. It holds it in memory: 560 bytes a sample and its topics, so over
// 10 MB for half an hour.
type sampler struct {
	aggregator *aggregator
	usage      func() process.Usage // of the whole system under test
	around     *surroundings
	stalls     *stallWatch
	answered   func(stats) // is handed every answer; nil: nobody

	turn    sync.Mutex // one question at a time, so that samples are in the order of their times
	mu      sync.Mutex
	samples []sample
}

// sample is a row of the trace before the attack's start is known.
type sample struct {
	askedAt    time.Time
	answeredAt time.Time // zero: no answer
	stats      stats
	usage      process.Usage
	generator  int64 // CPU time of this process, ns
	machine    int64 // of all processes on the cores that are watched, ns; 0: not known
	throttled  machine.Throttling
	stalled    int64 // ns in which this process did not run though it should have
	allocated  int64 // bytes that this process has allocated
	written    int64 // bytes that it has handed to the block layer
}

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	random := rand.New(rand.NewPCG(1, 1)) // the same for every run
	next := time.Now()
	for {
		s.take(ctx)
		next = next.Add(sampleInterval*3/4 + time.Duration(random.Int64N(int64(sampleInterval/2))))
		if !sleep(ctx, time.Until(next)) {
			return
		}
	}
}

// take adds one sample.
func (s *sampler) take(ctx context.Context) {
	s.turn.Lock()
	defer s.turn.Unlock()
	now := sample{askedAt: time.Now()}
	if answer, err := s.aggregator.stats(ctx, false); err == nil {
		now.stats, now.answeredAt = answer, time.Now()
		if s.answered != nil {
			s.answered(answer)
		}
	}
	s.keep(now)
}

// drained asks whether nothing waits any more; the answer that says so is a sample too.
func (s *sampler) drained(ctx context.Context) (now stats, empty bool, err error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	asked := time.Now()
	if now, err = s.aggregator.stats(ctx, false); err != nil || now.QueueDepth > 0 {
		return now, false, err
	}
	s.keep(sample{askedAt: asked, answeredAt: time.Now(), stats: now})
	return now, true, nil
}

// keep adds a sample, with what is known of the processes now.
func (s *sampler) keep(now sample) {
	now.usage = s.usage()
	now.generator, now.allocated = ownCPU(), ownAllocated()
	if own, err := process.Own(); err == nil {
		now.written = own.WriteBytes
	}
	now.machine, now.throttled, now.stalled = s.around.busy(), s.around.throttled(s.aggregator.pid()), s.stalls.stalledNS.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, now)
}

// last is the latest sample, or a zero one.
func (s *sampler) last() sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return sample{}
	}
	return s.samples[len(s.samples)-1]
}

// write writes trace.csv.gz, with times since startedAt and the phases that the attack went
// through.
func (s *sampler) write(dir string, startedAt time.Time, phases []record.PhaseTimes) error {
	file, err := os.Create(filepath.Join(dir, record.TraceFile))
	if err != nil {
		return err
	}
	defer file.Close()
	trace := record.NewTraceWriter(file)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, taken := range s.samples {
		if err := trace.Write(taken.row(startedAt, phases)); err != nil {
			return err
		}
	}
	if err := trace.Close(); err != nil {
		return err
	}
	return file.Close()
}

func (s sample) row(startedAt time.Time, phases []record.PhaseTimes) record.Sample {
	row := record.Sample{
		TNS:              int64(s.askedAt.Sub(startedAt)),
		Ready:            s.stats.Ready,
		Received:         s.stats.Received,
		UniqueProcessed:  s.stats.UniqueProcessed,
		DuplicateDropped: s.stats.DuplicateDropped, Failed: s.stats.Failed,
		Rejected:         s.stats.Rejected,
		QueueDepth:       s.stats.QueueDepth,
		QueueBytes:       s.stats.QueueBytes,
		BacklogBytes:     s.stats.BacklogBytes,
		Commits:          s.stats.Commits,
		JournalSyncs:     s.stats.JournalSyncs,
		JournalBytes:     s.stats.JournalBytes,
		AllocatedBytes:   s.stats.AllocatedBytes,
		ServerCPUNS:      s.usage.CPUNS,
		ServerRSSBytes:   s.usage.RSSBytes,
		ServerWriteBytes: s.usage.WriteBytes,
		GeneratorCPUNS:   s.generator,
		MachineCPUNS:     s.machine,

		GeneratorAllocatedBytes: s.allocated,
		GeneratorWriteBytes:     s.written,

		ThrottledPeriods: s.throttled.Periods,
		ThrottledNS:      s.throttled.NS,
		StalledNS:        s.stalled,
	}
	if !s.answeredAt.IsZero() {
		row.AnsweredNS = int64(s.answeredAt.Sub(startedAt))
	}
	row.Phase = phaseAt(phases, row.TNS)
	return row
}

// phaseAt is the phase that had begun last, -1 before the first and after the last one's last
// answer.
func phaseAt(phases []record.PhaseTimes, t int64) int {
	at := -1
	for i, p := range phases {
		if p.Planned > 0 && t >= p.StartNS {
			at = i
		}
	}
	if at >= 0 && at == len(phases)-1 && t > phases[at].EndNS {
		return -1
	}
	return at
}

// ownCPU is the CPU time of this process, which is the generator.
func ownCPU() int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// ownAllocated is what this process has allocated on its heap.
func ownAllocated() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
