//go:build !linux

package pipeline

import "golang.org/x/sys/unix"

// bootClock does not jump with the time of day; on macOS it passes while the machine sleeps.
const bootClock = unix.CLOCK_MONOTONIC
