package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"sekali/bench/system/cluster"
	"sekali/bench/system/process"
)

// victims are machines whose log server, or whose aggregator, a fault takes.
type victims struct{ logs, nodes []int }

// ofCluster chooses them, from the machine whose log server leads and how often it was done before.
type ofCluster func(leader, round int) victims

// The roles that are killed.
func logLeader(leader, _ int) victims     { return victims{logs: []int{leader}} }
func leaderMachine(leader, _ int) victims { return victims{logs: []int{leader}, nodes: []int{leader}} }
func everything(int, int) victims         { return victims{[]int{0, 1, 2}, []int{0, 1, 2}} }
func oneAggregator(_, round int) victims  { return victims{nodes: []int{round % machines}} }
func logFollower(leader, round int) victims {
	return victims{logs: []int{(leader + 1 + round%(machines-1)) % machines}}
}

func (c *clusterTrial) processes(v victims) (all []*process.Process) {
	for _, i := range v.logs {
		all = append(all, c.Machines[i].Log)
	}
	for _, i := range v.nodes {
		all = append(all, c.Machines[i].Node)
	}
	return all
}

// again starts what was killed.
func (c *clusterTrial) again(v victims) error {
	var failures []error
	for _, i := range v.logs {
		failures = append(failures, c.StartLog(c.Machines[i]))
	}
	for _, i := range v.nodes {
		failures = append(failures, c.StartUnready(c.Machines[i]))
	}
	return errors.Join(failures...)
}

// clusterKilled kills who has a role, under load. At once: it is started again at once, as where
// nobody is left to acknowledge anything.
func clusterKilled(role ofCluster, atOnce bool) func(s *sitting) error {
	return func(s *sitting) error {
		return s.inCluster(func(c *clusterTrial, leader, round int) error {
			v := role(leader, round)
			fault := func() error {
				kill(c.processes(v)...)
				if atOnce {
					return c.again(v)
				}
				return nil
			}
			return c.out(fault, func() error {
				if atOnce {
					return nil
				}
				return c.again(v)
			})
		})
	}
}

// listLeaderKilled kills the log server that leads those which list the streams.
func listLeaderKilled(s *sitting) error {
	return s.inCluster(func(c *clusterTrial, _, _ int) error {
		i, err := c.listLeader()
		if err != nil {
			return err
		}
		v := victims{logs: []int{i}}
		return c.out(func() error {
			kill(c.processes(v)...)
			return nil
		}, func() error { return c.again(v) })
	})
}

// listLeader is the machine whose log server leads the list of streams, as any server says.
func (c *clusterTrial) listLeader() (int, error) {
	conn, err := nats.Connect(c.LogURLs())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	for end := time.Now().Add(healWait); time.Now().Before(end) && c.s.ctx.Err() == nil; c.s.sleep(100 * time.Millisecond) {
		answer, err := conn.Request("$SYS.REQ.SERVER.PING.JSZ", nil, time.Second)
		if err != nil {
			continue
		}
		var told struct {
			Data struct {
				Meta struct {
					Leader string `json:"leader"`
				} `json:"meta_cluster"`
			} `json:"data"`
		}
		if err := json.Unmarshal(answer.Data, &told); err != nil {
			return 0, fmt.Errorf("a log server's answer %.80q: %w", answer.Data, err)
		}
		for i, m := range c.Machines {
			if strings.HasPrefix(told.Data.Meta.Leader, m.LogName+"-") {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("the list of streams has had no leader for %v", healWait)
}

// upgraded stops each aggregator, and starts the program to upgrade to in its place, and stops and
// starts each log server, the next when an operator would find nothing wrong. Each time it has a
// cluster of its own, which has not been upgraded yet.
func upgraded(s *sitting) error {
	return s.eachCluster(clusterLevels, func(c *clusterTrial) error {
		for _, m := range c.Machines {
			m.NodeConfig.Binary = cmp.Or(s.Upgrade, s.Aggregator)
			if err := c.restarted(m.Node, func() error { return c.StartUnready(m) }); err != nil {
				return err
			}
		}
		for _, m := range c.Machines {
			if err := c.restarted(m.Log, func() error { return c.StartLog(m) }); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// restarted stops a process, and starts what takes its place.
func (c *clusterTrial) restarted(p *process.Process, start func() error) error {
	return c.out(func() error {
		ctx, cancel := context.WithTimeout(c.s.ctx, healWait)
		defer cancel()
		_, err := p.Stop(ctx)
		return err
	}, start)
}

// clusterPaused stops the log's leader for so long and no longer: it may come back before there is
// another one, and lead on.
func clusterPaused(d time.Duration) func(s *sitting) error {
	return func(s *sitting) error {
		return s.inCluster(func(c *clusterTrial, leader, _ int) error {
			p := c.Machines[leader].Log
			return c.out(func() error {
				err := p.Signal(syscall.SIGSTOP)
				s.sleep(d)
				return errors.Join(err, p.Signal(syscall.SIGCONT))
			}, func() error { return nil })
		})
	}
}

// clusterStopped stops the log's leader as a suspended machine is, until the others go on without
// it, and for so long at least.
func clusterStopped(d time.Duration) func(s *sitting) error {
	return func(s *sitting) error {
		return s.inCluster(func(c *clusterTrial, leader, _ int) error {
			p := c.Machines[leader].Log
			began := time.Now()
			return c.out(func() error { return p.Signal(syscall.SIGSTOP) }, func() error {
				s.sleep(time.Until(began.Add(d)))
				return p.Signal(syscall.SIGCONT)
			})
		})
	}
}

// eachCluster injects in a cluster of its own each time, under load. It does what comes after,
// which may be nothing, and audits what is stored.
func (s *sitting) eachCluster(levels []string, inject, after func(c *clusterTrial) error) error {
	for range s.times() {
		c, err := s.newCluster(cluster.Config{}, levels...)
		if err != nil {
			return err
		}
		err = c.loaded(func() error { return inject(c) })
		if err == nil && after != nil {
			err = after(c)
		}
		if err == nil {
			err = c.auditedAndStopped()
		}
		if err = c.ended(err); err != nil {
			return err
		}
	}
	return nil
}

// inCluster injects a fault again and again into a cluster under load, and holds all replicas to
// each other at the end.
func (s *sitting) inCluster(inject func(c *clusterTrial, leader, round int) error) error {
	c, err := s.newCluster(cluster.Config{}, clusterLevels...)
	if err != nil {
		return err
	}
	return c.repeated(inject)
}

func (c *clusterTrial) repeated(inject func(c *clusterTrial, leader, round int) error) error {
	err := c.loaded(func() error {
		for round := range c.s.times() {
			leader, err := c.leader()
			if err == nil {
				err = inject(c, leader, round)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = c.auditedAndStopped()
	}
	return c.ended(err)
}
