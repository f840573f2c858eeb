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
		cores  []int
		wantNS int64 // 0: an error
	}{
		{stat, []int{0, 1}, 142 * int64(10*time.Millisecond)},
		{stat, []int{1}, 71 * int64(10*time.Millisecond)},
		{stat, []int{0, 2}, 0},
		{stat, nil, 0},
		{"cpu 1 2 3\ncpu0 1 2 3\n", []int{0}, 0},
		{"cpu 1\ncpu0 a b c d e f g h i j\n", []int{0}, 0},
		{"", []int{0}, 0},
	} {
		if got, err := machineCPU(test.text, test.cores); got != test.wantNS || (err == nil) != (test.wantNS > 0) {
			t.Errorf("%.20q of cores %v: %d, %v", test.text, test.cores, got, err)
		}
	}
}

// TestMachineCPUCountsThisProcess: what this process burns is in it.
func TestMachineCPUCountsThisProcess(t *testing.T) {
	var all []int
	for core := range runtime.NumCPU() {
		all = append(all, core)
	}
	before, err := MachineCPU(all)
	if err != nil {
		t.Skipf("skipped: %v", err)
	}
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; {
	}
	after, err := MachineCPU(all)
	// Of the 200 ms, a busy machine may have given other processes a part: they are busy, too.
	if grown := time.Duration(after - before); err != nil || grown < 150*time.Millisecond || grown > 2*time.Second*time.Duration(runtime.NumCPU()) {
		t.Errorf("%v, %v", grown, err)
	}
}
