package pipeline

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/store"
)

const (
	// clockJump is how far the time of day may move against the time that passes before that counts as
	// a jump: a clock that is adjusted slowly moves by 0.05 %.
	clockJump = time.Minute
	// clockTrusted is how long a jump must last until events are stamped with the new time: it may be
	// a mistake of a moment.
	clockTrusted = 10 * time.Minute
	// expiryRests is how long nothing expires after a jump, or after a start that came longGap after
	// the last commit: what has expired does not come back.
	expiryRests = time.Hour
	longGap     = 24 * time.Hour
)

// clock is the time of day as the machine has it, but for jumps: until one has lasted, it goes on
// as if there were none.
type clock struct {
	wall   func() time.Time
	passed func() time.Duration // since the machine was started, sleep included
	log    *slog.Logger

	mu      sync.Mutex // guards all below
	at      time.Time  // the wall's latest time that was trusted …
	atSince time.Duration
	jump    time.Duration // by which the wall is off since; 0: it is not
	jumped  time.Duration // when it was first
	rests   time.Duration // nothing expires before
	why     string
}

func newClock(lastReceived string, log *slog.Logger) *clock {
	return startClock(&clock{wall: time.Now, passed: sinceBoot, log: log}, lastReceived)
}

// startClock trusts the wall, for there is nothing else. The last commit says how long ago that
// was.
func startClock(c *clock, lastReceived string) *clock {
	c.at, c.atSince = c.wall(), c.passed()
	last, err := time.Parse(ReceivedLayout, lastReceived)
	if gap := c.at.Sub(last); err == nil && gap > longGap {
		c.rest(c.atSince, fmt.Sprintf("the last commit was %v ago", gap.Round(time.Second)))()
	}
	return c
}

// sinceBoot does not jump with the time of day, and passes while the machine sleeps.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(bootClock, &t); err != nil {
		return time.Since(processStart) // Linux has it since 2.6.39
	}
	return time.Duration(t.Nano())
}

var processStart = time.Now()

// now returns the time for events that come in. It has no monotonic reading.
func (c *clock) now() time.Time {
	wall, passed := c.wall(), c.passed()
	c.mu.Lock()
	now, note := c.judge(wall, passed)
	c.mu.Unlock()
	if note != nil { // once a jump: publishers wait for mu
		note()
	}
	return now
}

// judge says what the time is, and what there is to log of it. mu is held.
func (c *clock) judge(wall time.Time, passed time.Duration) (now time.Time, note func()) {
	expected := c.at.Round(0).Add(passed - c.atSince)
	off := wall.Round(0).Sub(expected)
	switch jump := c.jump; {
	case off.Abs() <= clockJump:
		if c.jump != 0 {
			note = func() { c.log.Info("the clock is back", "jump", jump.String()) }
			c.jump = 0
		}
	case c.jump == 0 || (off-c.jump).Abs() > clockJump:
		c.jump, c.jumped = off, passed
		return expected, c.rest(passed, fmt.Sprintf("the clock jumped by %v", off.Round(time.Second)))
	case passed-c.jumped < clockTrusted:
		return expected, nil
	default:
		note = func() {
			c.log.Warn("the clock's jump has lasted: events are stamped with the new time", "jump", jump.String())
		}
		c.jump = 0
	}
	c.at, c.atSince = wall, passed
	return wall.Round(0), note
}

// Warnings are what does not keep the pipeline from taking events, and what a person should know.
func (p *Pipeline) Warnings() (warnings []string) {
	if why := p.clock.resting(); why != "" && p.cfg.Retention > 0 {
		warnings = append(warnings, "nothing expires for a while: "+why)
	}
	if p.cfg.Node != nil {
		warnings = append(warnings, p.cfg.Node.Warnings()...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.locked != nil {
		warnings = append(warnings, "database_locked: nothing is committed, and only ack=journal is taken: "+p.locked.Error())
	}
	if fault := store.AheadOf(p.state.LastReceivedAt, time.Now(), p.cfg.Node != nil); fault != "" {
		warnings = append(warnings, fault)
	}
	return warnings
}

// rest puts expiry off, and returns what logs that. mu is held, or c is new.
func (c *clock) rest(passed time.Duration, why string) (note func()) {
	c.rests, c.why = passed+expiryRests, why
	return func() { c.log.Warn("nothing expires for a while", "why", why, "for", expiryRests.String()) }
}

// resting says why nothing expires now; "" if it may.
func (c *clock) resting() string {
	c.now()
	passed := c.passed()
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed < c.rests {
		return c.why
	}
	return ""
}
