package pipeline

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"sekali/aggregator/store"
)

// TestPace: a transaction has what works for applyWithin, within its bounds. A small one says
// nothing, and one that the machine has held up little.
func TestPace(t *testing.T) {
	const most = 50_000
	within := func(events int) time.Duration { return applyWithin * time.Duration(events) / most } // most fit exactly
	for _, test := range []struct {
		name   string
		learns func(p *pace)
		least  int
		most   int
	}{
		{"nothing is known", func(*pace) {}, most, most},
		{"a small one", func(p *pace) { p.learn(paceLeast-1, time.Second) }, most, most},
		{"quick ones", func(p *pace) { p.learn(most, within(most)/2) }, most, most},
		{"slow ones", func(p *pace) { p.learn(most, 2*within(most)) }, most/2 - 1, most / 2},
		{"very slow ones", func(p *pace) { p.learn(most, time.Minute) }, paceLeast, paceLeast},
		{"one that was held up", func(p *pace) {
			p.learn(most, within(most))
			p.learn(most, 2*within(most))
		}, most * 7 / 10, most * 9 / 10},
		{"and quick ones again", func(p *pace) {
			p.learn(most, time.Second)
			for range 20 {
				p.learn(paceLeast, within(paceLeast)/2)
			}
		}, most, most},
	} {
		t.Run(test.name, func(t *testing.T) {
			var p pace
			test.learns(&p)
			if got := p.events(most); got < test.least || got > test.most {
				t.Errorf("a transaction of %d, want %d to %d", got, test.least, test.most)
			}
		})
	}
	p := pace{perEvent: float64(time.Second)}
	if got := p.events(7); got != 7 {
		t.Errorf("a transaction of %d where 7 are the most", got)
	}
}

// TestTheTableHasNoPace: in small transactions its events would cost several times as much.
func TestTheTableHasNoPace(t *testing.T) {
	const most = 50_000
	for dedup, want := range map[store.Dedup]int{store.DedupRuns: paceLeast, store.DedupTable: most} {
		s, _, err := store.Open(t.TempDir(), store.Design{Dedup: dedup, Layout: store.LayoutRows})
		if err != nil {
			t.Fatal(err)
		}
		w := &writer{Pipeline: &Pipeline{store: s}}
		w.learn(most, time.Minute)
		if got := w.pace.events(most); got != want {
			t.Errorf("%s: a transaction of %d, want %d", dedup, got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPaceEndsABatch: a writer whose transactions take long takes fewer events into one, and knows
// that there is more.
func TestPaceEndsABatch(t *testing.T) {
	const events, one = 3 * paceLeast, 1000
	r := newRig(t, Config{QueueEvents: events, QueueBytes: 64 << 20, BacklogBytes: 64 << 20, BatchEvents: events})
	defer r.remove()
	r.open()
	defer func() {
		if err := errors.Join(r.s.Close(), r.j.Close()); err != nil {
			t.Error(err)
		}
	}()
	for n := range events / one {
		ids := make([]int, one)
		for i := range ids {
			ids[i] = n*one + i
		}
		if _, err := r.p.Publish(Memory, request(t, "a", 0, ids...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		pace pace
		want int
		full bool
	}{{pace{}, events, true}, {pace{float64(applyWithin) / (2 * paceLeast)}, 2 * paceLeast, true}, {pace{float64(time.Second)}, paceLeast, true}} {
		t.Run(fmt.Sprint(test.want), func(t *testing.T) {
			w := newWriter(r.p)
			w.pace = test.pace
			full := w.choose(w.batch, nil)
			got := 0
			for _, part := range w.batch.parts {
				got += part.to - part.from
			}
			if got != test.want || full != test.full {
				t.Errorf("%d events, full %v; want %d, %v", got, full, test.want, test.full)
			}
		})
	}
}
