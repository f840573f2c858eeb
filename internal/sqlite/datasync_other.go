//go:build !linux

package sqlite

import "modernc.org/libc"

// fileSystem returns 0, which is SQLite's own: what durable means differs by system.
func fileSystem(*libc.TLS) uintptr { return 0 }
