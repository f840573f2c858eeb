// Package machinetest makes a machine bad for tests: busy loops, and CPU quotas.
package machinetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// cpuGroups is where Linux mounts the control groups of v1 that have quotas; in v2 all do, once
	// the parent lets them.
	cpuGroups = "/sys/fs/cgroup/cpu"
	allGroups = "/sys/fs/cgroup"
	period    = 100 * time.Millisecond
)

// Quota makes a control group whose processes may use so much CPU time in every 100 ms. It skips
// the test where none can be made.
func Quota(t *testing.T, allowed time.Duration) (group string) {
	t.Helper()
	name := fmt.Sprintf("sekali-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	files := map[string]string{"cpu.cfs_period_us": fmt.Sprint(period.Microseconds()), "cpu.cfs_quota_us": fmt.Sprint(allowed.Microseconds())}
	group = filepath.Join(cpuGroups, name)
	if _, err := os.Stat(filepath.Join(cpuGroups, "cgroup.procs")); err != nil {
		group = filepath.Join(allGroups, name)
		files = map[string]string{"cpu.max": fmt.Sprintf("%d %d", allowed.Microseconds(), period.Microseconds())}
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("skipped: no control group can be made: %v", err)
	}
	t.Cleanup(func() { remove(t, group) })
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o644); err != nil {
			t.Skipf("skipped: no CPU quota can be set: %v", err)
		}
	}
	return group
}

// remove waits for the processes of the group, which have been killed, to be gone.
func remove(t *testing.T, group string) {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(group)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s is left behind: %v", group, err)
			return
		}
	}
}

// Within is a shell's command to go into a group.
func Within(group string) string { return "echo $$ > " + filepath.Join(group, "cgroup.procs") }

// Busy starts a process that uses a core until the test ends. The shell obeys first, if not "".
func Busy(t *testing.T, first string) (pid int) {
	t.Helper()
	if first == "" {
		first = ":"
	}
	command := exec.Command("sh", "-c", first+" && echo begun && while :; do :; done")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	said, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait() // by a signal
	})
	word := make([]byte, len("begun"))
	if _, err := said.Read(word); err != nil || !strings.HasPrefix(string(word), "begun") {
		t.Fatalf("the busy loop says %q, %v", word, err)
	}
	return command.Process.Pid
}

// Pin is a shell's command to stay on one core; it skips the test where there is none.
func Pin(t *testing.T, core int) string {
	t.Helper()
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip("skipped: taskset is not installed")
	}
	return fmt.Sprintf("taskset -pc %d $$ > /dev/null", core)
}
