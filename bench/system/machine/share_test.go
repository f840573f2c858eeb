package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAffinity(t *testing.T) {
	if got := affinity("Name:\tbench\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1,5\n"); got != "0-1,5" {
		t.Errorf("%q", got)
	}
	if got := affinity("Name:\tbench\n"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestQuota(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"docker/a/cpu.max": "50000 100000\n", "cpu/b/cpu.cfs_quota_us": "-1\n", "cpu/b/cpu.cfs_period_us": "100000\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for groups, want := range map[string]string{
		"0::/docker/a\n": "50000 100000", "4:cpu,cpuacct:/b\n1:name=systemd:/\n": "max 100000", "0::/elsewhere\n": "", "nothing": "",
	} {
		if got := quota(groups, root); got != want {
			t.Errorf("%q: %q, want %q", groups, got, want)
		}
	}
}
