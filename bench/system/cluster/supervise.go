package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sekali/bench/system/process"
)

// restartPause is what a supervisor waits before it starts again what has ended.
const restartPause = 2 * time.Second

// sayAgain is after how long it is said again why a process cannot be started. The reason quotes a
// log with times, so that no two are the same.
const sayAgain = time.Minute

// Supervise starts again whatever ends, as a supervisor does, until ctx ends. It says what it sees.
func (c *Cluster) Supervise(ctx context.Context, say func(text string)) {
	var all sync.WaitGroup
	for _, m := range c.Machines {
		all.Go(func() {
			keep(ctx, m.LogName, say, func() *process.Process { return m.Log }, func() error { return c.StartLog(m) })
		})
		all.Go(func() {
			keep(ctx, m.NodeName, say, func() *process.Process { return m.Node }, func() error { return c.StartNode(m) })
		})
	}
	all.Wait()
}

// keep is Supervise for one process. It tells an end once, and why no new one can be started once
// in sayAgain.
func keep(ctx context.Context, name string, say func(string), current func() *process.Process, start func() error) {
	var ended *process.Process // is told
	var told time.Time         // why it cannot be started
	for {
		p := current()
		select {
		case <-ctx.Done():
			return
		case <-p.Exited():
		}
		if ctx.Err() != nil {
			return
		}
		if p != ended {
			exit, _ := p.Wait(ctx)
			say(fmt.Sprintf("%s has ended (%s), and is started again in %v", name, exit, restartPause))
			ended, told = p, time.Time{}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartPause):
		}
		err := start()
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			say(fmt.Sprintf("%s runs again (pid %d)", name, current().PID()))
		case current() != p:
			say(fmt.Sprintf("%s: %v", name, err)) // it lives, or has lived
		case time.Since(told) > sayAgain:
			told = time.Now()
			say(fmt.Sprintf("%s cannot be started, and is tried again every %v: %v", name, restartPause, err))
		}
	}
}
