// Package memorydir makes folders in memory, for tests that open and sync hundreds of stores and
// say nothing about disks: what a sync takes on a busy disk is most of their time.
package memorydir

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	// sharedMemory is where Linux has a file system in memory for everybody.
	sharedMemory = "/dev/shm"
	// leastFree is what the tests may need of it; a container has 64 MiB.
	leastFree = 48 << 20
)

// Make makes a folder with a name of its own, which the caller removes: in memory where there is
// room, or else where temporary files lie.
func Make(name string) (string, error) {
	var disk unix.Statfs_t
	if unix.Statfs(sharedMemory, &disk) == nil && disk.Type == unix.TMPFS_MAGIC && int64(disk.Bavail)*disk.Bsize >= leastFree {
		if dir, err := os.MkdirTemp(sharedMemory, name); err == nil {
			return dir, nil
		}
	}
	return os.MkdirTemp("", name)
}
