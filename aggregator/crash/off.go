//go:build !sekali_crash

package crash

// Smaller is by how much the bounds are smaller in a test build.
const Smaller = 1

// NoSync reports that a test build leaves out what makes things durable.
const NoSync = false

// Fsync reports that a test build has SQLite sync its files by fsync.
const Fsync = false

// Poison returns nil in this build.
func Poison() func(topic string) { return nil }

// Here does nothing in this build.
func Here(string) {}
