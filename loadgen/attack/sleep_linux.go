package attack

import (
	"syscall"
	"time"
)

// sleep sleeps, or less if a signal comes. The runtime's timers wake in whole milliseconds when
// nothing else runs: half a millisecond of lag in the median, as much as an acknowledgement takes.
// nanosleep is late by 0.15 ms (same machine).
func sleep(d time.Duration) {
	slice := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&slice, nil)
}
