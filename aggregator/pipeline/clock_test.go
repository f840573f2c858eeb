package pipeline

import (
	"log/slog"
	"testing"
	"time"
)

// TestClock: a jump of a moment stamps no event and expires none; one that lasts is taken over;
// expiry rests after each, and after a start long after the last commit.
func TestClock(t *testing.T) {
	began := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	wall, passed := began, time.Hour
	wait := func(d time.Duration) { wall, passed = wall.Add(d), passed+d }
	start := func(last string) *clock {
		return startClock(&clock{wall: func() time.Time { return wall }, passed: func() time.Duration { return passed },
			log: slog.New(slog.DiscardHandler)}, last)
	}
	want := func(c *clock, at time.Time, rests bool) {
		t.Helper()
		if got := c.now(); !got.Equal(at) {
			t.Errorf("it is %v, want %v", got, at)
		}
		if why := c.resting(); (why != "") != rests {
			t.Errorf("expiry rests: %q, want %v", why, rests)
		}
	}
	const tenYears = 87_600 * time.Hour
	for name, jump := range map[string]time.Duration{"ahead": tenYears, "back": -tenYears} {
		t.Run(name, func(t *testing.T) {
			wall = began
			c := start(began.Add(-time.Hour).Format(ReceivedLayout))
			want(c, began, false)
			wait(time.Hour)
			want(c, began.Add(time.Hour), false)

			wall = wall.Add(jump) // for a moment
			want(c, began.Add(time.Hour), true)
			wait(5 * time.Minute)
			want(c, began.Add(time.Hour+5*time.Minute), true)
			wall = wall.Add(-jump)
			want(c, wall, true)
			wait(expiryRests)
			want(c, wall, false)

			wall = wall.Add(jump) // for good
			before := wall.Add(-jump)
			want(c, before, true)
			wait(clockTrusted - time.Second)
			want(c, before.Add(clockTrusted-time.Second), true)
			wait(time.Second)
			want(c, wall, true)
			wait(expiryRests)
			want(c, wall, false)
		})
	}
	wall = began
	c := start(began.Add(-longGap - time.Second).Format(ReceivedLayout))
	want(c, began, true)
	wait(expiryRests)
	want(c, wall, false)
	for range 100 { // a clock that is adjusted slowly
		wait(time.Minute)
		wall = wall.Add(time.Second)
		want(c, wall, false)
	}
	want(start(""), wall, false)
}

// TestExpiryRests: after a jump of the clock nothing expires; without one it does.
func TestExpiryRests(t *testing.T) {
	for jump, want := range map[time.Duration]struct {
		expired  int64
		warnings int
	}{0: {1, 0}, time.Hour: {0, 1}} {
		t.Run(jump.String(), func(t *testing.T) {
			cfg := roomy
			cfg.Retention = time.Nanosecond
			r := newRig(t, cfg)
			defer r.remove()
			r.open()
			r.p.clock.now()
			r.p.clock.wall = func() time.Time { return time.Now().Add(jump) }
			r.run()
			if _, err := r.p.Publish(Store, request(t, "t", 0, 1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2*flushInterval + flushInterval/2)
			if c := r.p.Counters(); c.Expired != want.expired {
				t.Errorf("%d expired, want %d", c.Expired, want.expired)
			}
			if warnings := r.p.Warnings(); len(warnings) != want.warnings {
				t.Errorf("%q", warnings)
			}
			r.stop()
		})
	}
}
