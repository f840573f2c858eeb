package integration_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
	"sekali/bench/result"
)

// TestFaultKill kills the aggregator at random moments, again and again on one folder.
func TestFaultKill(t *testing.T) {
	f := result.Fault{Fault: "SIGKILL at a random moment", Promise: result.NothingLost, Times: times(5, 200)}
	data := dataFolder(t)
	p := newPool(data)
	p.pause = pause
	for range f.Times {
		a := restart(t, data, &f)
		time.AfterFunc(time.Duration(20+rand.IntN(300))*time.Millisecond, a.kill)
		p.load(t, a.URL, a.Exited())
	}
	p.audit(t, start(t, data), &f)
	record(t, f)
}

// TestFaultKillMemory is the control of every kill: ack=memory promises nothing, and the audit must see it.
func TestFaultKillMemory(t *testing.T) {
	f := result.Fault{Fault: "SIGKILL at ack=memory", Promise: result.SomethingLost, Times: times(1, 10)}
	for range f.Times {
		data := dataFolder(t)
		p := newPool(data)
		p.acks = []string{"memory"}
		a := start(t, data, smallBatches)
		time.AfterFunc(300*time.Millisecond, a.kill)
		p.load(t, a.URL, a.Exited())
		p.audit(t, restart(t, data, &f), &f)
	}
	record(t, f)
}

// crashWait is how long a load may take to reach a place.
const crashWait = 10 * time.Second

// TestFaultCrashPoints kills the aggregator at each named place of its code, the first times it is passed, and later ones.
func TestFaultCrashPoints(t *testing.T) {
	program, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	passes := []int{1, 4}
	if faultsDir != "" {
		passes = []int{1, 2, 3, 5, 8, 13, 21}
	}
	for _, place := range crash.Points() {
		t.Run(place, func(t *testing.T) {
			f := result.Fault{Fault: "crash at " + place, Promise: result.NothingLost}
			data := dataFolder(t)
			p := newPool(data)
			atStart := place == crash.JournalCut || place == crash.JournalShort || place == crash.DedupOpened
			if atStart { // of a folder that has something
				a := start(t, data)
				p.loadFor(t, a.URL, 50*time.Millisecond)
				a.kill()
			}
			for _, n := range passes {
				if atStart {
					n = 1 // it is passed once a start
				}
				a, err := startWith(t, program, map[string]string{"SEKALI_CRASH": place + ":" + strconv.Itoa(n)}, data)
				if err == nil {
					timer := time.AfterFunc(crashWait, func() {
						t.Errorf("%s was not passed %d times within %v", place, n, crashWait)
						a.kill()
					})
					p.load(t, a.URL, a.Exited())
					timer.Stop()
				}
				f.Times++
				// Recovery by a build with the same small bounds, which goes on to write runs and segments.
				began := time.Now()
				if a, err = startWith(t, program, nil, data); err != nil {
					t.Fatal(err)
				}
				f.RecoveryMS = append(f.RecoveryMS, float64(time.Since(began).Microseconds())/1000)
				p.loadFor(t, a.URL, 50*time.Millisecond)
				a.kill()
			}
			a, err := startWith(t, program, nil, data)
			if err != nil {
				t.Fatal(err)
			}
			p.audit(t, a, &f)
			a.stop(t)
			if code, out := tool(t, "check", "-data", data); code != 0 {
				t.Errorf("check: %s", out)
			}
			record(t, f)
		})
	}
}

// TestFaultCrashExpiring kills the aggregator while events expire. What has expired can no more be read: all is published again, and must be
// a duplicate.
func TestFaultCrashExpiring(t *testing.T) {
	program, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	f := result.Fault{Fault: "crash at " + crash.StoreExpiring, Promise: result.NothingLost}
	data := dataFolder(t)
	p := newPool(data)
	p.pause = 10 * pause // all of it is to fit into one request
	for n := range times(2, 5) {
		a, err := startWith(t, program, map[string]string{"SEKALI_CRASH": fmt.Sprint(crash.StoreExpiring, ":", n+1)}, data, "-retention=1s")
		if err == nil {
			timer := time.AfterFunc(crashWait, func() {
				t.Errorf("%s was not passed %d times within %v", crash.StoreExpiring, n+1, crashWait)
				a.kill()
			})
			p.load(t, a.URL, a.Exited())
			timer.Stop()
		}
		f.Times++
	}
	a := restart(t, data, &f)
	before := a.drained(t)
	a.mustPublish(t, p.acknowledgedBody(), "store")
	after := a.drained(t)
	f.Lost = after.Unique - before.Unique
	f.Acknowledged = after.Unique // all that was acknowledged, and what was of unknown fate and stored
	a.stop(t)
	if code, out := tool(t, "check", "-data", data); code != 0 {
		t.Errorf("check: %s", out)
	}
	record(t, f)
}

// TestFaultCrashMigrating kills the aggregator while it takes a database of an older version forward.
func TestFaultCrashMigrating(t *testing.T) {
	program, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	dumps, err := filepath.Glob("../aggregator/store/testdata/version*.sql")
	if err != nil || len(dumps) == 0 {
		t.Fatal(dumps, err)
	}
	f := result.Fault{Fault: "crash at " + crash.StoreMigrating, Promise: result.NothingLost, Times: len(dumps)}
	for _, dump := range dumps {
		sql, err := os.ReadFile(dump)
		if err != nil {
			t.Fatal(err)
		}
		data := dataFolder(t)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		change(t, data, string(sql))
		if _, err := startWith(t, program, map[string]string{"SEKALI_CRASH": crash.StoreMigrating + ":1"}, data); err == nil || !strings.Contains(err.Error(), "SIGKILL") {
			t.Fatalf("%s: not killed: %v", dump, err)
		}
		a := restart(t, data, &f)
		const events = 2 // of each dump
		now := a.drained(t)
		f.Acknowledged += events
		f.Lost += events - min(events, now.Unique, bytes.Count(a.export(t), []byte("\n")))
		a.stop(t)
		if code, out := tool(t, "check", "-data", data); code != 0 {
			t.Errorf("%s: check: %s", dump, out)
		}
	}
	record(t, f)
}

// imageBytes is the size of the file system that loses its power.
const imageBytes = 1 << 30

// ext4 on a loop device, or why there is none.
func mountImage(t *testing.T) (mount string, again func(), why string) {
	if os.Getuid() != 0 {
		return "", nil, "mounting a file system needs root"
	}
	dir := t.TempDir()
	image, mount := filepath.Join(dir, "disk.ext4"), filepath.Join(dir, "disk")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(imageBytes)
		f.Close()
	}
	if err == nil {
		err = os.Mkdir(mount, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		return "", nil, "mkfs.ext4: " + err.Error() + " " + string(out)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		return "", nil, "mount -o loop: " + string(out)
	}
	unmount := func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	}
	t.Cleanup(unmount)
	return mount, func() {
		unmount()
		if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
			t.Fatalf("mount: %s", out)
		}
	}, ""
}

// cutPower ends the file system at dir at once: nothing that is still in memory reaches the disk, its own journal included.
func cutPower(t *testing.T, dir string) {
	const shutdown, noLogFlush = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	how := noLogFlush
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Fatalf("ioctl EXT4_IOC_SHUTDOWN: %v", errno)
	}
}

// stopDead stops the process and returns when no thread of it can run on: power that is lost takes the processor with the disk, and no
// publisher may hear of what a disk answers that is already cut. A signal alone takes a scheduler's time to reach every thread.
func stopDead(t *testing.T, a *aggregator) {
	_ = a.Signal(syscall.SIGSTOP)
	for end := time.Now().Add(stopTimeout); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", a.PID()))
		running := len(threads) == 0
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			_, rest, _ := bytes.Cut(stat, []byte(") "))
			// T is stopped. D waits in the kernel, and stops on its way out.
			running = running || err != nil || !bytes.HasPrefix(rest, []byte("T")) && !bytes.HasPrefix(rest, []byte("D"))
		}
		if !running {
			return
		}
	}
	t.Errorf("not stopped within %v", stopTimeout)
}

// TestFaultPowerLoss cuts the power of the disk in the middle of a load, and looks at what it has.
func TestFaultPowerLoss(t *testing.T) {
	f := result.Fault{Fault: "power loss", Promise: result.NothingLost, Times: times(2, 30)}
	mount, again, why := mountImage(t)
	if why != "" {
		skipFault(t, f.Fault, f.Promise, why)
	}
	data := filepath.Join(mount, "data")
	p := newPool(data)
	a := start(t, data)
	for range f.Times {
		time.AfterFunc(time.Duration(100+rand.IntN(400))*time.Millisecond, func() {
			stopDead(t, a)
			cutPower(t, mount)
			a.Kill()
		})
		p.load(t, a.URL, a.Exited())
		again()
		a = restart(t, data, &f)
	}
	p.audit(t, a, &f)
	a.stop(t)
	record(t, f)
}

// TestFaultPowerLossUnsynced is its control: without fsync the same cut must lose something.
func TestFaultPowerLossUnsynced(t *testing.T) {
	f := result.Fault{Fault: "power loss, fsync left out", Promise: result.SomethingLost, Times: times(1, 3)}
	program, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	for range f.Times {
		mount, again, why := mountImage(t)
		if why != "" {
			skipFault(t, f.Fault, f.Promise, why)
		}
		data := filepath.Join(mount, "data")
		p := newPool(data)
		a, err := startWith(t, program, map[string]string{"SEKALI_NOSYNC": "1"}, data)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Millisecond, func() {
			stopDead(t, a)
			cutPower(t, mount)
			a.Kill()
		})
		p.load(t, a.URL, a.Exited())
		again()
		after, err := startWith(t, binary, nil, data)
		if err != nil { // what is left cannot be opened: all is lost
			t.Logf("does not start: %v", err)
			for request := range p.acknowledged {
				f.Lost += len(originalsOf(request))
			}
			f.Acknowledged += f.Lost
			continue
		}
		p.audit(t, after, &f)
		after.stop(t)
	}
	record(t, f)
}
