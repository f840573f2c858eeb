package machine

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// groupsRoot is where Linux mounts control groups.
const groupsRoot = "/sys/fs/cgroup"

// Groups are the folders of the control groups that can hold back a process's CPU time, v1 and v2:
// its own first, then those above it, as far as they are visible from here.
func Groups(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, err
	}
	return groups(string(text), groupsRoot)
}

// groups finds the folders of what /proc/PID/cgroup says. A container may see its own group as the
// root: then only that one is found.
func groups(text, root string) ([]string, error) {
	var found []string
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		var mounts []string
		switch {
		case parts[1] == "": // v2, beside v1 in a folder of its own
			mounts = []string{root, filepath.Join(root, "unified")}
		case slices.Contains(strings.Split(parts[1], ","), "cpu"):
			mounts = []string{filepath.Join(root, "cpu"), filepath.Join(root, parts[1])}
		}
		for _, mount := range mounts {
			above := foldersUpTo(mount, parts[2])
			found = append(found, above...)
			if len(above) > 0 {
				break
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no control group with cpu.stat is below %s", root)
	}
	return found, nil
}

// foldersUpTo are those with a cpu.stat from a group up to the mount.
func foldersUpTo(mount, group string) []string {
	var found []string
	for at := path.Clean("/" + group); ; at = path.Dir(at) {
		folder := filepath.Join(mount, at)
		if _, err := os.Stat(filepath.Join(folder, "cpu.stat")); err == nil {
			found = append(found, folder)
		}
		if at == "/" {
			return found
		}
	}
}

// Throttling is how often and for how long groups were held back by their CPU quota. A group that
// is stopped on several cores at once counts on each.
type Throttling struct {
	Periods int64 // of the quota, in which it was used up
	NS      int64
}

// Throttled is what a group's cpu.stat says. One that no quota can be set for, such as the root of
// v2, says nothing, and is never held back.
func Throttled(folder string) (Throttling, error) {
	text, err := os.ReadFile(filepath.Join(folder, "cpu.stat"))
	if err != nil {
		return Throttling{}, err
	}
	var t Throttling
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		to, unit := &t.NS, int64(1)
		switch name {
		case "nr_throttled":
			to = &t.Periods
		case "throttled_usec": // v2
			unit = 1000
		case "throttled_time": // v1
		default:
			continue
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return Throttling{}, fmt.Errorf("%s: %s: %w", filepath.Join(folder, "cpu.stat"), name, err)
		}
		*to = n * unit
	}
	return t, nil
}

// Quota is the tightest of the groups' quotas, as v2 writes it: the CPU time in µs that they may
// use in a period, and the period; "max …" where none has one, and "" where none says.
func Quota(folders []string) string {
	tightest, least := "", 0.
	for _, folder := range folders {
		text := quotaOf(folder)
		allowed, period, _ := strings.Cut(text, " ")
		a, errA := strconv.ParseFloat(allowed, 64)
		p, errP := strconv.ParseFloat(period, 64)
		switch limited := errors.Join(errA, errP) == nil && p > 0; {
		case limited && (least == 0 || a/p < least):
			tightest, least = text, a/p
		case tightest == "":
			tightest = text
		}
	}
	return tightest
}

func quotaOf(folder string) string {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	if text := read("cpu.max"); text != "" {
		return text
	}
	allowed, period := read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")
	if allowed == "-1" {
		allowed = "max"
	}
	if allowed == "" || period == "" {
		return ""
	}
	return allowed + " " + period
}
