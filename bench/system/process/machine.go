package process

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The columns of a core's line of /proc/stat that are counted, after "cpu0": user, nice, system,
// irq, softirq and steal. Guests are part of user; idle (3) and iowait (4) are nobody's time.
var busyColumns = []int{0, 1, 2, 5, 6, 7}

// MachineCPU is the time in which some cores were busy since the machine was started, for whomever,
// what a hypervisor gave to its other guests included; in nanoseconds, with a resolution of 10 ms.
func MachineCPU(cores []int) (busyNS int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("process: %w", err)
	}
	return machineCPU(string(text), cores)
}

func machineCPU(text string, cores []int) (busyNS int64, err error) {
	var ticks int64
	found := 0
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		core, err := strconv.Atoi(strings.TrimPrefix(fields[0], "cpu"))
		if err != nil || !slices.Contains(cores, core) {
			continue // the sum of all, or none of ours
		}
		if len(fields) < 9 {
			return 0, fmt.Errorf("process: /proc/stat: %s has %d columns", fields[0], len(fields)-1)
		}
		for _, column := range busyColumns {
			n, err := strconv.ParseInt(fields[1+column], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("process: /proc/stat: %w", err)
			}
			ticks += n
		}
		found++
	}
	if found == 0 || found != len(cores) {
		return 0, fmt.Errorf("process: /proc/stat has %d of the %d cores that may be used", found, len(cores))
	}
	return ticks * int64(clockTick), nil
}
