package process

import (
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
)

// clockTick is the unit of CPU time in /proc/<pid>/stat: USER_HZ is 100 on every architecture that
// Go runs Linux on.
const clockTick = time.Second / 100

// Usage is what a process has used since it started.
type Usage struct {
	CPUNS       int64 // user and system; resolution 10 ms while it runs, exact once it has ended
	RSSBytes    int64 // resident now
	RSSMaxBytes int64 // highest so far
	WriteBytes  int64 // handed to the block layer
}

// usageOf reads /proc/<pid>. A dead process that is not reaped yet has CPU time and written bytes,
// and no memory.
func usageOf(pid int) (Usage, error) {
	fail := func(err error) (Usage, error) { return Usage{}, fmt.Errorf("process: %w", err) }
	p, err := procfs.NewProc(pid)
	if err != nil {
		return fail(err)
	}
	stat, err := p.Stat()
	if err != nil {
		return fail(err)
	}
	io, err := p.IO()
	if err != nil {
		return fail(err)
	}
	usage := Usage{CPUNS: int64(stat.UTime+stat.STime) * int64(clockTick), WriteBytes: int64(io.WriteBytes)}
	// Without them for a zombie, which has no memory any more.
	if status, err := p.NewStatus(); err == nil {
		usage.RSSBytes, usage.RSSMaxBytes = int64(status.VmRSS), int64(status.VmHWM)
	}
	return usage, nil
}

// Own returns what this process has used.
func Own() (Usage, error) { return usageOf(os.Getpid()) }
