package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// heapBeyondQueue is, beside the queue's bytes, where the collector stops letting the heap grow to
	// twice what is used and works as hard as it takes: 128 MiB of bodies, each with the copy it is
	// decoded to, and of pages; a batch, and readers of the largest events; and a third more. Without
	// it a flood of bodies of 16 MiB took the process to 1312 MiB.
	heapBeyondQueue = 960 << 20
	// heapGrowth is by how much of what is used, in per cent, the heap grows before it is collected,
	// while deduplication takes little: growth to 20 million events took 283 MB at most with 50 and
	// 341 with Go's own 100, for the same CPU time an event (2.85 µs; one run each).
	heapGrowth = 50
	// heapOfOthers is what all but deduplication is taken to use. The heap may grow by a part of this
	// alone: the runs' filters stay for ever and hold no pointers. While it grew by half of the
	// filters too, the process took up to 1286 MB with 300 million keys, whose filters are 510.
	heapOfOthers = 256 << 20
	// minProcs is how many goroutines run at one time at least, whatever the machine has: the writer
	// and the merges of runs take a processor for 10 ms each before Go's scheduler takes it away, and
	// with two there would be none for a publisher meanwhile.
	minProcs = 4
)

// tune sets what the whole process has, where the environment does not. The memory that
// deduplication takes is added to the heap's limit by dedupMemory, 1.6 GB with 1 000 million keys;
// nil: the environment has set all.
func tune(queueBytes int64, contention bool) (dedupMemory func(bytes int64)) {
	if contention {
		runtime.SetMutexProfileFraction(10)
		runtime.SetBlockProfileRate(int(10 * time.Microsecond))
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0)))
	}
	growth, limit := os.Getenv("GOGC") == "", os.Getenv("GOMEMLIMIT") == ""
	if !growth && !limit {
		return nil
	}
	dedupMemory = func(bytes int64) {
		if growth {
			debug.SetGCPercent(growthBeside(bytes))
		}
		if limit {
			debug.SetMemoryLimit(heapBeyondQueue + queueBytes + bytes)
		}
	}
	dedupMemory(0)
	return dedupMemory
}

// growthBeside is by how much of what is used, in per cent, the heap grows beside so many bytes of
// deduplication.
func growthBeside(bytes int64) int {
	return max(1, int(heapGrowth*heapOfOthers/(heapOfOthers+bytes)))
}
