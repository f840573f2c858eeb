package audit

import (
	"sort"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// outsider is a server whose commits are known, and what a reader saw of them.
type outsider struct {
	accepted, committed []time.Time // of the events, which have the numbers from 1
	outside             Outside
}

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }

// drawOutsider has batches committed one after the other, and looks in between.
func drawOutsider(t *rapid.T) *outsider {
	o := &outsider{}
	accepted, committed := 0, 0
	for range rapid.IntRange(1, 40).Draw(t, "batches") {
		committed += rapid.IntRange(1, 200).Draw(t, "commit")
		for range rapid.IntRange(1, 20).Draw(t, "events") {
			accepted = min(committed, accepted+rapid.IntRange(0, 20).Draw(t, "accepted"))
			o.accepted, o.committed = append(o.accepted, at(accepted)), append(o.committed, at(committed))
		}
	}
	asked := 0
	for range rapid.IntRange(0, 40).Draw(t, "looks") {
		asked += rapid.IntRange(1, 300).Draw(t, "asked")
		took := rapid.IntRange(0, 30).Draw(t, "took")
		seen := rapid.IntRange(asked, asked+took).Draw(t, "seen")
		o.look(asked, seen, asked+took, rapid.Bool().Draw(t, "whole"))
	}
	o.outside.Told = o.told(func(us int64) int64 { return us })
	o.outside.From, o.outside.Until = began, at(1<<20)
	return o
}

// look reads at a moment what is committed, unless the page is full before that.
func (o *outsider) look(asked, seen, answered int, whole bool) {
	n := sort.Search(len(o.committed), func(i int) bool { return o.committed[i].After(at(seen)) })
	if !whole && n > 0 {
		n--
	}
	s := Sighting{Asked: at(asked), Answered: at(answered)}
	var events []Event
	for i := range n {
		events = append(events, Event{Seq: int64(i) + 1})
	}
	s.See(events, whole)
	o.outside.Sightings = append(o.outside.Sightings, s)
}

// told is the histogram of a server that changes each wait.
func (o *outsider) told(change func(us int64) int64) (pairs [][2]int64) {
	for i := range o.accepted {
		pairs = append(pairs, [2]int64{change(o.committed[i].Sub(o.accepted[i]).Microseconds()), 1})
	}
	return pairs
}

func (o *outsider) waits() *waits {
	w := newWaits(&o.outside)
	for i, accepted := range o.accepted {
		w.add(int64(i)+1, accepted.Add(-time.Millisecond), accepted.Add(time.Millisecond))
	}
	return w
}

// TestWaitsAreBounded has the true waits between the bounds, and an honest histogram pass, whatever
// is committed and looked at when.
func TestWaitsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOutsider(t)
		for i := range o.accepted {
			one := newWaits(&o.outside)
			one.add(int64(i)+1, o.accepted[i], o.accepted[i])
			if one.bounded == 0 {
				continue
			}
			wait := float64(o.committed[i].Sub(o.accepted[i])) / 1e6
			if least, most := one.atLeast.quantiles(0).Max, one.atMost.quantiles(1).Max; wait < least || wait > most {
				t.Fatalf("event %d waited %v ms, bounded by %v and %v", i+1, wait, least, most)
			}
		}
		if check := o.waits().check()[0]; !check.Held {
			t.Fatalf("the honest histogram: %s", check)
		}
	})
}

// TestWaitsThatAreToldTooShort has a server whose queue is a second long, and looks ten times a
// second.
func TestWaitsThatAreToldTooShort(t *testing.T) {
	o := &outsider{}
	for i := range 1000 {
		o.accepted, o.committed = append(o.accepted, at(i)), append(o.committed, at(2*i))
	}
	for asked := 50; asked < 2200; asked += 100 {
		o.look(asked, asked+1, asked+2, true)
	}
	o.outside.From, o.outside.Until = began, at(3000)
	for name, change := range map[string]func(us int64) int64{
		"":       func(us int64) int64 { return us },
		"halved": func(us int64) int64 { return us / 2 },
		"capped": func(us int64) int64 { return min(us, 700_000) },
		"none":   func(int64) int64 { return 50 },
	} {
		o.outside.Told = o.told(change)
		if check := o.waits().check()[0]; check.Held != (name == "") {
			t.Errorf("%s: %s", name, check)
		}
	}
	report := o.waits().report()
	if r := report.AtLeastMS; r.P50 < 380 || r.P50 > 500 || report.AtMostMS.P50 < 500 || report.AtMostMS.P50 > 620 {
		t.Errorf("%+v", report)
	}
	if report.Looks != 22 || report.Share < 0.019 || report.Share > 0.021 {
		t.Errorf("%+v", report)
	}
}

// TestSightings holds what was seen to the export, also where that has more events than are held to
// compare pages with.
func TestSightings(t *testing.T) {
	event := func(seq int64, payload string) *Event {
		return &Event{Seq: seq, Topic: []byte("t"), EventID: []byte("e"), Payload: []byte(payload)}
	}
	see := func(from, to int64, events ...*Event) Sighting {
		s := Sighting{From: from, To: to}
		var page []Event
		for _, e := range events {
			page = append(page, *e)
		}
		s.See(page, true)
		return s
	}
	const far = maxHeld + 10_000
	for _, test := range []struct {
		name   string
		seen   Sighting
		missed uint64
	}{
		{"as it is", see(far, far+50, event(far+1, "1"), event(far+50, "1")), 0},
		{"with more behind it", see(far-100, far-50, event(far-99, "1"), event(far-50, "1"), event(far+1, "1")), 0},
		{"nothing yet", see(far, far+50), 1},
		{"another payload", see(far, far+50, event(far+1, "1"), event(far+50, "2")), 1},
		{"one that is gone", see(far, far+50, event(far+1, "1"), event(far+20, "1"), event(far+50, "1")), 1},
		{"unread", Sighting{From: far + 60, To: far + 70, Unread: true}, 1},
		{"no events there", see(far+60, far+70), 0},
	} {
		r := NewReference(0)
		r.Sightings([]Sighting{see(0, 1, event(1, "1")), test.seen})
		for seq := int64(1); seq <= far-100; seq += 2 {
			r.Add(event(seq, "1"))
		}
		for _, seq := range []int64{far - 99, far - 50, far + 1, far + 50, far + 99} {
			r.Add(event(seq, "1"))
		}
		if missed := r.Missed(); missed != test.missed {
			t.Errorf("%s: %d missed, want %d", test.name, missed, test.missed)
		}
	}
}
