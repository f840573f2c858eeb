package sqlite

import (
	"errors"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite as modernc.org builds it syncs its files by fsync. That takes the time of a file's last
// change to the disk too: one write more, which on ext4 with a journal is a commit of that. So what
// Open opens is synced by fdatasync, which takes along what reading needs, a file's new length for
// one. All else stays SQLite's own.

const fileSystemName = "unix-fdatasync"

// fdatasync is replaced by tests.
var fdatasync = unix.Fdatasync

// datasync is SQLite's file system with another sync.
var datasync struct {
	once sync.Once
	name uintptr // as SQLite knows it; 0: it could not be made
	open uintptr // SQLite's own xOpen

	mu      sync.Mutex          // guards all below
	methods map[uintptr]uintptr // of files, by SQLite's own
	sync    uintptr             // SQLite's own xSync, of all of them
}

// fileSystem returns the name of the file system for Open, in libc's memory; 0 is SQLite's own.
func fileSystem(tls *libc.TLS) uintptr {
	datasync.once.Do(func() { makeFileSystem(tls) })
	return datasync.name
}

// makeFileSystem takes SQLite's own as it is, but for xOpen. It stays as long as the process.
func makeFileSystem(tls *libc.TLS) {
	own := sqlite3.Xsqlite3_vfs_find(tls, 0)
	if own == 0 {
		return
	}
	copied := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	name, err := libc.CString(fileSystemName)
	if copied == 0 || err != nil {
		return
	}
	fs := (*sqlite3.Tsqlite3_vfs)(at(copied))
	*fs = *(*sqlite3.Tsqlite3_vfs)(at(own))
	datasync.open, datasync.methods = fs.FxOpen, map[uintptr]uintptr{}
	open := openFile
	fs.FpNext, fs.FzName, fs.FxOpen = 0, name, *(*uintptr)(unsafe.Pointer(&open)) // see addFunctions
	if sqlite3.Xsqlite3_vfs_register(tls, copied, 0) == sqlite3.SQLITE_OK {
		datasync.name = name
	}
}

// openFile is xOpen.
func openFile(tls *libc.TLS, fs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	own := *(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(unsafe.Pointer(&struct{ uintptr }{datasync.open}))
	rc := own(tls, fs, name, file, flags, outFlags)
	if methods := (*uintptr)(at(file)); rc == sqlite3.SQLITE_OK && *methods != 0 {
		*methods = withDatasync(tls, *methods)
	}
	return rc
}

// withDatasync returns the methods of a file with our xSync.
func withDatasync(tls *libc.TLS, own uintptr) uintptr {
	datasync.mu.Lock()
	defer datasync.mu.Unlock()
	if ours, ok := datasync.methods[own]; ok {
		return ours
	}
	methods := *(*sqlite3.Tsqlite3_io_methods)(at(own))
	if datasync.sync == 0 {
		datasync.sync = methods.FxSync
	}
	ours := uintptr(0)
	if methods.FxSync == datasync.sync {
		ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(methods)))
	}
	if ours == 0 { // no memory, or a file that is synced in another way: it stays as it is
		return own
	}
	ourSync := syncFile
	methods.FxSync = *(*uintptr)(unsafe.Pointer(&ourSync))
	*(*sqlite3.Tsqlite3_io_methods)(at(ours)) = methods
	datasync.methods[own] = ours
	return ours
}

// syncFile is xSync. The first sync of a new file makes its name durable too: that is left to
// SQLite.
func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := (*sqlite3.TunixFile)(at(file))
	if f.FctrlFlags&sqlite3.UNIXFILE_DIRSYNC != 0 {
		own := *(*func(*libc.TLS, uintptr, int32) int32)(unsafe.Pointer(&struct{ uintptr }{datasync.sync}))
		return own(tls, file, flags)
	}
	if err := fdatasync(int(f.Fh)); err != nil {
		var code unix.Errno
		if errors.As(err, &code) {
			f.FlastErrno = int32(code)
		}
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return sqlite3.SQLITE_OK
}
