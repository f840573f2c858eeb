package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sekali/bench/system/cluster"
	"sekali/bench/system/powercut"
)

const (
	// cutFor is how long a part of the network is away: longer than an isolated leader remains one.
	cutFor = 25 * time.Second
	// shortCut is it in a test: longer than a connection takes to be noticed as gone.
	shortCut = 5 * time.Second
)

// partitioned cuts the network of one machine, that of the log's leader, and heals it. Each machine
// has a network namespace.
func partitioned(cut, heal func(n *cluster.Network, machine int) error) func(s *sitting) error {
	return func(s *sitting) error {
		if err := cluster.CannotNetwork(); err != nil { // it tries the tool of the cuts too
			return skip("%v", err)
		}
		network, err := cluster.NewNetwork(machines)
		if err != nil {
			return skip("%v", err)
		}
		c, err := s.newCluster(cluster.Config{Network: network}, clusterLevels...)
		if err != nil {
			return errors.Join(err, network.Close())
		}
		s.onEnd(func() error {
			c.Kill()
			return network.Close()
		})
		return c.repeated(func(c *clusterTrial, leader, _ int) error {
			began := time.Now()
			return c.out(func() error { return cut(network, leader) }, func() error {
				s.sleep(time.Until(began.Add(s.long(shortCut, cutFor))))
				return heal(network, leader)
			})
		})
	}
}

func unplug(n *cluster.Network, machine int) error { return n.Plug(machine, false) }
func plugIn(n *cluster.Network, machine int) error { return n.Plug(machine, true) }

// A wire that flaps is down and up for so long, and so often: about cutFor in all.
const (
	flapEvery = 2 * time.Second
	flaps     = 6
)

func flapping(s *sitting) error {
	return partitioned(func(n *cluster.Network, machine int) error {
		for i := range 2 * flaps {
			if err := n.Plug(machine, i%2 == 1); err != nil {
				return err
			}
			if !s.sleep(flapEvery) {
				return s.ctx.Err()
			}
		}
		return nil
	}, plugIn)(s)
}

// clusterPowerCut cuts the power of machines: log server, aggregator and both their folders.
func clusterPowerCut(all bool) func(s *sitting) error {
	return func(s *sitting) error {
		var disks []*powercut.Disk
		var dirs []string
		for range machines {
			d, err := s.newDisk()
			if err != nil {
				return err
			}
			disks, dirs = append(disks, d), append(dirs, filepath.Join(d.Mount, "machine"))
			if err := os.Mkdir(dirs[len(dirs)-1], 0o755); err != nil {
				return err
			}
		}
		c, err := s.newCluster(cluster.Config{Dirs: dirs}, clusterLevels...)
		if err != nil {
			return err
		}
		return c.repeated(func(c *clusterTrial, leader, _ int) error {
			v := leaderMachine(leader, 0)
			if all {
				v = everything(0, 0)
			}
			cut := func() error { return c.cutPower(v, disks) }
			if all {
				return c.out(func() error { return errors.Join(cut(), c.again(v)) }, func() error { return nil })
			}
			return c.out(cut, func() error { return c.again(v) })
		})
	}
}

// cutPower stops the machines' processes, cuts their disks, and mounts those again.
func (c *clusterTrial) cutPower(v victims, disks []*powercut.Disk) error {
	for _, p := range c.processes(v) {
		if err := powercut.Freeze(p.PID()); err != nil {
			return err
		}
	}
	var failures []error
	for _, i := range v.logs {
		failures = append(failures, disks[i].Cut())
	}
	kill(c.processes(v)...)
	for _, i := range v.logs {
		failures = append(failures, disks[i].Again())
	}
	return errors.Join(failures...)
}

// logDiskBytes is a disk that holds the log of a trial, and little more.
const logDiskBytes = "size=256m"

// onSmallDisks is newCluster whose machines have small disks.
func (s *sitting) onSmallDisks() (c *clusterTrial, dirs []string, err error) {
	if os.Getuid() != 0 {
		return nil, nil, skip("mounting a file system needs root")
	}
	for range machines {
		dir, err := s.folder()
		if err != nil {
			return nil, nil, err
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", logDiskBytes, "sekali", dir).CombinedOutput(); err != nil {
			return nil, nil, skip("mount -t tmpfs: %s", out)
		}
		s.onEnd(unmount(dir))
		dirs = append(dirs, dir)
	}
	c, err = s.newCluster(cluster.Config{Dirs: dirs}, clusterLevels...)
	return c, dirs, err
}

// fill lengthens a foreign file until the disk is full.
func fill(dir string) error {
	file, err := os.OpenFile(foreign(dir), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for err == nil {
		_, err = file.Write(zeros)
	}
	if errors.Is(err, syscall.ENOSPC) {
		err = nil
	}
	return errors.Join(err, file.Close())
}

func foreign(dir string) string { return filepath.Join(dir, "foreign") }

// logDiskFull fills the disk of one log server, which gives up, and makes room again.
func logDiskFull(s *sitting) error {
	c, dirs, err := s.onSmallDisks()
	if err != nil {
		return err
	}
	return c.repeated(func(c *clusterTrial, leader, round int) error {
		i := (leader + round) % machines
		return c.out(func() error {
			err := fill(dirs[i])
			c.givesUp(i)
			return err
		}, func() error {
			return errors.Join(os.Remove(foreign(dirs[i])), c.StartLog(c.Machines[i]), c.revive(i))
		})
	})
}

// givesUp waits until a log server whose disk is full has ended.
func (c *clusterTrial) givesUp(i int) {
	select {
	case <-c.Machines[i].Log.Exited():
	case <-time.After(outageWait):
		c.broken("the log server has not given up on a full disk within %v", outageWait)
	}
}

// fullFor is how long two disks are full once both log servers have given up: longer than a
// publisher waits for the log.
const fullFor = 15 * time.Second

// twoDisksFull fills the disks of the log's leader and of one more machine, so that no majority of
// the log is left, and makes room again. A supervisor starts what ends; nobody else does anything.
func twoDisksFull(s *sitting) error {
	c, dirs, err := s.onSmallDisks()
	if err != nil {
		return err
	}
	return c.repeated(func(c *clusterTrial, leader, round int) error {
		full := []int{leader, (leader + 1 + round%2) % machines}
		return c.out(func() error {
			for _, i := range full {
				if err := fill(dirs[i]); err != nil {
					return err
				}
			}
			for _, i := range full {
				c.givesUp(i)
			}
			c.struck()
			c.noneTakesMore(full, dirs)
			for _, i := range full {
				if err := os.Remove(foreign(dirs[i])); err != nil {
					return err
				}
			}
			c.struck()
			end := time.Now().Add(outageWait)
			return c.supervised(full, func() bool { return c.over() || time.Now().After(end) })
		}, func() error { return c.revive(full...) })
	})
}

// noneTakesMore holds the disks full for a while. No level that promises a second copy may be
// acknowledged meanwhile, and each node has to say why.
func (c *clusterTrial) noneTakesMore(full []int, dirs []string) {
	end := time.Now().Add(fullFor)
	_ = c.supervised(full, func() bool {
		for _, i := range full { // what a start has given back
			c.expect(fill(dirs[i]))
		}
		return time.Now().After(end)
	})
	for _, level := range survivors {
		if c.heardAgain(level) {
			c.broken("%s was acknowledged while the disks of two of three log servers were full", level)
		}
	}
	for i := range c.Machines {
		if said, ended := c.readyz(i); !ended && !strings.Contains(said, "no_quorum") && !strings.Contains(said, "disk_full") {
			c.broken("node-%d does not say what is wrong: %s", i+1, said)
		}
	}
}

// supervised starts again what ends, as a supervisor does, until over says so. What cannot start is
// tried again.
func (c *clusterTrial) supervised(full []int, over func() bool) error {
	for !over() {
		if !c.s.sleep(time.Second) {
			return c.s.ctx.Err()
		}
		for _, m := range c.Machines {
			select {
			case <-m.Log.Exited():
				_ = c.StartLog(m)
			default:
			}
		}
		_ = c.revive(full...)
	}
	return nil
}

// revive starts the aggregators that have ended. Those of machines whose disks are not full had no
// reason to.
func (c *clusterTrial) revive(full ...int) error {
	var failures []error
	for i, m := range c.Machines {
		select {
		case <-m.Node.Exited():
			if !slices.Contains(full, i) {
				said, _ := c.readyz(i)
				c.broken("node-%d, whose disk is not full, has %s", i+1, said)
			}
			failures = append(failures, c.StartUnready(m))
		default:
		}
	}
	return errors.Join(failures...)
}
