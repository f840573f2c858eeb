package soak

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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
	taken time.Time // when take was called last, or run
	reads int64     // refaults by then
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
	c.mu.Lock()
	c.taken, c.reads = time.Now(), refaults()
	c.mu.Unlock()
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

// take returns what there was since the last call: the medians, 0 where nothing was measured, and
// the pages read again in a second.
func (c *controls) take() (sync, work, perSecond float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.syncs) > 0 {
		sync, _ = stats.Median(c.syncs)
		work, _ = stats.Median(c.works)
	}
	now, reads := time.Now(), refaults()
	if passed := now.Sub(c.taken).Seconds(); passed > 0 {
		perSecond = float64(reads-c.reads) / passed
	}
	c.syncs, c.works, c.taken, c.reads = c.syncs[:0], c.works[:0], now, reads
	return sync, work, perSecond
}

// refaults counts the pages of files that the kernel had dropped from memory, and then had to read
// again, since the machine's start; 0 where it does not say. Source: /proc/vmstat.
func refaults() int64 {
	text, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, "workingset_refault_file "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
			return n
		}
	}
	return 0
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
