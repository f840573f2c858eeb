package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// The columns of the first line of /proc/stat that are counted, after "cpu": user, nice, system,
// irq, softirq and steal. Guests are part of user; idle (3) and iowait (4) are nobody's time.
var busyColumns = []int{0, 1, 2, 5, 6, 7}

// MachineCPU is the time in which the machine's cores were busy since it was started, for whomever,
// what a hypervisor gave to its other guests included; in nanoseconds, with a resolution of 10 ms.
// It is an error where this process may not use all of those cores: then the others are none of its
// business.
func MachineCPU() (busyNS int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	return machineCPU(string(text), runtime.NumCPU())
}

func machineCPU(text string, usable int) (busyNS int64, err error) {
	var ticks int64
	cores := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu"):
			continue
		case fields[0] != "cpu":
			cores++
			continue
		case len(fields) < 9:
			return 0, fmt.Errorf("process: /proc/stat: %d columns", len(fields)-1)
		}
		for _, column := range busyColumns {
			n, err := strconv.ParseInt(fields[1+column], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("process: /proc/stat: %w", err)
			}
			ticks += n
		}
	}
	if cores != usable {
		return 0, fmt.Errorf("process: /proc/stat is of %d cores, this process may use %d", cores, usable)
	}
	return ticks * int64(clockTick), nil
}
