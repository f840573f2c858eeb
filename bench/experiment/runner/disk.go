package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sekali/bench/record"
	"sekali/bench/scenario"
	"sekali/bench/system/cluster"
	"sekali/bench/system/device"
	"sekali/bench/system/process"
)

const (
	// diskBytes is the disk that disk-full fills: it holds all that a scenario of some seconds writes,
	// so that it is full when the scenario says so and not before.
	diskBytes = 512 << 20
	// refill is how often a full disk is filled again with what has been given back meanwhile.
	refill = 20 * time.Millisecond
	// healTimeout bounds the wait for ready once the disk is well again.
	healTimeout = 30 * time.Second
)

// tampering is what strace does to every fsync.
var tampering = map[string]string{scenario.DiskError: "error=EIO", scenario.SlowDisk: "delay_enter=200000"}

// cannotBreak says why a fault of the disk or of the network cannot be brought about on this
// machine; nil: it can.
func cannotBreak(f scenario.Fault) error {
	switch f.Kind {
	case scenario.DiskFull:
		if os.Getuid() != 0 {
			return errors.New("mounting a disk to fill needs root")
		}
	case scenario.DiskError, scenario.SlowDisk:
		if _, err := exec.LookPath("strace"); err != nil {
			return errors.New("strace is not installed")
		}
	case scenario.Partition:
		return cluster.CannotNetwork()
	}
	return nil
}

// cannotHold says why no disk can be held to a rate on this machine; nil: it can, or need not.
func cannotHold(d scenario.Disk) error {
	if d == (scenario.Disk{}) {
		return nil
	}
	return device.Cannot()
}

// makeDisk makes the folder that the data folder will be in. Where the scenario fills the disk, or
// holds it to a rate, that is one of its own.
func (s *session) makeDisk(ctx context.Context) error {
	if s.job.settings.Disk != (scenario.Disk{}) {
		return s.holdDisk(ctx)
	}
	if s.job.settings.Fault.Kind != scenario.DiskFull {
		return os.MkdirAll(filepath.Dir(s.data), 0o755)
	}
	disk := s.data + "-disk"
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", diskBytes), "sekali", disk).CombinedOutput(); err != nil {
		return fmt.Errorf("mount -t tmpfs: %w: %s", err, out)
	}
	s.disk, s.data = disk, filepath.Join(disk, "data")
	s.run.Environment.TmpfsIsAllowed = true // its question is what happens when it is full, not what a sync costs
	return nil
}

// holdDisk makes a disk that is held to a rate, and measures that it is.
func (s *session) holdDisk(ctx context.Context) error {
	limit := s.job.settings.Disk
	image, folder := s.data+".image", s.data+"-disk"
	if err := os.MkdirAll(filepath.Dir(image), 0o755); err != nil {
		return err
	}
	held, err := device.Open(ctx, image, folder, device.Limit{MBPerS: limit.MBPerS, OperationsPerS: limit.OperationsPerS})
	if err != nil {
		return err
	}
	s.device, s.data = held, filepath.Join(folder, "data")
	rates, err := device.Measure(folder)
	if err != nil {
		return err
	}
	s.run.Environment.Disk = &record.Disk{MBPerS: limit.MBPerS, OperationsPerS: limit.OperationsPerS,
		MeasuredMBPerS: rates.WriteMBPerS, MeasuredOperationsPerS: rates.OperationsPerS}
	return nil
}

// removeDisk gives the disk back.
func (s *session) removeDisk() error {
	if s.device != nil {
		return s.device.Close()
	}
	if s.disk == "" {
		return nil
	}
	if err := syscall.Unmount(s.disk, syscall.MNT_DETACH); err == nil {
		_ = os.Remove(s.disk)
	}
	s.disk = ""
	return nil
}

// breakDisk breaks the disk for as long as the fault says, and returns when the aggregator is ready
// after it.
func (s *session) breakDisk(ctx context.Context, fault scenario.Fault, startedAt time.Time) (*record.FaultTimes, error) {
	since := func() int64 { return int64(time.Since(startedAt)) }
	times := &record.FaultTimes{Kind: fault.Kind, AtNS: since()}
	if fault.Kind == scenario.DiskFull {
		if err := s.fillDisk(ctx, time.Duration(fault.For)); err != nil {
			return nil, fmt.Errorf("fault: %w", err)
		}
	} else {
		injection, err := process.Inject(s.aggregator.process(), "fsync,fdatasync", tampering[fault.Kind])
		if err != nil {
			return nil, fmt.Errorf("fault: %w", err)
		}
		sleep(ctx, time.Duration(fault.For))
		injection.Release()
	}
	times.RestartedNS = since()
	bounded, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := s.aggregator.process().WaitReady(bounded); err != nil {
		return nil, fmt.Errorf("fault: the aggregator did not heal: %w", err)
	}
	times.ReadyNS = since()
	return times, nil
}

// fillDisk keeps the disk full for so long.
func (s *session) fillDisk(ctx context.Context, d time.Duration) error {
	balloon, err := os.Create(filepath.Join(s.disk, "balloon"))
	if err != nil {
		return err
	}
	defer os.Remove(balloon.Name())
	defer balloon.Close()
	chunk := make([]byte, 1<<20)
	for end := time.Now().Add(d); time.Now().Before(end); {
		// Ever smaller pieces, until not a byte fits.
		for size := len(chunk); size > 0; {
			if _, err := balloon.Write(chunk[:size]); errors.Is(err, syscall.ENOSPC) {
				size /= 2
			} else if err != nil {
				return err
			}
		}
		if !sleep(ctx, refill) {
			return ctx.Err()
		}
	}
	return nil
}
