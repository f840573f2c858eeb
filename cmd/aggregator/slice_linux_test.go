package main

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSlicesAreShort: of all threads, and of those that are started later.
func TestSlicesAreShort(t *testing.T) {
	shortenSlices()
	if own, err := unix.SchedGetAttr(0, 0); err != nil || own.Runtime == 0 {
		t.Skip("skipped: this kernel has no slices of a thread's own: ", err)
	}
	var started, ended sync.WaitGroup
	checked := make(chan struct{})
	for range 20 {
		started.Add(1)
		ended.Go(func() {
			runtime.LockOSThread() // one of its own, which ends with it
			started.Done()
			<-checked
		})
	}
	started.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) < 20 {
		t.Fatal(len(tasks), err)
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if of, err := unix.SchedGetAttr(id, 0); err != nil || of.Runtime != uint64(threadSlice) || of.Policy != unix.SCHED_NORMAL {
			t.Errorf("thread %d: %+v, %v", id, of, err)
		}
	}
	close(checked)
	ended.Wait()
}
