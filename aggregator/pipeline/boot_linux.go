package pipeline

import "golang.org/x/sys/unix"

// bootClock does not jump with the time of day, and passes while the machine sleeps.
const bootClock = unix.CLOCK_BOOTTIME
