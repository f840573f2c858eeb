package publisher

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// identify tells a file from others. Its birth tells it from one that had its
// inode before; a file system that does not know it gives 0.
func identify(handle *os.File, info os.FileInfo) (device, inode uint64, birth int64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		device, inode = uint64(s.Dev), s.Ino
	}
	var s unix.Statx_t
	if err := unix.Statx(int(handle.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &s); err == nil && s.Mask&unix.STATX_BTIME != 0 {
		birth = s.Btime.Sec*1e9 + int64(s.Btime.Nsec)
	}
	return device, inode, birth
}
