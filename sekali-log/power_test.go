package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/nats-io/nats.go/jetstream"
)

// cutsVariable is how often each kind of power cut is made; 1 where it is not set.
const cutsVariable = "SEKALI_LOG_CUTS"

// disk is ext4 on a loop device, whose power can be cut.
type disk struct{ image, mount string }

func newDisk(t *testing.T) *disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("skipped: mounting a file system needs root")
	}
	dir := t.TempDir()
	d := &disk{filepath.Join(dir, "disk.ext4"), filepath.Join(dir, "disk")}
	if err := os.Mkdir(d.mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 512<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Skipf("skipped: mkfs.ext4: %v %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput(); err != nil {
		t.Skipf("skipped: mount -o loop: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return d
}

// cut ends the file system at once: nothing that is still in memory reaches the disk.
func (d *disk) cut(t *testing.T) {
	const shutdown, noLogFlush = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	dir, err := os.Open(d.mount)
	if err != nil {
		t.Error(err)
		return
	}
	defer dir.Close()
	how := noLogFlush
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Errorf("EXT4_IOC_SHUTDOWN: %v", errno)
	}
}

// again mounts it as a machine does that has its power back.
func (d *disk) again(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"umount", d.mount}, {"mount", "-o", "loop", d.image, d.mount}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
}

// freeze stops every thread of a process: power that is lost takes the processor with the disk, and
// nobody may be told of what is written after that.
func (m *member) freeze() {
	m.command.Process.Signal(syscall.SIGSTOP)
	for range 10_000 {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", m.command.Process.Pid))
		running := len(threads) == 0
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			_, rest, _ := bytes.Cut(stat, []byte(") "))
			running = running || err != nil || !bytes.HasPrefix(rest, []byte("T")) && !bytes.HasPrefix(rest, []byte("D"))
		}
		if !running {
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// powerCut cuts the power of some servers under load, and says what the replicas then lack.
type powerCut struct {
	victims int
	purge   bool // right before
	lazy    bool // the control
}

func (p powerCut) run(t *testing.T) (faults []string, acknowledged int) {
	t.Helper()
	c := newCluster(t)
	var disks []*disk
	for _, m := range c.servers {
		d := newDisk(t)
		disks = append(disks, d)
		m.dir, m.lazy = filepath.Join(d.mount, "log"), p.lazy
	}
	c.extra = []string{"-store-bytes", strconv.Itoa(300 << 20)}
	c.startAll()
	defer func() {
		for _, m := range c.servers {
			m.end(syscall.SIGKILL)
		}
	}()
	nc := c.connect()
	stream := c.stream(nc)
	c.healed(stream)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var sending sync.WaitGroup
	senders := make([]*sender, 3)
	for i := range senders {
		sending.Go(func() { senders[i] = send(ctx, js, fmt.Sprintf("s%d", i), 4000) })
	}
	time.Sleep(time.Duration(500+rand.IntN(1000)) * time.Millisecond)
	victims := append([]*member{c.leader(stream)}, others(c.servers, c.leader(stream))...)[:p.victims]
	var from uint64
	if p.purge {
		from = c.info(stream).State.LastSeq - 20
		if err := stream.Purge(ctx, jetstream.WithPurgeSequence(from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range victims {
		m.freeze()
	}
	if len(victims) == 3 {
		stop() // what is sent from now on only tells of the time after
	}
	for _, m := range victims {
		disks[index(c.servers, m)].cut(t)
	}
	for _, m := range victims {
		m.end(syscall.SIGKILL)
		disks[index(c.servers, m)].again(t)
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

func index(all []*member, one *member) int {
	for i, m := range all {
		if m == one {
			return i
		}
	}
	return -1
}

func others(all []*member, one *member) (rest []*member) {
	for _, m := range all {
		if m != one {
			rest = append(rest, m)
		}
	}
	return rest
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
				if kind.lazy != (len(faults) > 0) || acknowledged < 50 {
					t.Errorf("%d acknowledged, %d faults, the first: %.500q", acknowledged, len(faults), faults[:min(len(faults), 3)])
				}
				t.Logf("%d acknowledged, %d faults", acknowledged, len(faults))
			})
		}
	}
}
