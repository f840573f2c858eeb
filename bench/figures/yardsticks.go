package figures

import (
	"errors"
	"fmt"
	"slices"

	"github.com/montanaflynn/stats"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// Yardsticks returns y with everything that follows from the rounds computed again. A round that
// stored anything but what was expected is an error: its rate is no rate of that work.
func Yardsticks(y record.Yardsticks) (record.Yardsticks, error) {
	y.Systems = slices.Clone(y.Systems)
	var sekali []record.YardstickRound
	for _, s := range y.Systems {
		if s.ID == record.Sekali {
			sekali = s.Rounds
		}
	}
	made, err := stream.New(y.Stream)
	if err != nil {
		return y, fmt.Errorf("%s: %w", record.YardsticksFile, err)
	}
	for i := range y.Systems {
		if err := yardstick(&y.Systems[i], sekali, made); err != nil {
			return y, fmt.Errorf("%s: %s: %w", record.YardsticksFile, y.Systems[i].ID, err)
		}
	}
	return y, nil
}

func yardstick(s *record.Yardstick, sekali []record.YardstickRound, made *stream.Stream) error {
	if s.Skipped != "" {
		return nil
	}
	if len(s.Rounds) == 0 {
		return errors.New("neither rounds nor a reason why it was skipped")
	}
	var rates, read, ratios, client, server, written, kept []float64
	s.ServerMemoryBytes = nil
	for i, r := range s.Rounds {
		if r.Stored != r.Expected || r.Events <= 0 || r.Seconds <= 0 {
			return fmt.Errorf("round %d: of %d events %d were stored in %v s, and %d were expected", i+1, r.Events, r.Stored, r.Seconds, r.Expected)
		}
		rates = append(rates, eventsPerS(r))
		read = append(read, float64(r.EventsRead)/r.Seconds)
		if i < len(sekali) {
			ratios = append(ratios, eventsPerS(sekali[i])/eventsPerS(r))
		}
		client = append(client, r.ClientCPUS*1e6/float64(r.Events))
		originals := float64(made.Originals(uint64(r.Events)))
		written, kept = append(written, float64(r.BytesWritten)/originals), append(kept, float64(r.BytesKept)/originals)
		if r.ServerCPUS != nil {
			server = append(server, *r.ServerCPUS*1e6/float64(r.Events))
		}
		if m := r.ServerMemoryBytes; m != nil && (s.ServerMemoryBytes == nil || *m > *s.ServerMemoryBytes) {
			s.ServerMemoryBytes = m
		}
	}
	s.EventsPerS, s.EventsReadPerS, s.SekaliRatio = spread(rates), spread(read).Median, spread(ratios)
	s.ClientCPUUSPerEvent, s.ServerCPUUSPerEvent = spread(client).Median, nil
	s.BytesWrittenPerEvent, s.BytesKeptPerEvent = spread(written).Median, spread(kept).Median
	if len(server) > 0 {
		median := spread(server).Median
		s.ServerCPUUSPerEvent = &median
	}
	return nil
}

// spread is zero for no values.
func spread(values []float64) record.Spread {
	if len(values) == 0 {
		return record.Spread{}
	}
	median, _ := stats.Median(values) // fails for no values alone
	return record.Spread{Median: round(median), Min: round(slices.Min(values)), Max: round(slices.Max(values))}
}

func eventsPerS(r record.YardstickRound) float64 { return float64(r.Events) / r.Seconds }
