package main

import (
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// threadSlice is how long a thread of ours has its processor once it runs, whoever wakes up
// meanwhile. Linux gives it 1.4 ms on two processors, and then does not look before its next tick,
// which is after up to 4 ms: a request would wait so long for the writer, or for who makes runs. A
// tenth of a millisecond is the least there is. It is no priority: no thread gets more for it, or
// less.
const threadSlice = 100 * time.Microsecond

// shortenSlices does so for all threads: those that are there, and so those that they start. Before
// 6.12 Linux has no such thing, and takes it all the same.
func shortenSlices() {
	for range 3 { // a thread may be started while they are gone through
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		missing := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				continue
			}
			attributes, err := unix.SchedGetAttr(id, 0)
			if err != nil || attributes.Policy != unix.SCHED_NORMAL || attributes.Runtime == uint64(threadSlice) {
				continue // it has ended, or whoever started us wants it otherwise
			}
			attributes.Runtime = uint64(threadSlice)
			missing = unix.SchedSetAttr(id, attributes, 0) == nil || missing
		}
		if !missing {
			return
		}
	}
}
