// Package recordtest makes records of faults and of a soak that nobody has run, for tests.
package recordtest

import (
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// EventsPerRequest of every trial.
const EventsPerRequest = 20

// Trial is one in which so many requests were acknowledged, the last of them after an attempt
// without an answer, and of whose originals the first lost are absent.
func Trial(requests, lost uint64) record.Trial {
	made := Stream()
	digester := ledger.NewDigester()
	for k := range requests {
		phase := int(k % 2)
		digester.Add(ledger.Attempt{Request: k, Attempt: 1, Phase: phase, Status: 202 - 2*phase, Accepted: EventsPerRequest})
	}
	digester.Add(ledger.Attempt{Request: requests - 1, Attempt: 2, Cause: ledger.CauseEOF})
	digester.Add(ledger.Attempt{Request: requests, Attempt: 1, Status: 503, Cause: "queue_full"})
	originals := made.Originals(requests * EventsPerRequest)
	stored := Stored(made, lost, originals)
	received := requests * EventsPerRequest
	counters := &audit.Counters{Received: received, UniqueProcessed: originals - lost, DuplicateDropped: received - originals + lost}
	return record.Trial{Stream: made.Config(), EventsPerRequest: EventsPerRequest, Levels: []string{"journal", "store"}, Ledger: digester.Digest(),
		Injected: 1, RecoveryMS: []float64{10.5}, Looks: []record.Look{{End: record.Shown, Stored: &stored, Counters: counters}}}
}

// Stream is that of every trial.
func Stream() *stream.Stream {
	made, err := stream.New(stream.Config{Seed: 7, Duplicates: 0.2, PayloadBytes: stream.MinPayloadBytes})
	if err != nil {
		panic(err)
	}
	return made
}

// Stored are the originals from one to before another, as they were sent.
func Stored(made *stream.Stream, from, to uint64) record.Stored {
	all := record.NewCollector(made)
	for n := from; n < to; n++ {
		all.Add(Event(made, n))
	}
	return all.Stored(false)
}

// Event is an original as it comes back.
func Event(made *stream.Stream, original uint64) *audit.Event {
	e := made.Event(original)
	at := time.Date(2026, 11, 23, 12, 0, 0, int(original), time.UTC).Format(time.RFC3339Nano)
	return &audit.Event{Seq: int64(original) + 1, Topic: []byte(e.Topic), EventID: []byte(e.EventID), Timestamp: []byte(e.Timestamp),
		Source: []byte(e.Source), Payload: []byte(e.Payload), ReceivedAt: []byte(at)}
}

// Faults are one of each promise, one that was not kept, and one that was not tried.
func Faults() []record.Fault {
	refused := record.Look{End: record.Refused}
	whole := Trial(30, 0)
	damaged := Trial(30, 0)
	damaged.Whole, damaged.Injected = whole.Looks[0].Stored, 2
	damaged.Looks = append(damaged.Looks, refused)
	return []record.Fault{
		{Name: "SIGKILL", Promise: record.NothingLost, Tells: record.TellsRefusals, Trials: []record.Trial{Trial(300, 0), Trial(201, 0)}},
		{Name: "SIGKILL at ack=memory", Promise: record.SomethingLost, Trials: []record.Trial{Trial(50, 40)}},
		{Name: "a cut journal", Promise: record.PrefixOrRefuse, Tells: record.TellsEnds, Trials: []record.Trial{damaged}},
		{Name: "overload", Promise: record.NothingLost, Trials: []record.Trial{Trial(25, 1)}},
		{Name: "power loss", Promise: record.NothingLost, Trials: []record.Trial{}, Skipped: "mounting a file system needs root"},
	}
}

// ClusterTrial is a Trial of a cluster of three whose replicas are the same, around three faults:
// at journal nobody noticed two of them.
func ClusterTrial(requests uint64) record.Trial {
	t := Trial(requests, 0)
	replica := record.Replica{Epoch: 1, Position: 7, Hash: "ab", LastSeq: 9, Events: 8, SHA256: "cd"}
	for _, name := range []string{"node-1", "node-2", "node-3"} {
		replica.Name = name
		t.Looks[0].Replicas = append(t.Looks[0].Replicas, replica)
	}
	t.Injected, t.RecoveryMS = 3, []float64{}
	const ms = int64(1e6)
	for i, store := range []int64{6000, 4000, 4500} {
		from := int64(i) * 60_000 * ms
		o := record.Outage{FromNS: from, StruckNS: from + ms, HealedNS: from + 9000*ms, UntilNS: from + 12_000*ms, Levels: []record.LevelOutage{
			{Level: "journal", Acknowledged: 20, SilencesNS: [][2]int64{}},
			{Level: "store", Acknowledged: 20, SilencesNS: [][2]int64{{from + ms, from + (store+1)*ms}, {from + 9000*ms, from + 9200*ms}}},
		}}
		if i == 1 {
			o.Levels[0].SilencesNS = [][2]int64{{from, from + 300*ms}}
		}
		t.Outages = append(t.Outages, o)
	}
	return t
}

// ClusterFaults are one of each promise of a cluster's, and one that was not tried.
func ClusterFaults() []record.Fault {
	caught := Trial(10, 0)
	caught.Injected, caught.Caught, caught.Looks = 2, []string{"halted", "diverged"}, []record.Look{}
	return []record.Fault{
		{Name: "SIGKILL of the log leader", Promise: record.NothingLost, Tells: record.TellsOutages, Trials: []record.Trial{ClusterTrial(300)}},
		{Name: "one copy of the log", Promise: record.SomethingLost, Trials: []record.Trial{Trial(50, 40)}},
		{Name: "a trigger on one replica", Promise: record.MustBeCaught, Trials: []record.Trial{caught}},
		{Name: "the leader's machine cut off", Promise: record.NothingLost, Trials: []record.Trial{}, Skipped: "network namespaces need root"},
	}
}

// Soak is one of a minute with two kills.
func Soak() record.Soak {
	const requests = 1200
	made := Stream()
	digester, lag := ledger.NewDigester(), record.Clock{}
	for k := range uint64(requests) {
		digester.Add(ledger.Attempt{Request: k, Attempt: 1, Status: 202, Accepted: EventsPerRequest})
		lag.Add(100 * time.Microsecond)
	}
	originals := made.Originals(requests * EventsPerRequest)
	s := record.Soak{Date: "2026-11-23T12:00:00Z", Machine: "2 cores", Commit: "0000000", Seconds: 60, RequestsPerS: 20, Stream: made.Config(),
		EventsPerRequest: EventsPerRequest, Planned: requests, Readers: 3, SlowClients: 16, PagesRead: 120, KillsS: []float64{15, 30},
		RecoveryMS: []float64{40, 60}, Ledger: digester.Digest(), Stored: Stored(made, 0, originals), Lag: lag.Times(), WindowS: 1,
		Counters: audit.Counters{Received: requests * EventsPerRequest, UniqueProcessed: originals, DuplicateDropped: requests*EventsPerRequest - originals}}
	s.Metrics = []string{"resident memory, MB", "live heap, MB", "descriptors beside connections", "goroutines beside connections", "WAL, MB", "waiting in the journal, MB", record.SoakSync, record.SoakWork, record.SoakRefaults}
	for at := 1.; at <= 60; at++ {
		responses := record.Clock{}
		for i := range 20 {
			responses.Add(time.Duration(2+i/18) * time.Millisecond)
		}
		s.Windows = append(s.Windows, record.SoakWindow{S: at, Stored: uint64(at * 320), Values: []float64{50, 30, 20, 30 + at, 12, 1, 0.8, 0.3, 2}, Responses: responses.Times()})
	}
	return s
}
