package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
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
	var usage Usage
	cpu, err := cpuOf(pid)
	if err != nil {
		return usage, err
	}
	usage.CPUNS = cpu
	if usage.WriteBytes, err = procField(pid, "io", "write_bytes:"); err != nil {
		return usage, err
	}
	// Absent for a zombie, which has no memory any more.
	rss, _ := procField(pid, "status", "VmRSS:")
	highest, _ := procField(pid, "status", "VmHWM:")
	usage.RSSBytes, usage.RSSMaxBytes = rss*1024, highest*1024
	return usage, nil
}

// Own returns what this process has used.
func Own() (Usage, error) { return usageOf(os.Getpid()) }

func cpuOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	// The second field is the name in brackets and may hold spaces; utime and stime are the 12th and
	// 13th after it.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("process: /proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process: /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return ticks * int64(clockTick), nil
}

// procField returns the number behind a name in one of the "name: number" files of /proc.
func procField(pid int, file, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("process: /proc/%d/%s has no %s", pid, file, name)
}
