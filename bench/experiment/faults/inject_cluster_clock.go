package faults

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"sekali/bench/system/clock"
	"sekali/bench/system/cluster"
)

const (
	// clockOff is by how much a wrong clock is off: as one is that takes its time zone for UTC.
	clockOff = 3 * time.Hour
	// clockOffFor is for how long, and clockJumps is how often it jumps meanwhile, there or back.
	clockOffFor = 15 * time.Second
	clockJumps  = 30
	// expireIn is after how long events expire while a clock is off: by that one, at once.
	expireIn = "-retention=1h"
)

// clocks are those of the machines, of which each has one for its log server and its aggregator.
type clocks struct {
	mu    sync.Mutex // guards all below
	ahead [machines]time.Duration
}

// begin gives a process of a machine the machine's time.
func (c *clocks) begin(machine, pid int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clock.Set(pid, c.ahead[machine])
}

// note is how far a machine's clock is ahead of the lab's, of processes that begin from now on.
func (c *clocks) note(machine int, ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead[machine] = ahead
}

// setClock sets a machine's clock: the processes that run see it at once.
func (c *clusterTrial) setClock(all *clocks, machine int, ahead time.Duration) error {
	all.note(machine, ahead)
	m := c.Machines[machine]
	return errors.Join(clock.Set(m.Log.PID(), ahead), clock.Set(m.Node.PID(), ahead))
}

// offBy is ahead and behind in turn.
func offBy(round int) time.Duration {
	if round%2 == 0 {
		return clockOff
	}
	return -clockOff
}

// clockWrong has the clock of the leader's machine be wrong for a while, and then right again.
func clockWrong(wrong func(c *clusterTrial, all *clocks, machine, round int) error) func(s *sitting) error {
	return func(s *sitting) error {
		all := &clocks{}
		c, err := s.newCluster(cluster.Config{Begin: all.begin, Flags: []string{expireIn}}, clusterLevels...)
		if errors.Is(err, clock.ErrCannot) || errors.Is(err, fs.ErrPermission) { // to trace a process
			return skip("%v", err)
		}
		if err != nil {
			return err
		}
		return c.repeated(func(c *clusterTrial, leader, round int) error {
			began := time.Now()
			return c.out(func() error { return wrong(c, all, leader, round) }, func() error {
				s.sleep(time.Until(began.Add(clockOffFor)))
				c.toldOfClock(all, leader)
				return c.setClock(all, leader, 0)
			})
		})
	}
}

// toldOfClock expects that an operator is told of a clock that is off.
func (c *clusterTrial) toldOfClock(all *clocks, machine int) {
	all.mu.Lock()
	ahead := all.ahead[machine]
	all.mu.Unlock()
	said, _ := c.command("cluster", "status", "-cluster", c.LogURLs()) // it finds that wrong
	if ahead != 0 && !strings.Contains(said, c.Machines[machine].NodeName+": its clock is ") {
		c.broken("an operator is not told of a clock that is off by %v: %s", ahead, said)
	}
}

// clockSet sets it while the machine runs.
func clockSet(c *clusterTrial, all *clocks, machine, round int) error {
	return c.setClock(all, machine, offBy(round))
}

// clockJumping has it jump ahead, behind, and back.
func clockJumping(c *clusterTrial, all *clocks, machine, _ int) error {
	for i := range clockJumps {
		if err := c.setClock(all, machine, []time.Duration{clockOff, 0, -clockOff, 0}[i%4]); err != nil {
			return err
		}
		c.s.sleep(clockOffFor / clockJumps)
	}
	return nil
}

// clockAtStart has the machine start with it, after a kill: there is nothing that it could be
// compared with. Events are dated by it from then on.
func clockAtStart(c *clusterTrial, all *clocks, machine, round int) error {
	c.astray = true
	v := leaderMachine(machine, 0)
	kill(c.processes(v)...)
	all.note(machine, offBy(round))
	if err := c.again(v); err != nil {
		return err
	}
	return c.loadFor(c.Machines[machine].URL, time.Second) // the others' publishers need not come to it
}
