package machine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxCore bounds the numbers of cores that are believed.
const maxCore = 1 << 16

// Affinity is the list of cores that a process may use, as the kernel writes it: 0-1,5.
func Affinity(pid int) (string, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "", err
	}
	return affinity(string(status)), nil
}

func affinity(status string) string {
	for line := range strings.Lines(status) {
		if cores, found := strings.CutPrefix(line, "Cpus_allowed_list:"); found {
			return strings.TrimSpace(cores)
		}
	}
	return ""
}

// Cores are the numbers of all cores in lists of the kernel's, each once.
func Cores(lists ...string) ([]int, error) {
	var cores []int
	for _, list := range lists {
		for part := range strings.SplitSeq(list, ",") {
			first, last, isRange := strings.Cut(part, "-")
			if !isRange {
				last = first
			}
			low, errLow := strconv.Atoi(first)
			high, errHigh := strconv.Atoi(last)
			if errLow != nil || errHigh != nil || low < 0 || high < low || high > maxCore {
				return nil, fmt.Errorf("%q is not a list of cores", list)
			}
			for core := low; core <= high; core++ {
				cores = append(cores, core)
			}
		}
	}
	slices.Sort(cores)
	return slices.Compact(cores), nil
}

// List writes cores, which rise, as the kernel does.
func List(cores []int) string {
	var parts []string
	for i := 0; i < len(cores); {
		end := i
		for end+1 < len(cores) && cores[end+1] == cores[end]+1 {
			end++
		}
		part := strconv.Itoa(cores[i])
		if end > i {
			part += "-" + strconv.Itoa(cores[end])
		}
		parts = append(parts, part)
		i = end + 1
	}
	return strings.Join(parts, ",")
}
