package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sekali/bench/system/cluster"
	"sekali/bench/system/powercut"
)

// cutFor is how long a part of the network is away: longer than an isolated leader remains one.
const cutFor = 25 * time.Second

// partitioned cuts the network of one machine, that of the log's leader, and heals it. Each machine
// has a network namespace.
func partitioned(cut, heal func(n *cluster.Network, machine int) error) func(s *sitting) error {
	return func(s *sitting) error {
		network, err := cluster.NewNetwork(machines)
		if err != nil {
			return skip("%v", err)
		}
		c, err := s.newCluster(cluster.Config{Network: network}, clusterLevels...)
		if err != nil {
			return errors.Join(err, network.Close())
		}
		s.onEnd(func() {
			c.Kill()
			_ = network.Close()
		})
		return c.repeated(func(c *clusterTrial, leader, _ int) error {
			began := time.Now()
			return c.out(func() error { return cut(network, leader) }, func() error {
				s.sleep(time.Until(began.Add(cutFor)))
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

func flap(n *cluster.Network, machine int) error {
	for range flaps {
		for _, plugged := range []bool{false, true} {
			if err := n.Plug(machine, plugged); err != nil {
				return err
			}
			time.Sleep(flapEvery)
		}
	}
	return nil
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

// logDiskFull fills the disk of one log server, which gives up, and makes room again.
func logDiskFull(s *sitting) error {
	if os.Getuid() != 0 {
		return skip("mounting a file system needs root")
	}
	var dirs []string
	for range machines {
		dir, err := s.folder()
		if err != nil {
			return err
		}
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", logDiskBytes, "sekali", dir).CombinedOutput(); err != nil {
			return skip("mount -t tmpfs: %s", out)
		}
		s.onEnd(func() { _ = exec.Command("umount", dir).Run() })
		dirs = append(dirs, dir)
	}
	c, err := s.newCluster(cluster.Config{Dirs: dirs}, clusterLevels...)
	if err != nil {
		return err
	}
	return c.repeated(func(c *clusterTrial, leader, round int) error {
		i := (leader + round) % machines
		foreign := filepath.Join(dirs[i], "foreign")
		return c.out(func() error {
			_ = os.WriteFile(foreign, make([]byte, 256<<20), 0o600) // until the disk is full
			select {
			case <-c.Machines[i].Log.Exited():
			case <-time.After(outageWait):
				c.broken("the log server has not given up on a full disk within %v", outageWait)
			}
			return nil
		}, func() error {
			return errors.Join(os.Remove(foreign), c.StartLog(c.Machines[i]), c.revive())
		})
	})
}

// revive starts the aggregators that have ended.
func (c *clusterTrial) revive() error {
	var failures []error
	for _, m := range c.Machines {
		select {
		case <-m.Node.Exited():
			failures = append(failures, c.StartUnready(m))
		default:
		}
	}
	return errors.Join(failures...)
}
