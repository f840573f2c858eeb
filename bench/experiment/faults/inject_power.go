package faults

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sekali/bench/record"
)

// imageBytes is the size of the file system that loses its power.
const imageBytes = 1 << 30

// disk is ext4 on a loop device.
type disk struct{ image, mount string }

// newDisk makes and mounts one; it is unmounted when the sitting ends.
func (s *sitting) newDisk() (*disk, error) {
	if os.Getuid() != 0 {
		return nil, skip("mounting a file system needs root")
	}
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	d := &disk{filepath.Join(dir, "disk.ext4"), filepath.Join(dir, "disk")}
	file, err := os.Create(d.image)
	if err != nil {
		return nil, err
	}
	err = file.Truncate(imageBytes)
	file.Close()
	if err == nil {
		err = os.Mkdir(d.mount, 0o755)
	}
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		return nil, skip("mkfs.ext4: %v %s", err, out)
	}
	if err := d.attach(); err != nil {
		return nil, skip("%v", err)
	}
	s.onEnd(func() { _ = d.detach() })
	return d, nil
}

func (d *disk) attach() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.mount).CombinedOutput(); err != nil {
		return fmt.Errorf("mount -o loop: %s", bytes.TrimSpace(out))
	}
	return nil
}

func (d *disk) detach() error {
	if out, err := exec.Command("umount", d.mount).CombinedOutput(); err != nil {
		return fmt.Errorf("umount: %s", bytes.TrimSpace(out))
	}
	return nil
}

// again mounts it as a machine would that has its power back.
func (d *disk) again() error {
	if err := d.detach(); err != nil {
		return err
	}
	return d.attach()
}

// cut ends the file system at once: nothing that is still in memory reaches the disk, its own
// journal included.
func (d *disk) cut() error {
	const shutdown, noLogFlush = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	dir, err := os.Open(d.mount)
	if err != nil {
		return err
	}
	defer dir.Close()
	how := noLogFlush
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return fmt.Errorf("ioctl EXT4_IOC_SHUTDOWN: %w", errno)
	}
	return nil
}

// stopDead stops the process and returns when no thread of it can run on: power that is lost takes
// the processor with the disk, and no publisher may hear of what a disk answers that is already
// cut. A signal alone takes a scheduler's time to reach every thread.
func (a *aggregator) stopDead() error {
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
			return nil
		}
	}
	return fmt.Errorf("not stopped within %v", stopTimeout)
}

// loadUntilCut loads the aggregator until the power of its disk is cut, and mounts that again.
func (t *trial) loadUntilCut(a *aggregator, d *disk, after time.Duration) error {
	failed := make(chan error, 1)
	time.AfterFunc(after, func() {
		err := a.stopDead()
		if err == nil {
			err = d.cut()
		}
		a.Kill()
		failed <- err
	})
	err := t.load(a.URL, a.Exited())
	if cut := <-failed; cut != nil {
		return cut
	}
	if err != nil {
		return err
	}
	t.injected()
	return d.again()
}

// powerLoss cuts the power of the disk in the middle of a load, and looks at what it has.
func powerLoss(s *sitting) error {
	d, err := s.newDisk()
	if err != nil {
		return err
	}
	t, err := s.newTrial(filepath.Join(d.mount, "data"), everyLevel...)
	if err != nil {
		return err
	}
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		if err := t.loadUntilCut(a, d, time.Duration(100+rand.IntN(400))*time.Millisecond); err != nil {
			return err
		}
		if a, err = t.restart(); err != nil {
			return err
		}
	}
	return t.lookAndStop(a)
}

// powerLossUnsynced is its control: without fsync the same cut must lose something.
func powerLossUnsynced(s *sitting) error {
	for range s.times() {
		d, err := s.newDisk()
		if err != nil {
			return err
		}
		t, err := s.newTrial(filepath.Join(d.mount, "data"), everyLevel...)
		if err != nil {
			return err
		}
		a, err := s.startCrash([]string{"SEKALI_NOSYNC=1"}, t.data)
		if err != nil {
			return err
		}
		if err := t.loadUntilCut(a, d, 500*time.Millisecond); err != nil {
			return err
		}
		after, err := s.launch(s.Aggregator, nil, t.data)
		if err != nil { // what is left cannot be opened: all is lost
			t.record.Looks = append(t.record.Looks, record.Look{End: record.Refused})
			t.end()
			continue
		}
		if err := t.lookAndStop(after); err != nil {
			return err
		}
	}
	return nil
}
