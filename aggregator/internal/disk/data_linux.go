package disk

import (
	"os"

	"golang.org/x/sys/unix"

	"sekali/aggregator/crash"
)

// SyncData makes what was written to f durable, and of what is known of it only what reading needs.
func SyncData(f *os.File) error {
	if crash.NoSync {
		return nil
	}
	return unix.Fdatasync(int(f.Fd()))
}
