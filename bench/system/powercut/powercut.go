// Package powercut takes the power from processes and from the disk that they write to.
package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// diskBytes is the size of a disk. The file has holes: only what was written takes room.
	diskBytes = 1 << 30
	// freezeTimeout bounds how long threads wait in the kernel.
	freezeTimeout = 25 * time.Second
)

// Disk is ext4 on a loop device.
type Disk struct {
	Mount string // the folder
	image string
}

// NewDisk makes and mounts one in the folder dir, until it is closed. The error says why this
// machine has none.
func NewDisk(dir string) (*Disk, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("mounting a file system needs root")
	}
	d := &Disk{filepath.Join(dir, "disk"), filepath.Join(dir, "disk.ext4")}
	if err := errors.Join(os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, diskBytes), os.Mkdir(d.Mount, 0o755)); err != nil {
		return nil, fmt.Errorf("powercut: %w", err)
	}
	if err := run("mkfs.ext4", "-q", "-F", d.image); err != nil {
		return nil, err
	}
	return d, d.attach()
}

func (d *Disk) attach() error { return run("mount", "-o", "loop", d.image, d.Mount) }

// Close unmounts it.
func (d *Disk) Close() error { return run("umount", d.Mount) }

// Again mounts it as a machine would that has its power back. It is a copy: a mount namespace that
// somebody else made meanwhile holds the file system that was cut, and the kernel would give that
// back for the same file.
func (d *Disk) Again() error {
	if err := d.Close(); err != nil {
		return err
	}
	copied := d.image + ".again"
	if err := run("cp", "--sparse=always", d.image, copied); err != nil {
		return err
	}
	if err := os.Rename(copied, d.image); err != nil {
		return fmt.Errorf("powercut: %w", err)
	}
	return d.attach()
}

// Cut ends the file system at once: nothing that is still in memory reaches the disk, its own
// journal included.
func (d *Disk) Cut() error {
	const shutdown, noLogFlush = 0x8004587d, uint32(2) // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	dir, err := os.Open(d.Mount)
	if err != nil {
		return fmt.Errorf("powercut: %w", err)
	}
	defer dir.Close()
	how := noLogFlush
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		return fmt.Errorf("powercut: ioctl EXT4_IOC_SHUTDOWN: %w", errno)
	}
	return nil
}

// Freeze stops a process and returns when no thread of it can run on: power that is lost takes the
// processor with the disk, and nobody may hear of what a disk answers that is already cut. A signal
// alone takes a scheduler's time to reach every thread.
func Freeze(pid int) error {
	_ = unix.Kill(pid, unix.SIGSTOP)
	for end := time.Now().Add(freezeTimeout); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
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
	return fmt.Errorf("powercut: process %d is not stopped within %v", pid, freezeTimeout)
}

func run(program string, args ...string) error {
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("powercut: %s: %w %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}
