package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// sender publishes numbers until it is stopped, each until it is acknowledged.
type sender struct {
	name         string
	acknowledged map[uint64]int // stream sequence to number
	attempts     []int          // of each number
	longest      time.Duration  // without an acknowledgement
}

// send publishes until ctx ends. A number without an answer is sent again: it may then be there
// twice.
func send(ctx context.Context, js jetstream.JetStream, name string, filler int) *sender {
	s := &sender{name: name, acknowledged: map[uint64]int{}}
	last := time.Now()
	for ctx.Err() == nil {
		number := len(s.attempts)
		s.attempts = append(s.attempts, 0)
		for ctx.Err() == nil {
			s.attempts[number]++
			trying, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			text := fmt.Sprintf("%s %d %s", name, number, strings.Repeat("x", filler))
			ack, err := js.Publish(trying, "log", []byte(text), jetstream.WithRetryAttempts(0))
			cancel()
			if err == nil {
				s.acknowledged[ack.Sequence] = number
				s.longest = max(s.longest, time.Since(last))
				last = time.Now()
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	s.longest = max(s.longest, time.Since(last))
	return s
}

// sending publishes until it is stopped.
func sending(t *testing.T, js jetstream.JetStream) (stop func() *sender) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan *sender)
	go func() { done <- send(ctx, js, "s", 100) }()
	return func() *sender {
		cancel()
		return <-done
	}
}

// faults compares what was acknowledged with what a replica holds, of which everything before the
// sequence from may have been purged.
func (s *sender) faults(held map[uint64]string, from uint64) (faults []string) {
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	copies, purged := make([]int, len(s.attempts)), make([]bool, len(s.attempts))
	for sequence, text := range held {
		var name string
		var number int
		if _, err := fmt.Sscanf(text, "%s %d", &name, &number); err != nil {
			add("sequence %d holds %.40q", sequence, text)
		} else if name == s.name && number < len(copies) {
			copies[number]++
		} else if name == s.name {
			add("number %d was never sent", number)
		}
	}
	for sequence, number := range s.acknowledged {
		if sequence < from {
			purged[number] = true
		} else if want := fmt.Sprintf("%s %d ", s.name, number); !strings.HasPrefix(held[sequence], want) {
			add("%q was acknowledged as sequence %d, which holds %.40q", want, sequence, held[sequence])
		}
	}
	for number, n := range copies {
		if n > s.attempts[number] || n < 1 && number < len(copies)-1 && !purged[number] {
			add("number %d is there %d times, and was sent %d times", number, n, s.attempts[number])
		}
	}
	return faults
}

// check fails for every fault in what a replica holds.
func (s *sender) check(t *testing.T, who string, held map[uint64]string, from uint64) {
	t.Helper()
	for i, fault := range s.faults(held, from) {
		if i == 5 {
			t.Errorf("%s: and more", who)
			return
		}
		t.Errorf("%s: %s: %s", who, s.name, fault)
	}
}

// held reads the stream from a server, which is made its leader for that.
func (c *cluster) held(nc *nats.Conn, stream jetstream.Stream, m *member) map[uint64]string {
	c.t.Helper()
	c.within(40*time.Second, m.name+" leads", func() bool {
		info := c.info(stream)
		if info != nil && info.Cluster.Leader == m.identityNow() {
			return true
		}
		request, _ := json.Marshal(map[string]any{"placement": map[string]string{"preferred": m.identityNow()}})
		nc.Request("$JS.API.STREAM.LEADER.STEPDOWN.LOG", request, 2*time.Second)
		time.Sleep(500 * time.Millisecond)
		return false
	})
	info := c.healed(stream)
	held := map[uint64]string{}
	for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq; sequence++ {
		// The stream allows direct answers by any replica; this question is only the leader's.
		request, _ := json.Marshal(map[string]uint64{"seq": sequence})
		var answer *nats.Msg
		var err error
		for range 5 { // the leader may change where the machine is busy
			if answer, err = nc.Request("$JS.API.STREAM.MSG.GET.LOG", request, 5*time.Second); err == nil {
				break
			}
		}
		if err != nil {
			c.t.Fatal(err)
		}
		var got struct {
			Message struct{ Data []byte }
			Error   *jetstream.APIError
		}
		if err := json.Unmarshal(answer.Data, &got); err != nil || got.Error != nil {
			c.t.Fatalf("sequence %d: %v, %v", sequence, err, got.Error)
		}
		held[sequence] = string(got.Message.Data)
	}
	return held
}

// electionBound is CLUSTER's 4 to 9 s with as much again for two slow cores.
const electionBound = 15 * time.Second

// TestLeaderKilled: what was acknowledged before and after is in all three logs, at its sequence.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	c := newCluster(t).startAll()
	nc, js, stream := c.ready()
	stop := sending(t, js)
	time.Sleep(time.Second)
	before := c.filled(stream, 0).State.Msgs
	victim := c.leader(stream)
	killed := time.Now()
	victim.end(syscall.SIGKILL)
	c.within(electionBound, "an acknowledgement by the other two", func() bool {
		info := c.info(stream)
		return info != nil && info.Cluster.Leader != victim.identityNow() && info.State.Msgs > before+50
	})
	t.Logf("acknowledged again within %v", time.Since(killed).Round(time.Millisecond))
	c.start(victim)
	c.listening(victim)
	c.healed(stream)
	sent := stop()
	if len(sent.acknowledged) < 100 || sent.longest > electionBound {
		t.Errorf("%d acknowledged, the longest pause was %v", len(sent.acknowledged), sent.longest)
	}
	t.Logf("%d acknowledged, the longest pause was %v", len(sent.acknowledged), sent.longest.Round(time.Millisecond))
	for _, m := range c.servers {
		sent.check(t, m.name, c.held(nc, stream, m), 0)
	}
}

// TestFaultsAreFound is the control of faults: what is lost, changed or doubled is found.
func TestFaultsAreFound(t *testing.T) {
	sent := sender{name: "s", acknowledged: map[uint64]int{1: 0, 2: 1, 3: 2}, attempts: []int{1, 1, 1}}
	for name, c := range map[string]struct {
		spoil func(held map[uint64]string)
		from  uint64
		found int
	}{
		"whole":           {func(map[uint64]string) {}, 0, 0},
		"purged":          {func(h map[uint64]string) { delete(h, 1) }, 2, 0},
		"purged, beyond":  {func(h map[uint64]string) { delete(h, 1); delete(h, 2) }, 2, 2},
		"lost":            {func(h map[uint64]string) { delete(h, 2) }, 0, 2},
		"lost at the end": {func(h map[uint64]string) { delete(h, 3) }, 0, 1},
		"changed":         {func(h map[uint64]string) { h[2] = "s 0 " }, 0, 3},
		"doubled":         {func(h map[uint64]string) { h[4] = "s 2 " }, 0, 1},
		"foreign":         {func(h map[uint64]string) { h[4] = "s 7 " }, 0, 1},
	} {
		held := map[uint64]string{1: "s 0 ", 2: "s 1 ", 3: "s 2 "}
		c.spoil(held)
		if found := sent.faults(held, c.from); len(found) != c.found {
			t.Errorf("%s: %q", name, found)
		}
	}
}

// TestGracefulStop: a leader that is asked to stop hands over, and nobody waits for an election.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	c := newCluster(t).startAll()
	_, js, stream := c.ready()
	stop := sending(t, js)
	time.Sleep(500 * time.Millisecond)
	asked := time.Now()
	code := c.leader(stream).end(syscall.SIGTERM)
	took := time.Since(asked)
	time.Sleep(500 * time.Millisecond)
	sent := stop()
	if code != 0 || took > 15*time.Second || sent.longest > 3*time.Second {
		t.Errorf("exit code %d after %v, the longest pause was %v", code, took, sent.longest)
	}
	t.Logf("stopped in %v, the longest pause was %v", took.Round(time.Millisecond), sent.longest.Round(time.Millisecond))
}

// syncing asks every server, over the connection that an aggregator has, whether it syncs always.
func (c *cluster) syncing(nc *nats.Conn) map[string]bool {
	c.t.Helper()
	inbox := nats.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answers.Unsubscribe()
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", inbox, nil); err != nil {
		c.t.Fatal(err)
	}
	syncing := map[string]bool{}
	for end := time.Now().Add(2 * time.Second); len(syncing) < 3; {
		message, err := answers.NextMsg(time.Until(end))
		if err != nil {
			break
		}
		var answer struct {
			Server struct{ Name string }
			Data   struct {
				Jetstream struct {
					Config struct {
						SyncAlways bool `json:"sync_always"`
					}
				}
			}
		}
		if err := json.Unmarshal(message.Data, &answer); err != nil {
			c.t.Fatal(err)
		}
		syncing[answer.Server.Name] = answer.Data.Jetstream.Config.SyncAlways
	}
	return syncing
}

// TestSyncIsSeen: from outside, on one connection; and a server that does not sync is seen, too.
func TestSyncIsSeen(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.servers[1].lazy = true
	c.startAll()
	nc := c.connect()
	c.stream(nc)
	var seen map[string]bool
	c.within(20*time.Second, "answers of three servers", func() bool { seen = c.syncing(nc); return len(seen) == 3 })
	for _, m := range c.servers {
		if seen[m.identityNow()] == m.lazy {
			t.Errorf("%s: lazy %t, seen as %v", m.name, m.lazy, seen)
		}
	}
}

// TestEmptyFolder: under an old name it is refused; with -replace it becomes another server, which
// gets its copy of the stream, and the lost one is taken out.
func TestEmptyFolder(t *testing.T) {
	t.Parallel()
	c := newCluster(t).startAll()
	nc, js, stream := c.ready()
	stop := sending(t, js)
	time.Sleep(500 * time.Millisecond)
	lost := c.servers[2]
	lostName := lost.identityNow()
	lost.end(syscall.SIGKILL)
	lost.dir = t.TempDir()
	c.start(lost)
	<-lost.exited
	if code := lost.command.ProcessState.ExitCode(); code != 2 || !lost.says("start once with -replace") {
		t.Errorf("an empty folder: exit code %d", code)
	}
	c.start(lost, "-replace")
	c.listening(lost)
	c.within(60*time.Second, "the lost server is taken out", func() bool { return lost.says("took the place of a lost server") })
	newName := lost.identityNow()
	var info *jetstream.StreamInfo
	c.within(60*time.Second, "the new server has the stream", func() bool {
		info = c.healed(stream)
		return slices.Contains([]string{info.Cluster.Leader, info.Cluster.Replicas[0].Name, info.Cluster.Replicas[1].Name}, newName)
	})
	sent := stop()
	for _, m := range c.servers {
		sent.check(t, m.name, c.held(nc, stream, m), 0)
	}
	system := c.connect(nats.UserInfo(systemUser, systemUser))
	peers, _ := members(system)
	if len(peers) != 3 {
		t.Errorf("members: %v", peers)
	}
	for _, p := range peers {
		if p.Name == lostName || p.ID == peerID(lostName) {
			t.Errorf("the lost server %s is still a member", lostName)
		}
	}
}

// TestReplaceWaits: while most of the servers are away, the place of a lost one cannot be taken.
// That is said, with what to do, and it is taken once they are back.
func TestReplaceWaits(t *testing.T) {
	t.Parallel()
	c := newCluster(t).startAll()
	c.ready()
	away, lost := c.servers[1], c.servers[2]
	away.end(syscall.SIGKILL)
	lost.end(syscall.SIGKILL)
	lost.dir = t.TempDir()
	c.start(lost, "-replace")
	c.within(joinTimeout+firstSays+15*time.Second, "it says that it waits", func() bool {
		return lost.says("-replace has not taken out a lost server yet")
	})
	if lost.says("going on as a new one") {
		t.Error("it says that it is a new one")
	}
	c.start(away)
	c.within(90*time.Second, "the lost server is taken out", func() bool { return lost.says("took the place of a lost server") })
}

// TestStaggeredStart: the first servers of a new cluster do not come at one moment, and need not
// wait for what only an old one could say.
func TestStaggeredStart(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, m := range c.servers {
		c.start(m)
		started := time.Now()
		c.listening(m)
		if took := time.Since(started); took > joinTimeout/2 {
			t.Errorf("%s listened after %v", m.name, took)
		}
	}
	c.healed(c.stream(c.connect()))
}
