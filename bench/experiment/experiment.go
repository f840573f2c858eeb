// Package experiment has what the lab's experiments beside its runs share.
package experiment

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// WhereAndWhen is what stands above a table.
func WhereAndWhen() (date, machine, commit string) {
	commit = "unknown"
	if described, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		commit = string(bytes.TrimSpace(described))
	}
	var name unix.Utsname
	_ = unix.Uname(&name)
	machine = fmt.Sprintf("%d cores, %s %s, linux %s", runtime.NumCPU(), runtime.GOARCH, runtime.Version(), unix.ByteSliceToString(name.Release[:]))
	return time.Now().UTC().Format(time.RFC3339), machine, commit
}
