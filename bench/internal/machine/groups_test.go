package machine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sekali/bench/labtest/machinetest"
)

// fake makes a folder of control groups, v1 and v2.
func fake(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// A process's groups are found in v1, in v2 and beside each other, with those above them, whose
// quota holds it back too; and what each says is read.
func TestGroups(t *testing.T) {
	const v2 = "usage_usec 9\nnr_periods 8\nnr_throttled 7\nthrottled_usec 6000\n"
	const v1 = "nr_periods 8\nnr_throttled 3\nthrottled_time 5000000\n"
	root := fake(t, map[string]string{
		"pod/cpu.max": "50000 100000\n", "pod/cpu.stat": v2, "pod/a/cpu.max": "max 100000\n", "pod/a/cpu.stat": "usage_usec 9\n", "cpu.stat": "usage_usec 9\n",
		"cpu/b/cpu.cfs_quota_us": "-1\n", "cpu/b/cpu.cfs_period_us": "100000\n", "cpu/b/cpu.stat": v1,
	})
	for _, test := range []struct {
		text, quota string
		folders     []string
		periods, ns int64
	}{
		{"0::/pod/a\n", "50000 100000", []string{"pod/a", "pod", ""}, 7, 6e6},
		{"4:cpuacct,cpu:/b\n1:name=systemd:/\n", "max 100000", []string{"cpu/b"}, 3, 5e6},
		{"4:cpu,cpuacct:/b/gone\n0::/elsewhere\n", "max 100000", []string{"cpu/b", ""}, 3, 5e6},
		{"0::/pod\n", "50000 100000", []string{"pod", ""}, 7, 6e6},
		{"3:cpuset:/\n", "", nil, 0, 0},
		{"nothing", "", nil, 0, 0},
	} {
		folders, err := groups(test.text, root)
		var periods, ns int64
		for i, folder := range folders {
			one, err := Throttled(folder)
			if err != nil {
				t.Fatal(err)
			}
			periods, ns = periods+one.Periods, ns+one.NS
			folders[i], _ = filepath.Rel(root, folder)
			folders[i] = filepath.Clean("/" + folders[i])[1:]
		}
		if !slices.Equal(folders, test.folders) || (err == nil) != (test.folders != nil) || periods != test.periods || ns != test.ns {
			t.Errorf("%q: %q, %d periods, %d ns, %v", test.text, folders, periods, ns, err)
		}
		for i := range folders {
			folders[i] = filepath.Join(root, folders[i])
		}
		if got := Quota(folders); got != test.quota {
			t.Errorf("%q: quota %q, want %q", test.text, got, test.quota)
		}
	}
	broken := fake(t, map[string]string{"cpu.stat": "nr_throttled many\n"})
	if got, err := Throttled(broken); err == nil {
		t.Errorf("%+v of a cpu.stat that says nothing", got)
	}
}

// TestThrottledForReal holds a busy process back with a quota of this machine's own.
func TestThrottledForReal(t *testing.T) {
	group := machinetest.Quota(t, 20*time.Millisecond)
	pid := machinetest.Busy(t, machinetest.Within(group))
	folders, err := Groups(pid)
	if err != nil || !slices.Contains(folders, group) || Quota(folders) != "20000 100000" {
		t.Fatalf("%q, quota %q, %v", folders, Quota(folders), err)
	}
	var now Throttling
	for end := time.Now().Add(20 * time.Second); now.Periods < 2 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now, err = Throttled(group); err != nil {
			t.Fatal(err)
		}
	}
	if now.Periods < 2 || now.NS == 0 {
		t.Errorf("%+v", now)
	}
}
