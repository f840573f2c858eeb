package machine

import (
	"os"
	"path/filepath"
	"strings"
)

// affinity is the list of cores that this process may use, as the kernel writes it.
func affinity(status string) string {
	for line := range strings.Lines(status) {
		if cores, found := strings.CutPrefix(line, "Cpus_allowed_list:"); found {
			return strings.TrimSpace(cores)
		}
	}
	return ""
}

// quota is how much CPU time the cgroup of this process may use, v2 or v1; "" where neither says.
// groups is /proc/self/cgroup, root where the groups are mounted.
func quota(groups, root string) string {
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			// A container sees its own group as the root.
			for _, dir := range []string{parts[2], "/"} {
				if text := read(dir, "cpu.max"); text != "" {
					return text
				}
			}
		case strings.Contains(","+parts[1]+",", ",cpu,"):
			for _, dir := range []string{parts[2], "/"} {
				allowed, period := read("cpu", dir, "cpu.cfs_quota_us"), read("cpu", dir, "cpu.cfs_period_us")
				if allowed == "-1" {
					allowed = "max"
				}
				if allowed != "" && period != "" {
					return allowed + " " + period
				}
			}
		}
	}
	return ""
}
