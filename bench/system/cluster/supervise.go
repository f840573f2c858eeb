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

// keep is Supervise for one process.
func keep(ctx context.Context, name string, say func(string), current func() *process.Process, start func() error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-current().Exited():
		}
		if ctx.Err() != nil {
			return
		}
		exit, _ := current().Wait(ctx)
		say(fmt.Sprintf("%s has ended (%s), and is started again in %v", name, exit, restartPause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(restartPause):
		}
		if err := start(); err != nil && ctx.Err() == nil {
			say(fmt.Sprintf("%s: %v", name, err))
			continue
		}
		if ctx.Err() == nil {
			say(name + " runs again")
		}
	}
}
