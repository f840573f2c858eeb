package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"sekali/bench/internal/audit"
	"sekali/bench/record"
	"sekali/bench/system/cluster"
	"sekali/bench/system/process"
)

const (
	// machines of a cluster, each with a log server and an aggregator.
	machines = 3
	// clusterPause keeps what is read back of three replicas small, and is fine enough for outages.
	clusterPause = 30 * time.Millisecond
	// clusterTimeout is over the 10 s that a node waits for a quorum.
	clusterTimeout = 13 * time.Second
	// outageWait bounds the time until all levels are acknowledged again. An isolated leader may stay
	// one for 20 s.
	outageWait = 60 * time.Second
	// healWait bounds the time until nothing is wrong any more: log servers catch up.
	healWait = 90 * time.Second
	// caughtWait bounds the time until a control is found.
	caughtWait = 60 * time.Second
)

// clusterLevels are the levels that promise to survive a kill.
var clusterLevels = []string{"journal", "replicated", "store"}

// survivors are those that promise to survive the loss of a machine.
var survivors = []string{"replicated", "store"}

// clusterTrial is the life of a cluster.
type clusterTrial struct {
	*trial
	*cluster.Cluster
	client *http.Client
	astray bool // an aggregator has started with a wrong clock, and dates events by it
}

// haveLogServer skips what cannot be tried without log servers.
func (s *sitting) haveLogServer() error {
	if _, err := os.Stat(s.LogServer); err != nil {
		return skip("%s is not built: make log", s.LogServer)
	}
	return nil
}

// newCluster starts one. The zero config is three machines on the loopback.
func (s *sitting) newCluster(config cluster.Config, levels ...string) (*clusterTrial, error) {
	if err := s.haveLogServer(); err != nil {
		return nil, err
	}
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	config.Dir, config.LogServer, config.Aggregator, config.Nodes = dir, s.LogServer, s.Aggregator, machines
	config.Log = func(string) io.Writer { return &processLog{to: s.Log} }
	t, err := s.newTrial(dir, levels...)
	if err != nil {
		return nil, err
	}
	c, err := cluster.Start(s.ctx, config)
	if err != nil {
		return nil, err
	}
	s.onEnd(func() error { c.Kill(); return nil })
	t.publishers, t.pause, t.timeout = machines*len(levels), clusterPause, clusterTimeout
	t.others = c.URLs()[1:]
	return &clusterTrial{trial: t, Cluster: c, client: newClient(machines)}, nil
}

// loaded runs what befalls the cluster while publishers load it, and stops them.
func (c *clusterTrial) loaded(befall func() error) error {
	ended, loading := make(chan struct{}), make(chan error, 1)
	go func() { loading <- c.load(c.Machines[0].URL, ended) }()
	c.s.sleep(time.Second)
	err := befall()
	if err == nil {
		c.s.sleep(settle)
	}
	close(ended)
	return errors.Join(err, <-loading)
}

// out does what takes the log or a node away, waits until every level is acknowledged again, and
// has it healed. It records what was heard at each level, from the fault until nothing is wrong any
// more.
func (c *clusterTrial) out(fault, heal func() error) error {
	c.measure()
	if err := fault(); err != nil {
		return err
	}
	c.struck()
	c.injected()
	for end := time.Now().Add(outageWait); !c.over(); {
		if time.Now().After(end) {
			c.broken("not every level was acknowledged again within %v", outageWait)
			break
		}
		if !c.s.sleep(pollPeriod) {
			return c.s.ctx.Err()
		}
	}
	c.s.sleep(settle)
	if err := heal(); err != nil {
		return err
	}
	c.mended()
	if err := c.healthy(); err != nil {
		return err
	}
	c.measured()
	return nil
}

// healthy waits until an operator would find nothing wrong.
func (c *clusterTrial) healthy() error {
	for end := time.Now().Add(healWait); ; {
		out, err := c.command("cluster", "status", "-cluster", c.LogURLs())
		if err == nil && c.allReady() {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not healed within %v: %s", healWait, out)
		}
		if !c.s.sleep(200 * time.Millisecond) {
			return c.s.ctx.Err()
		}
	}
}

func (c *clusterTrial) allReady() bool {
	for i := range c.Machines {
		if !c.node(i).isReady() {
			return false
		}
	}
	return true
}

// command runs one of the program's.
func (c *clusterTrial) command(args ...string) (said string, err error) {
	out, err := exec.CommandContext(c.s.ctx, c.s.Aggregator, args...).CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// operate is command that must succeed.
func (c *clusterTrial) operate(args ...string) error {
	if said, err := c.command(args...); err != nil {
		return fmt.Errorf("aggregator %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

// node is a machine's aggregator.
func (c *clusterTrial) node(i int) *aggregator {
	return &aggregator{Process: c.Machines[i].Node, client: c.client}
}

// clusterStats is what is read of /stats.
type clusterStats struct {
	audit.Told
	LastSeq int64 `json:"last_seq"`
	Cluster struct {
		Epoch     uint64   `json:"epoch"`
		Position  uint64   `json:"position"`
		Hash      string   `json:"hash"`
		LogLeader string   `json:"log_leader"`
		Unlogged  int      `json:"unlogged_frames"`
		Faults    []string `json:"faults"`
	} `json:"cluster"`
}

func (c *clusterTrial) statsOf(i int) (s clusterStats, err error) {
	body, err := c.node(i).get("/stats", "application/json")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// leader is the machine whose log server leads the log.
func (c *clusterTrial) leader() (int, error) {
	for end := time.Now().Add(healWait); time.Now().Before(end) && c.s.ctx.Err() == nil; c.s.sleep(100 * time.Millisecond) {
		for i := range c.Machines {
			now, err := c.statsOf(i)
			for k, m := range c.Machines {
				if err == nil && strings.HasPrefix(now.Cluster.LogLeader, m.LogName+"-") {
					return k, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("the log has had no leader for %v", healWait)
}

// kill ends processes with SIGKILL.
func kill(processes ...*process.Process) {
	for _, p := range processes {
		p.Kill()
	}
	for _, p := range processes {
		<-p.Exited()
	}
}

// level waits until all replicas are at one position with nothing on its way, and are still there a
// moment later.
func (c *clusterTrial) level() (last []clusterStats, err error) {
	same := 0
	for end := time.Now().Add(healWait); ; {
		all, level := []clusterStats{}, true
		for i := range c.Machines {
			now, err := c.statsOf(i)
			all = append(all, now)
			level = level && err == nil && now.QueueDepth == 0 && now.Cluster.Unlogged == 0 && now.Cluster.Position == all[0].Cluster.Position
		}
		if same++; !level || len(last) > 0 && last[0].Cluster.Position != all[0].Cluster.Position {
			same = 0
		}
		if last = all; same == 2 {
			return all, nil
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("the replicas have not come to one position within %v: %+v", healWait, all)
		}
		if !c.s.sleep(300 * time.Millisecond) {
			return nil, c.s.ctx.Err()
		}
	}
}

// audited holds all three replicas to each other, event by event, and records what they have.
func (c *clusterTrial) audited() error {
	places, err := c.level()
	if err != nil {
		return err
	}
	all := record.NewCollector(c.stream)
	replicas, digests := []audit.Replica{}, []*eventDigest{}
	for i, m := range c.Machines {
		events := audit.Export(c.s.ctx, c.client, m.URL, "", 0)
		if i == 0 {
			events = all.Tee(events)
		}
		d := &eventDigest{}
		replicas, digests = append(replicas, audit.Replica{Name: m.NodeName, Events: d.tee(events)}), append(digests, d)
	}
	checks, findings, err := audit.CompareReplicas(replicas)
	if err != nil {
		return err
	}
	for _, check := range checks {
		if !check.Held {
			c.broken("%v: %s", check, strings.Join(findings, "; "))
		}
	}
	if fault := digests[0].dated(c.began, time.Now()); fault != "" && !c.astray {
		c.broken("%s", fault)
	}
	stored, counters := all.Stored(false), places[0].Whole()
	look := record.Look{End: record.Shown, Stored: &stored, Counters: &counters}
	for i, p := range places {
		look.Replicas = append(look.Replicas, record.Replica{Name: c.Machines[i].NodeName, Epoch: p.Cluster.Epoch, Position: p.Cluster.Position,
			Hash: p.Cluster.Hash, LastSeq: p.LastSeq, Events: digests[i].events, SHA256: digests[i].sum()})
	}
	c.record.Looks = append(c.record.Looks, look)
	return nil
}

// auditedAndStopped is the end of most trials.
func (c *clusterTrial) auditedAndStopped() error {
	if err := c.audited(); err != nil {
		return err
	}
	c.expect(c.Stop())
	for _, m := range c.Machines {
		c.expect(c.s.check(m.NodeConfig.Data))
	}
	c.end()
	return nil
}

// ended is the end of a trial, with why it came to none: the cluster has not healed, or an
// operator's command has failed. That is a promise that was not kept, and the kind has a row that
// says so. Only if the sitting is to end it has none.
func (c *clusterTrial) ended(why error) error {
	if why == nil || c.s.ctx.Err() != nil {
		return why
	}
	c.Kill()
	c.broken("%v", why)
	c.end()
	return nil
}

// eventDigest is a sum over events, each with all that it has.
type eventDigest struct {
	events      uint64
	first, last []byte // received_at, which never falls
	state       []byte
}

// dateSlack is by how much an event may be dated before or after it was sent.
const dateSlack = time.Minute

// dated says what is wrong with when events were received; "": nothing is.
func (d *eventDigest) dated(from, to time.Time) string {
	if d.events == 0 {
		return ""
	}
	for _, text := range [][]byte{d.first, d.last} {
		at, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil || at.Before(from.Add(-dateSlack)) || at.After(to.Add(dateSlack)) {
			return fmt.Sprintf("an event was received at %s, of a trial from %v to %v", text, from.UTC(), to.UTC())
		}
	}
	return ""
}

func (d *eventDigest) tee(events iter.Seq2[*audit.Event, error]) iter.Seq2[*audit.Event, error] {
	hash := sha256.New()
	return func(yield func(*audit.Event, error) bool) {
		for e, err := range events {
			if err == nil {
				if d.events++; d.first == nil {
					d.first = bytes.Clone(e.ReceivedAt)
				}
				d.last = append(d.last[:0], e.ReceivedAt...)
				var line []byte
				line = binary.LittleEndian.AppendUint64(line, uint64(e.Seq))
				for _, field := range [][]byte{e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload, e.ReceivedAt} {
					line = append(binary.LittleEndian.AppendUint64(line, uint64(len(field))), field...)
				}
				hash.Write(line)
			}
			if !yield(e, err) {
				break
			}
		}
		d.state = hash.Sum(nil)
	}
}

func (d *eventDigest) sum() string { return hex.EncodeToString(d.state) }

// refused notes that a control was found by a start that fails. Another reason than one with one of
// the words is a broken promise.
func (c *clusterTrial) refused(why error, words ...string) {
	if !c.found(why.Error(), words) {
		c.broken("it did not start, and does not say %q: %v", words, why)
	}
}

// caught waits until a node says that something is wrong, in a text that has one of the words. That
// it has ended is no such text: what it said last may be one.
func (c *clusterTrial) caught(i int, words ...string) {
	said, ended := "", false
	for end := time.Now().Add(caughtWait); !ended && time.Now().Before(end); {
		said, ended = c.readyz(i)
		if c.found(said, words) || !ended && !c.s.sleep(100*time.Millisecond) {
			return
		}
	}
	c.broken("node-%d does not say %q within %v: %s", i+1, words, caughtWait, said)
}

// found notes a text by which a control is found, if it has one of the words.
func (c *clusterTrial) found(text string, words []string) bool {
	has := slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
	if has {
		c.record.Caught = append(c.record.Caught, text)
	}
	return has
}

// readyz is what a node says of itself, or how it has ended, with its last words.
func (c *clusterTrial) readyz(i int) (said string, ended bool) {
	node := c.Machines[i].Node
	select {
	case <-node.Exited():
		_, err := node.Stop(context.Background())
		return fmt.Sprintf("ended: %v", err), true
	default:
	}
	_, err := c.node(i).get("/readyz", "*/*")
	return fmt.Sprint(err), false
}
