package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"sekali/bench/system/powercut"
)

// cutsVariable is how often each kind of power cut is made; 1 where it is not set.
const cutsVariable = "SEKALI_LOG_CUTS"

// newDisk makes and mounts one, until the test ends.
func newDisk(t *testing.T) *powercut.Disk {
	t.Helper()
	d, err := powercut.NewDisk(t.TempDir())
	if err != nil {
		t.Skip("skipped: ", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// powerCut cuts the power of some servers under load, and says what the replicas then lack.
type powerCut struct {
	victims int
	purge   bool // right before
	lazy    bool // the control
}

// fewest events that have to be acknowledged: fewer would show little.
const fewest = 50

func (p powerCut) run(t *testing.T) (faults []string, acknowledged int) {
	t.Helper()
	c := newCluster(t)
	var disks []*powercut.Disk
	for _, m := range c.servers {
		d := newDisk(t)
		disks = append(disks, d)
		m.dir, m.lazy = filepath.Join(d.Mount, "log"), p.lazy
	}
	c.extra = []string{"-store-bytes", strconv.Itoa(300 << 20)}
	c.startAll()
	defer func() {
		for _, m := range c.servers {
			m.end(syscall.SIGKILL)
		}
	}()
	nc, js, stream := c.ready()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending sync.WaitGroup
	senders := make([]*sender, 3)
	for i := range senders {
		sending.Go(func() { senders[i] = send(ctx, js, fmt.Sprintf("s%d", i), 4000) })
	}
	c.filled(stream, 2*fewest) // a busy machine takes its time
	time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
	leader := c.leader(stream)
	others := slices.DeleteFunc(slices.Clone(c.servers), func(m *member) bool { return m == leader })
	victims := append([]*member{leader}, others...)[:p.victims]
	var from uint64
	if p.purge {
		from = c.filled(stream, 0).State.LastSeq - 20
		if err := stream.Purge(ctx, jetstream.WithPurgeSequence(from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range victims {
		if err := powercut.Freeze(m.command.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	if len(victims) == 3 {
		stop() // what is sent from now on only tells of the time after
	}
	for _, m := range victims {
		if err := disks[slices.Index(c.servers, m)].Cut(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range victims {
		m.end(syscall.SIGKILL)
		if err := disks[slices.Index(c.servers, m)].Again(); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range victims {
		c.start(m)
	}
	for _, m := range victims {
		c.listening(m)
	}
	if p.lazy {
		return c.afterLoss(stop, &sending, senders)
	}
	c.healed(stream)
	time.Sleep(200 * time.Millisecond)
	stop()
	sending.Wait()
	for _, m := range c.servers {
		held := c.held(nc, stream, m)
		for _, s := range senders {
			for _, fault := range s.faults(held, from) {
				faults = append(faults, m.name+": "+s.name+": "+fault)
			}
		}
	}
	for _, s := range senders {
		acknowledged += len(s.acknowledged)
	}
	return faults, acknowledged
}

// afterLoss counts what a cluster has lost, of which even the stream may be gone.
func (c *cluster) afterLoss(stop func(), sending *sync.WaitGroup, senders []*sender) (faults []string, acknowledged int) {
	stop()
	sending.Wait()
	for _, s := range senders {
		acknowledged += len(s.acknowledged)
	}
	nc := c.connect()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	var last uint64
	for end := time.Now().Add(12 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		stream, err := js.Stream(ctx, "LOG")
		cancel()
		if err == nil {
			if info := c.info(stream); info != nil {
				last = info.State.LastSeq
				break
			}
		}
	}
	for _, s := range senders {
		for sequence := range s.acknowledged {
			if sequence > last {
				faults = append(faults, fmt.Sprintf("sequence %d is lost", sequence))
			}
		}
	}
	return faults, acknowledged
}

// TestPowerCut: what was acknowledged is there after the power of one, two or three machines is
// cut. The control, servers that sync now and then, has to lose.
func TestPowerCut(t *testing.T) {
	times, err := strconv.Atoi(os.Getenv(cutsVariable))
	if err != nil {
		times = 1
	}
	for _, kind := range []struct {
		name string
		powerCut
	}{
		{"leader", powerCut{victims: 1}},
		{"two", powerCut{victims: 2}},
		{"three", powerCut{victims: 3}},
		{"three, after a purge", powerCut{victims: 3, purge: true}},
		{"control, lazy", powerCut{victims: 3, lazy: true}},
	} {
		if testing.Short() && (kind.victims < 3 || kind.purge) {
			continue
		}
		for n := range times {
			t.Run(fmt.Sprintf("%s/%d", kind.name, n+1), func(t *testing.T) {
				t.Parallel()
				faults, acknowledged := kind.run(t)
				if kind.lazy != (len(faults) > 0) || acknowledged < fewest {
					t.Errorf("%d acknowledged, %d faults, the first: %.500q", acknowledged, len(faults), faults[:min(len(faults), 3)])
				}
				t.Logf("%d acknowledged, %d faults", acknowledged, len(faults))
			})
		}
	}
}
