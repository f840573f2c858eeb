package soak

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/montanaflynn/stats"
	"golang.org/x/sys/unix"
)

const (
	// controlPause lies between two measurements: twenty of them are in a window of the longest soak.
	controlPause = 100 * time.Millisecond
	// syncedBytes is what is written before a sync.
	syncedBytes = 4096
	// workedBytes are hashed, which takes about half a millisecond.
	workedBytes = 512 << 10
)

// controls measure the machine beside the aggregator, with work that never changes: where response
// times grow and these do too, the machine may have become slower.
type controls struct {
	mu    sync.Mutex
	syncs []float64 // ms
	works []float64 // ms of CPU
}

// run measures until ctx ends, in a file of its own in dir.
func (c *controls) run(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "control")
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	defer os.Remove(path)
	defer file.Close()
	runtime.LockOSThread() // whose CPU time is measured
	defer runtime.UnlockOSThread()
	block, worked := make([]byte, syncedBytes), make([]byte, workedBytes)
	for {
		began := time.Now()
		if _, err := file.WriteAt(block, 0); err != nil {
			return fmt.Errorf("control: %w", err)
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return fmt.Errorf("control: %s: %w", path, err)
		}
		synced := time.Since(began)
		before := threadTime()
		sum := sha256.Sum256(worked)
		work := threadTime() - before
		copy(block, sum[:])
		c.mu.Lock()
		c.syncs, c.works = append(c.syncs, ms(synced)), append(c.works, ms(work))
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(controlPause):
		}
	}
}

// take returns the medians since the last call, 0 where nothing was measured.
func (c *controls) take() (sync, work float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sync, _ = stats.Median(c.syncs)
	work, _ = stats.Median(c.works)
	if len(c.syncs) == 0 {
		sync, work = 0, 0
	}
	c.syncs, c.works = c.syncs[:0], c.works[:0]
	return sync, work
}

// threadTime is the CPU time of the calling thread: what others use of the core is not in it.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func ms(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
