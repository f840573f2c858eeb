package profile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/google/pprof/profile"
)

// stageLabel is the label by which the aggregator marks what a goroutine works on.
const stageLabel = "stage"

// The stages of samples without a label.
const (
	CollectorStage = "garbage collector"
	OtherStage     = "other"
)

// Stage is one stage's part of a profile.
type Stage struct {
	Name  string
	Value int64
}

// stages adds up the samples by stage, the largest first.
func stages(p *profile.Profile, value int, stageOf func(*profile.Sample) string) []Stage {
	byName := map[string]int64{}
	for _, sample := range p.Sample {
		byName[stageOf(sample)] += sample.Value[value]
	}
	var all []Stage
	for name, v := range byName {
		all = append(all, Stage{name, v})
	}
	slices.SortFunc(all, func(a, b Stage) int { return cmp.Or(cmp.Compare(b.Value, a.Value), cmp.Compare(a.Name, b.Name)) })
	return all
}

// stageOf is a sample's label. Without one, it is the collector's own goroutines' or of what nobody
// labelled: a collection that a labelled goroutine has to assist is its stage's.
func stageOf(s *profile.Sample) string {
	if names := s.Label[stageLabel]; len(names) > 0 {
		return names[0]
	}
	for _, name := range stack(s) {
		if strings.HasPrefix(name, "runtime.gcBgMarkWorker") || name == "runtime.bgsweep" || name == "runtime.bgscavenge" {
			return CollectorStage
		}
	}
	return OtherStage
}

// allocStages tell the stages of allocations, whose samples carry no labels, by the functions on
// their stack: the first that is there counts.
var allocStages = []struct{ function, stage string }{
	{"sekali/aggregator/dedup.(*Index).work", "runs"},
	{"sekali/aggregator/dedup.", "dedup"},
	{"sekali/aggregator/store.(*runsDedup)", "dedup"},
	{"sekali/aggregator/store.(*tableDedup)", "dedup"},
	{"sekali/aggregator/store.(*blocksLayout)", "events"},
	{"sekali/aggregator/store.(*rowsLayout)", "events"},
	{"sekali/aggregator/pipeline.(*writer).read", "read"},
	{"sekali/aggregator/pipeline.(*writer).checkpoint", "checkpoint"},
	{"sekali/aggregator/pipeline.(*writer).copy", "checkpoint"},
	{"sekali/aggregator/pipeline.(*writer)", "commit"},
	{"sekali/aggregator/journal.", "journal"},
	{"sekali/aggregator/pipeline.(*Pipeline).RunCommitter", "journal"},
	{"sekali/aggregator/event.", "decode"},
	{"sekali/aggregator/api.", "http"},
	{"github.com/valyala/fasthttp.", "http"},
}

func allocStageOf(s *profile.Sample) string {
	names := stack(s)
	for _, a := range allocStages {
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, a.function) }) {
			return a.stage
		}
	}
	return OtherStage
}
