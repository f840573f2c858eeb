package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// lookBytes is how much of a file is looked at in one go, which takes a byte for each of its pages.
const lookBytes = 1 << 30

// PageCache is how many bytes of the files below dir are in the page cache. A file that goes
// meanwhile counts as nothing.
func PageCache(dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			var cached int64
			cached, err = cachedOf(path)
			bytes += cached
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("page cache: %w", err)
	}
	return bytes, nil
}

// cachedOf asks mincore, which every kernel has: cachestat came with Linux 6.5. The file is mapped
// and not touched, so that nothing comes into the cache by it.
func cachedOf(path string) (bytes int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	page := int64(os.Getpagesize())
	for at := int64(0); at < info.Size(); at += lookBytes {
		length := min(info.Size()-at, lookBytes)
		mapped, err := unix.Mmap(int(file.Fd()), at, int(length), unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return 0, fmt.Errorf("%s: mmap: %w", path, err)
		}
		pages := make([]byte, (length+page-1)/page)
		_, _, failed := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(length), uintptr(unsafe.Pointer(&pages[0])))
		if err := unix.Munmap(mapped); err != nil {
			return 0, fmt.Errorf("%s: munmap: %w", path, err)
		}
		if failed != 0 {
			return 0, fmt.Errorf("%s: mincore: %w", path, failed)
		}
		for _, p := range pages {
			bytes += int64(p&1) * page // the other bits mean nothing
		}
	}
	return bytes, nil
}
