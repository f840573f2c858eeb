//go:build !linux

package disk

import "os"

// SyncData makes what was written to f durable. On macOS that is F_FULLFSYNC, for fdatasync leaves
// it in the disk's own cache.
func SyncData(f *os.File) error { return Sync(f) }
