//go:build sekali_crash

package crash

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Smaller is by how much the bounds are smaller in a test build.
const Smaller = 1 << 10

var (
	// NoSync reports that this run leaves out what makes things durable.
	NoSync = os.Getenv("SEKALI_NOSYNC") != ""
	// Fsync reports that SQLite's syncs are fsync in this run, which strace can tell from the
	// journal's.
	Fsync = os.Getenv("SEKALI_FSYNC") != ""
	// SEKALI_CRASH is <place>:<how-manieth time it is passed>.
	place, _, _ = strings.Cut(os.Getenv("SEKALI_CRASH"), ":")
	left        = passes()
)

func passes() *atomic.Int64 {
	left := &atomic.Int64{}
	if place == "" {
		return left
	}
	_, count, _ := strings.Cut(os.Getenv("SEKALI_CRASH"), ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if err != nil || n < 1 {
		fmt.Fprintf(os.Stderr, "SEKALI_CRASH=%s: want <place>:<count from 1>\n", os.Getenv("SEKALI_CRASH"))
		os.Exit(2)
	}
	left.Store(n)
	return left
}

// Poison panics at an event of the topic that SEKALI_POISON names, as a mistake in the program
// would where it applies that event. nil: it names none.
func Poison() func(topic string) {
	poison := os.Getenv("SEKALI_POISON")
	if poison == "" {
		return nil
	}
	return func(topic string) {
		if topic == poison {
			panic("the topic " + topic + " is poison")
		}
	}
}

// Here kills the process if this is the place, and the time.
func Here(at string) {
	if at == place && left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}
