package faults

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sekali/bench/record"
	"sekali/bench/system/cluster"
	"sekali/bench/system/powercut"
)

// odd is the machine whose aggregator a control makes differ.
const odd = 1

// eachControl has something befall a cluster of its own each time, under load, and ends it at once:
// a control promises nothing of what is stored.
func (s *sitting) eachControl(befall func(c *clusterTrial) error) error {
	for range s.times() {
		c, err := s.newCluster(cluster.Config{}, clusterLevels...)
		if err != nil {
			return err
		}
		if err = c.loaded(func() error { return befall(c) }); err == nil {
			c.Kill()
			c.end()
		}
		if err = c.ended(err); err != nil {
			return err
		}
	}
	return nil
}

// diverged are the words of a replica that has found itself different.
var diverged = []string{"halted", "diverged"}

// oddReplica changes the database of one replica while it is stopped, under load, and waits until
// it is found. The statements are what a bug or a person would have left.
func oddReplica(statements ...string) func(s *sitting) error {
	return func(s *sitting) error {
		return s.eachControl(func(c *clusterTrial) error {
			m := c.Machines[odd]
			kill(m.Node)
			if err := s.change(m.NodeConfig.Data, statements...); err != nil {
				return err
			}
			c.injected()
			if err := c.StartUnready(m); err != nil { // it does not start on that, and has to say why
				c.refused(err, diverged...)
				return nil
			}
			c.caught(odd, diverged...)
			return nil
		})
	}
}

// triggered puts a trigger into the database of one replica that runs.
func triggered(s *sitting) error {
	return s.eachControl(func(c *clusterTrial) error {
		c.injected()
		err := s.change(c.Machines[odd].NodeConfig.Data, "CREATE TRIGGER refuse BEFORE INSERT ON blocks BEGIN SELECT RAISE(ABORT, 'no'); END")
		if err == nil {
			c.caught(odd, "halted") // it ends, and says so
		}
		return err
	})
}

// change runs statements in a data folder's database.
func (s *sitting) change(data string, statements ...string) error {
	db, err := s.openDatabase(data)
	if err != nil {
		return err
	}
	for _, statement := range append([]string{"PRAGMA busy_timeout=10000"}, statements...) {
		if _, err := db.Exec(statement); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", statement, err), db.Close())
		}
	}
	return db.Close()
}

// logOf is a client of the log, and the log's stream of the first epoch.
func (c *clusterTrial) logOf() (js jetstream.JetStream, config jetstream.StreamConfig, err error) {
	conn, err := nats.Connect(c.LogURLs())
	if err != nil {
		return nil, config, err
	}
	c.s.onEnd(func() error { conn.Close(); return nil })
	if js, err = jetstream.New(conn); err != nil {
		return nil, config, err
	}
	stream, err := js.Stream(c.s.ctx, logStream)
	if err != nil {
		return nil, config, err
	}
	return js, stream.CachedInfo().Config, nil
}

// logStream is the log's name in its first epoch.
const logStream = "SEKALI_1"

// discardsOld lets an operator set the log to drop old messages.
func discardsOld(s *sitting) error {
	return s.eachControl(func(c *clusterTrial) error {
		js, config, err := c.logOf()
		if err != nil {
			return err
		}
		config.Discard = jetstream.DiscardOld
		if _, err := js.UpdateStream(s.ctx, config); err != nil {
			return err
		}
		c.injected()
		c.caught(odd, "discards old messages")
		return nil
	})
}

// lazySync has the log servers sync now and then, as JetStream does by default.
func lazySync(s *sitting) error {
	for range s.times() {
		if err := s.syncLazily(); err != nil {
			return err
		}
	}
	return nil
}

func (s *sitting) syncLazily() error {
	if err := s.haveLogServer(); err != nil {
		return err
	}
	dir, err := s.folder()
	if err != nil {
		return err
	}
	t, err := s.newTrial(dir, survivors...)
	if err != nil {
		return err
	}
	logs, err := cluster.StartLogs(s.ctx, cluster.Config{Dir: dir, LogServer: s.LogServer, LazySync: true,
		Aggregator: s.Aggregator, Nodes: machines, Log: func(string) io.Writer { return &processLog{to: s.Log} }})
	if err != nil {
		return err
	}
	s.onEnd(func() error { logs.Kill(); return nil })
	c := &clusterTrial{trial: t, Cluster: logs, client: newClient(machines)}
	for _, m := range c.Machines {
		if err := c.StartUnready(m); err != nil {
			return err
		}
	}
	c.injected()
	c.publishers, c.timeout, c.pause, c.others = machines*len(survivors), clusterTimeout, clusterPause, c.URLs()[1:]
	err = c.loaded(func() error {
		c.caught(0, "answers before it has synced")
		s.sleep(time.Second)
		return nil
	})
	if n := c.acknowledged(); n > 0 {
		c.broken("%d requests were acknowledged over a log that does not sync", n)
	}
	c.Kill()
	if err == nil {
		c.end()
	}
	return err
}

// machineLost has a machine acknowledge while the other two aggregators are down, and takes it
// away with its disks. With three copies of the log the others have all of it. With one, which is
// the control, it is gone.
func machineLost(copies int) func(s *sitting) error {
	return func(s *sitting) error {
		for range s.times() {
			c, err := s.newCluster(cluster.Config{Replicas: copies}, survivors...)
			if err == nil {
				err = c.ended(c.loseMachine(copies))
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *clusterTrial) loseMachine(copies int) error {
	lost, err := c.leader()
	if err != nil {
		return err
	}
	m, rest := c.Machines[lost], []int{(lost + 1) % machines, (lost + 2) % machines}
	before, alone := c.others, m.URL
	c.others, c.record.Levels = nil, survivors
	if err := c.loadFor(alone, time.Second); err != nil {
		return err
	}
	kill(c.Machines[rest[0]].Node, c.Machines[rest[1]].Node)
	if err := c.loadFor(alone, time.Second); err != nil { // nobody else applies it
		return err
	}
	kill(m.Log, m.Node)
	c.injected()
	if err := errors.Join(os.RemoveAll(m.LogDir), os.RemoveAll(m.NodeConfig.Data)); err != nil {
		return err
	}
	for _, i := range rest {
		if err := c.StartUnready(c.Machines[i]); err != nil {
			return err
		}
	}
	c.others = before
	if copies == 1 {
		c.s.sleep(10 * time.Second) // a log of three copies would have been read by now
		stored, err := c.node(rest[0]).export(c.trial.stream)
		if err != nil {
			return err
		}
		c.record.Looks = append(c.record.Looks, record.Look{End: record.Shown, Stored: stored})
		c.Kill()
		c.end()
		return nil
	}
	if err := c.replaceLog(lost); err != nil {
		return err
	}
	if err := c.joinAgain(lost, rest[0]); err != nil {
		return err
	}
	if err := c.healthy(); err != nil {
		return err
	}
	if err := c.loadFor(c.Machines[0].URL, time.Second); err != nil {
		return err
	}
	return c.auditedAndStopped()
}

// replaceLog starts a log server whose folder is lost as a new one in its place.
func (c *clusterTrial) replaceLog(i int) error {
	return c.StartLogWith(c.Machines[i], "-replace")
}

// joinAgain makes a node whose aggregator has ended from a copy of another's store.
func (c *clusterTrial) joinAgain(i, from int) error {
	copied := filepath.Join(c.s.dir, fmt.Sprintf("copy-%d.db", time.Now().UnixNano()))
	if err := c.operate("backup", "-data", c.Machines[from].NodeConfig.Data, "-to", copied); err != nil {
		return err
	}
	// A log that has just lost a server elects for some seconds, and takes the lost one out meanwhile:
	// as an operator would, it is tried again.
	var err error
	for range joinTries {
		if err = c.operate("cluster", "join", "-cluster", c.LogURLs(), "-data", c.Machines[i].NodeConfig.Data, "-from", copied); err == nil {
			break
		}
	}
	return errors.Join(err, c.StartUnready(c.Machines[i]))
}

// joinTries bounds how often a join is tried, which waits for the log itself each time.
const joinTries = 4

// streamLost has an operator delete the log's stream and make it anew. Every node has to halt; then
// a new epoch begins with the furthest replica.
func streamLost(s *sitting) error {
	return s.eachCluster(clusterLevels, func(c *clusterTrial) error {
		js, config, err := c.logOf()
		if err == nil {
			err = js.DeleteStream(s.ctx, logStream)
		}
		if err == nil {
			_, err = js.CreateStream(s.ctx, config)
		}
		c.injected()
		for i := range c.Machines {
			c.awaitHalt(i)
		}
		return err
	}, func(c *clusterTrial) error {
		if err := c.newEpoch(); err != nil {
			return err
		}
		return c.loadFor(c.Machines[0].URL, time.Second)
	})
}

// awaitHalt notes a promise broken if a node does not halt.
func (c *clusterTrial) awaitHalt(i int) {
	said := ""
	for end := time.Now().Add(caughtWait); time.Now().Before(end) && c.s.sleep(100*time.Millisecond); {
		if said, _ = c.readyz(i); strings.Contains(said, "halted") {
			return
		}
	}
	c.broken("node-%d has not halted within %v: %s", i+1, caughtWait, said)
}

// newEpoch stops all aggregators and begins the log anew with the furthest replica.
func (c *clusterTrial) newEpoch() error {
	furthest, best := 0, uint64(0)
	for i := range c.Machines {
		now, err := c.statsOf(i)
		if err != nil {
			return err
		}
		if now.Cluster.Position > best {
			furthest, best = i, now.Cluster.Position
		}
	}
	for _, m := range c.Machines {
		kill(m.Node)
	}
	epoch := []string{"cluster", "new-epoch", "-cluster", c.LogURLs(), "-data"}
	if err := c.operate(append(epoch, c.Machines[furthest].NodeConfig.Data, "-begin", "-nodes", c.NodeNames())...); err != nil {
		return err
	}
	if err := c.StartUnready(c.Machines[furthest]); err != nil {
		return err
	}
	for i, m := range c.Machines {
		if i == furthest {
			continue
		}
		if _, err := c.command(append(epoch, m.NodeConfig.Data)...); err == nil {
			if err := c.StartUnready(m); err != nil {
				return err
			}
			continue
		}
		if err := c.joinAgain(i, furthest); err != nil { // it was behind
			return err
		}
	}
	return c.healthy()
}

// purged has an operator purge the log while one node does not read it. That node has to halt, and
// is made from a copy of another.
func purged(s *sitting) error {
	return s.eachCluster(clusterLevels, func(c *clusterTrial) error {
		js, _, err := c.logOf()
		if err != nil {
			return err
		}
		before, err := c.statsOf(odd)
		if err != nil {
			return err
		}
		if err := powercut.Freeze(c.node(odd).PID()); err != nil {
			return err
		}
		through, err := c.passed(before.Cluster.Position + onTheWay)
		if err != nil {
			return err
		}
		stream, err := js.Stream(s.ctx, logStream)
		if err != nil {
			return err
		}
		if err := stream.Purge(s.ctx, jetstream.WithPurgeSequence(through)); err != nil {
			return err
		}
		c.injected()
		if err := c.node(odd).Signal(syscall.SIGCONT); err != nil {
			return err
		}
		c.awaitHalt(odd)
		kill(c.Machines[odd].Node)
		if err := c.joinAgain(odd, 0); err != nil {
			return err
		}
		return c.healthy()
	}, nil)
}

// onTheWay is more than what a node that is stopped has been sent and has yet to read: 256 messages
// that it has asked for, and what waits for its store.
const onTheWay = 600

// passed waits until the other two nodes have applied the log up to a position, and returns how far
// both are.
func (c *clusterTrial) passed(position uint64) (through uint64, err error) {
	for end := time.Now().Add(healWait); time.Now().Before(end) && c.s.sleep(100*time.Millisecond); {
		first, err := c.statsOf(0)
		if err != nil {
			return 0, err
		}
		third, err := c.statsOf(2)
		if err != nil {
			return 0, err
		}
		if through = min(first.Cluster.Position, third.Cluster.Position); through >= position {
			return through, nil
		}
	}
	return 0, fmt.Errorf("the others have not come to %d within %v: they are at %d", position, healWait, through)
}

// logWiped takes the folder of one log server under load, which comes back as a new one.
func logWiped(s *sitting) error {
	return s.inCluster(func(c *clusterTrial, leader, round int) error {
		i := (leader + round) % machines
		return c.out(func() error {
			kill(c.Machines[i].Log)
			return os.RemoveAll(c.Machines[i].LogDir)
		}, func() error { return c.replaceLog(i) })
	})
}

// logFlipped flips a bit in the files of a killed log server, the leader's and a follower's in
// turn: in the messages, or in the log by which the servers agree on them.
func logFlipped(s *sitting) error {
	return s.inCluster(func(c *clusterTrial, leader, round int) error {
		m := c.Machines[(leader+round%2)%machines]
		return c.out(func() error {
			kill(m.Log)
			return flipBlock(m.LogDir, round/2%2 == 1)
		}, func() error { return c.StartLog(m) })
	})
}

// flipBlock flips a bit in the longest block of messages of a log server. Agreed: of those that
// the servers agree by.
func flipBlock(dir string, agreed bool) error {
	var longest string
	var size int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" || strings.Contains(path, "_js_") != agreed {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > size {
			longest, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	content, err := os.ReadFile(longest) // "" is an error too
	if err != nil {
		return fmt.Errorf("no block of messages in %s: %w", dir, err)
	}
	return os.WriteFile(longest, flip(content), 0o600)
}

// folderCopied gives one node a copy of another's data folder, journal included, in place of its
// own. What only its own journal had is gone with it, so that the publishers want more.
func folderCopied(s *sitting) error {
	return s.eachCluster(survivors, func(c *clusterTrial) error {
		from, to := c.Machines[0], c.Machines[odd]
		kill(from.Node, to.Node)
		if err := os.RemoveAll(to.NodeConfig.Data); err != nil {
			return err
		}
		if err := os.CopyFS(to.NodeConfig.Data, os.DirFS(from.NodeConfig.Data)); err != nil {
			return err
		}
		c.injected()
		if err := errors.Join(c.StartUnready(from), c.StartUnready(to)); err != nil {
			return err
		}
		return c.healthy()
	}, nil)
}
