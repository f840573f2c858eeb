package resulttest

import (
	"cmp"
	"maps"
	"os"
	"slices"

	"sekali/bench/record"
)

// byTime returns the numbers of the requests in the order in which they were accepted.
func byTime(accepted []int64) []uint64 {
	order := make([]uint64, len(accepted))
	for i := range order {
		order[i] = uint64(i)
	}
	slices.SortStableFunc(order, func(a, b uint64) int { return cmp.Compare(accepted[a], accepted[b]) })
	return order
}

func (s *simulation) writeTrace(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	w := record.NewTraceWriter(file)
	accepted := slices.Clone(s.accepted)
	slices.Sort(accepted)
	seen := map[uint64]bool{}
	var row record.Sample
	commits := s.commits
	for next := -2 * sampleEveryNS; next <= s.endNS+4*sampleEveryNS; next += sampleEveryNS {
		// A sampler in step with requests or transactions would always see the same moment of them.
		t := next + s.random.Int64N(sampleEveryNS)
		for len(commits) > 0 && commits[0].atNS <= t {
			row.Commits++
			row.JournalSyncs += 4
			for _, n := range commits[0].events {
				if original := s.stream.Original(n); seen[original] {
					row.DuplicateDropped++
				} else {
					seen[original] = true
					row.UniqueProcessed++
				}
			}
			commits = commits[1:]
		}
		if err := w.Write(s.sample(row, t, accepted)); err != nil {
			return err
		}
	}
	return w.Close()
}

func (s *simulation) sample(row record.Sample, t int64, accepted []int64) record.Sample {
	row.TNS, row.Phase = t, -1
	for i, p := range s.phases {
		if t >= p.StartNS && t < p.EndNS {
			row.Phase = i
		}
	}
	row.GeneratorCPUNS = int64(row.Committed()) * 4000
	row.ServerCPUNS = int64(row.Committed()) * 12000
	row.ServerRSSBytes = 40<<20 + int64(row.UniqueProcessed)*20
	if s.down(t) {
		return record.Sample{TNS: t, Phase: row.Phase, GeneratorCPUNS: row.GeneratorCPUNS, ServerCPUNS: row.ServerCPUNS}
	}
	row.AnsweredNS, row.Ready = t+ms/2, true
	arrived, _ := slices.BinarySearch(accepted, t+1)
	row.Received = uint64(arrived) * eventsPerRequest
	if t >= s.killNS {
		row.Received -= uint64(len(s.lost))
	}
	row.QueueDepth = row.Received - row.Committed()
	row.QueueBytes = int64(row.QueueDepth) * 300
	row.ServerWriteBytes = int64(row.UniqueProcessed) * 900
	row.AllocatedBytes = int64(row.Committed()) * 700
	row.GeneratorAllocatedBytes = 1 + int64(row.Committed())*300
	row.GeneratorWriteBytes = int64(row.Committed()) * 8
	return row
}

func (s *simulation) histograms() record.Histograms {
	var h record.Histograms
	latencies, sizes, commits := map[int64]int64{}, map[int64]int64{}, map[int64]int64{}
	snapshot := func() record.Snapshot {
		return record.Snapshot{ProcessingLatencyUS: buckets(latencies), CommitUS: buckets(commits), BatchEvents: buckets(sizes)}
	}
	begin := func(at int64) {
		clear(latencies)
		clear(sizes)
		clear(commits)
		h.Windows = append(h.Windows, record.HistogramWindow{StartNS: at, Start: snapshot()})
	}
	end := func(at int64) {
		last := &h.Windows[len(h.Windows)-1]
		last.EndNS, last.End = at, snapshot()
	}
	begin(0)
	for _, c := range s.commits {
		if s.m.Kill > 0 && c.atNS >= s.readyNS && len(h.Windows) == 1 {
			end(s.killNS)
			begin(s.readyNS)
		}
		for _, accepted := range c.acceptedNS {
			latencies[max(1, (c.atNS-accepted)/1000)]++
		}
		sizes[int64(len(c.events))]++
		commits[commitEveryNS/2/1000]++
	}
	end(s.endNS)
	return h
}

func buckets(counts map[int64]int64) [][2]int64 {
	pairs := [][2]int64{}
	for _, value := range slices.Sorted(maps.Keys(counts)) {
		pairs = append(pairs, [2]int64{value, counts[value]})
	}
	return pairs
}
