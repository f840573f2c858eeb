package process

import (
	"runtime"
	"testing"
	"time"
)

func TestMachineCPU(t *testing.T) {
	const stat = "cpu  100 10 20 5000 700 3 4 5 60 7\ncpu0 50 5 10 2500 350 1 2 3 30 4\ncpu1 50 5 10 2500 350 2 2 2 30 3\nintr 5 0\nctxt 9\n"
	for _, test := range []struct {
		text   string
		cores  int
		wantNS int64 // 0: an error
	}{
		{stat, 2, 142 * int64(10*time.Millisecond)},
		{stat, 1, 0},
		{"cpu 1 2 3\ncpu0 1 2 3\n", 1, 0},
		{"cpu a b c d e f g h i j\ncpu0 1\n", 1, 0},
		{"", 1, 0},
	} {
		if got, err := machineCPU(test.text, test.cores); got != test.wantNS || (err == nil) != (test.wantNS > 0) {
			t.Errorf("%.20q of %d cores: %d, %v", test.text, test.cores, got, err)
		}
	}
}

// TestMachineCPUCountsThisProcess: what this process burns is in it.
func TestMachineCPUCountsThisProcess(t *testing.T) {
	before, err := MachineCPU()
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
	}
	after, err := MachineCPU()
	// Of the 200 ms, a busy machine may have given other processes a part: they are busy, too.
	if grown := time.Duration(after - before); err != nil || grown < 150*time.Millisecond || grown > 2*time.Second*time.Duration(runtime.NumCPU()) {
		t.Errorf("%v, %v", grown, err)
	}
}
