// Package machine reads what a figure depends on and no setting says: processor, memory, kernel,
// filesystem, and what the disk takes to sync.
package machine

import (
	"debug/buildinfo"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sekali/bench/record"
)

const (
	// probeWrites of probeBytes each are synced one by one to know the disk: 300 take about 0.1 s on
	// an SSD, and give the 99th percentile three samples beyond it.
	probeWrites = 300
	probeBytes  = 4 << 10
	// probeTime ends the probe early on a slow disk.
	probeTime = 2 * time.Second
)

// Read returns what does not depend on the data folder. version is what the build was told, as git
// describes it; the toolchain's own stamp, where there is one, is preferred.
func Read(version string) record.Environment {
	e := record.Environment{
		CPUModel:    cpuModel(),
		Cores:       runtime.NumCPU(),
		MemoryBytes: memory(),
		OS:          runtime.GOOS + "/" + runtime.GOARCH,
		Kernel:      kernel(),
		GoVersion:   runtime.Version(),
	}
	e.Affinity, _ = Affinity(os.Getpid())
	if folders, err := Groups(os.Getpid()); err == nil {
		e.CPUQuota = Quota(folders)
	}
	e.Commit, e.Dirty = strings.CutSuffix(version, "-dirty")
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				e.Commit = setting.Value
			case "vcs.modified":
				e.Dirty = setting.Value == "true"
			case "-race":
				e.Race = setting.Value == "true"
			}
		}
	}
	return e
}

// AddProgram adds what the toolchain stamped into the program under test, which need not be of the
// same build as this one. What has no stamps adds nothing.
func AddProgram(e *record.Environment, path string) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return
	}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.modified":
			e.Dirty = e.Dirty || setting.Value == "true"
		case "-race":
			e.Race = e.Race || setting.Value == "true"
		}
	}
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func memory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}

func kernel() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}

// filesystems are those that hold data folders; another one is named by its number.
var filesystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4", // ext2 and ext3 too
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.RAMFS_MAGIC:           "ramfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	0x2fc12fc1:                 "zfs",
}

// Filesystem is the type of the one that dir is on: ext4, xfs, …; "" if it cannot be asked.
func Filesystem(dir string) string {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return ""
	}
	if name, ok := filesystems[int64(stat.Type)]; ok {
		return name
	}
	return fmt.Sprintf("%#x", stat.Type)
}

// ProbeDisk appends and syncs small writes in dir, one after the other.
func ProbeDisk(dir string) (record.Fdatasync, error) {
	var probe record.Fdatasync
	file, err := os.CreateTemp(dir, "fdatasync-")
	if err != nil {
		return probe, fmt.Errorf("disk probe: %w", err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	block := make([]byte, probeBytes)
	var took []float64 // µs
	for began := time.Now(); len(took) < probeWrites && (len(took) == 0 || time.Since(began) < probeTime); {
		started := time.Now()
		if _, err := file.Write(block); err != nil {
			return probe, fmt.Errorf("disk probe: %w", err)
		}
		if err := unix.Fdatasync(int(file.Fd())); err != nil {
			return probe, fmt.Errorf("disk probe: %s: %w", filepath.Base(file.Name()), err)
		}
		took = append(took, float64(time.Since(started).Nanoseconds())/1e3)
	}
	slices.Sort(took)
	rank := func(share float64) float64 { return took[int(math.Ceil(share*float64(len(took))))-1] }
	return record.Fdatasync{P50US: rank(0.5), P99US: rank(0.99), Count: len(took)}, nil
}
