package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/internal/memorydir"
)

// TestExpiredEventsStayDuplicates holds random batches and expiries against a model: what is not
// expired is read, by topic too; what is, is not, and its repeats are duplicates all the same, also
// after a restart for which the runs have to be made again.
func TestExpiredEventsStayDuplicates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		design := Design{rapid.SampledFrom([]Dedup{DedupRuns, DedupTable}).Draw(t, "dedup"), LayoutBlocks}
		dir, err := memorydir.Make("expire")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, state, err := Open(dir, design)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		apply := NewApplier(s)
		type stored struct {
			seq        int64
			topic      string
			receivedAt string
		}
		var model []stored
		seen := map[string]bool{}
		clock := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
		at := func(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000000Z") }
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			default:
				var rows []Row
				random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "batch"), 0))
				for range rapid.IntRange(1, 400).Draw(t, "events") {
					if random.IntN(21) == 0 {
						clock = clock.Add(time.Second)
					}
					topic, id := fmt.Sprint("t", random.IntN(3)), fmt.Sprint(random.IntN(501))
					rows = append(rows, Row{Event: event.Event{Topic: topic, ID: id, Timestamp: "2026-11-23T06:41:10Z", Source: "s", Payload: `{"n":1}`}, ReceivedAt: at(clock)})
				}
				packTopics(s, rapid.Bool().Draw(t, "topics packed"))
				out, err := apply.Apply(state, Batch{Rows: rows})
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range rows {
					identity := r.Topic + "/" + r.ID
					if out.Stored[i] == seen[identity] {
						t.Fatalf("%s: stored %v, seen %v", identity, out.Stored[i], seen[identity])
					}
					if !seen[identity] {
						seen[identity], model = true, append(model, stored{out.FirstSeq + int64(i), r.Topic, r.ReceivedAt})
					}
				}
				if state = out.State; state.Conflicts != 0 {
					t.Fatalf("%d conflicts between events that all say the same", state.Conflicts)
				}
			case 1:
				before := at(clock.Add(-time.Duration(rapid.IntRange(-1, 20).Draw(t, "age")) * time.Second))
				most := rapid.IntRange(1, 5).Draw(t, "blocks")
				was := state
				var n int
				if state, n, err = apply.Expire(state, before, most); err != nil || n > most {
					t.Fatal(n, err)
				}
				if n == 0 && state != was {
					t.Fatalf("%+v, was %+v", state, was)
				}
				for _, m := range model {
					if m.seq > was.ExpiredSeq && m.seq <= state.ExpiredSeq && m.receivedAt >= before {
						t.Fatalf("seq %d expired: received at %s, not before %s", m.seq, m.receivedAt, before)
					}
				}
			case 2:
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "lose the runs") {
					if err := os.RemoveAll(filepath.Join(dir, dedupDir)); err != nil {
						t.Fatal(err)
					}
				}
				again := State{}
				if s, again, err = Open(dir, Design{}); err != nil || again != state {
					t.Fatalf("%+v, want %+v; %v", again, state, err)
				}
				apply = NewApplier(s)
			}
		}
		for _, topic := range []string{"", "t0"} {
			var got, want []int64
			page := Page{Topic: topic, Limit: 1 << 30, Bytes: 1 << 30}
			if err := s.layout.page(context.Background(), s.Pool, page, func(seq int64, r Row) bool {
				if r.Payload != `{"n":1}` || r.Source != "s" {
					t.Fatalf("seq %d: %+v", seq, r)
				}
				got = append(got, seq)
				return true
			}); err != nil {
				t.Fatal(err)
			}
			for _, m := range model {
				if m.seq > state.ExpiredSeq && (topic == "" || topic == m.topic) {
					want = append(want, m.seq)
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("topic %q: %v, want %v", topic, got, want)
			}
		}
		if _, faults, err := Check(context.Background(), dir); err != nil || len(faults) > 0 {
			t.Fatalf("%q, %v", faults, err)
		}
	})
}

// TestExpiryStopsAtADamagedBlock: what cannot be read cannot be cut down to its identities.
func TestExpiryStopsAtADamagedBlock(t *testing.T) {
	s, state, err := Open(t.TempDir(), Design{Layout: LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply := NewApplier(s)
	out, err := apply.Apply(state, Batch{Rows: []Row{{Event: event.Event{Topic: "t", ID: "1", Timestamp: "2026-11-23T06:41:10Z"}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writer.Exec("UPDATE blocks SET checksum = checksum + 1"); err != nil {
		t.Fatal(err)
	}
	if after, n, err := apply.Expire(out.State, "2027", 1); !errors.Is(err, ErrDamaged) || n != 0 || after != out.State {
		t.Fatalf("%+v, %d, %v", after, n, err)
	}
}

// TestExpireThroughAnyPlace: the content of events up to a seq expires, also where that is within a
// block, and whatever the blocks are: what is read, counted and found by topic is the same.
func TestExpireThroughAnyPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const events = 100
		var rows []Row
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "topics"), 0))
		for i := range events {
			topic := fmt.Sprint("t", random.IntN(3))
			rows = append(rows, Row{Event: event.Event{Topic: topic, ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: `{"n":1}`},
				ReceivedAt: fmt.Sprintf("2026-11-23T06:41:10.%09dZ", i/10)})
		}
		dir, err := memorydir.Make("through")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		apply := NewApplier(s)
		through := int64(0)
		for from := 0; from < events || through < events; {
			batch := Batch{Replica: true}
			if to := min(events, from+rapid.IntRange(0, 50).Draw(t, "batch")); to > from {
				batch.Rows, from = rows[from:to], to
			} else {
				batch.Expire = rapid.Int64Range(1, events+20).Draw(t, "through")
				through = max(through, min(batch.Expire, int64(from)))
			}
			packTopics(s, rapid.Bool().Draw(t, "topics packed"))
			out, err := apply.Apply(state, batch)
			if err != nil {
				t.Fatal(err)
			}
			if state = out.State; state.Expired != through || state.ExpiredSeq != through {
				t.Fatalf("%d expired, up to %d; want %d", state.Expired, state.ExpiredSeq, through)
			}
			for _, topic := range []string{"", "t0"} {
				var got, want []int64
				if err := s.layout.page(t.Context(), s.Pool, Page{Topic: topic}, func(seq int64, r Row) bool {
					if r.Payload != `{"n":1}` {
						t.Fatalf("seq %d: %+v", seq, r)
					}
					got = append(got, seq)
					return true
				}); err != nil {
					t.Fatal(err)
				}
				for i, r := range rows[:from] {
					if seq := int64(i + 1); seq > through && (topic == "" || topic == r.Topic) {
						want = append(want, seq)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("topic %q, expired up to %d of %d: %v, want %v", topic, through, from, got, want)
				}
			}
			before := rapid.IntRange(0, events/10).Draw(t, "before")
			last, err := s.LastBefore(t.Context(), fmt.Sprintf("2026-11-23T06:41:10.%09dZ", before))
			want := min(int64(before)*10, int64(from))
			if want <= through {
				want = 0
			}
			if err != nil || last != want {
				t.Fatalf("the last before %d is %d, %v; want %d: %d are stored, %d expired", before, last, err, want, from, through)
			}
		}
		if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
			t.Fatalf("%q, %v", faults, err)
		}
	})
}
