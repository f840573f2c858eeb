// Package experiment has what the lab's experiments beside its runs share.
package experiment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// WhereAndWhen is what stands above a table. The commit is the lab's version; of one that has none,
// what git says of the folder here.
func WhereAndWhen(version string) (date, machine, commit string) {
	commit = cmp.Or(version, "unknown")
	if version == "" {
		if described, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
			commit = string(bytes.TrimSpace(described))
		}
	}
	var name unix.Utsname
	_ = unix.Uname(&name)
	machine = fmt.Sprintf("%d cores, %s %s, linux %s", runtime.NumCPU(), runtime.GOARCH, runtime.Version(), unix.ByteSliceToString(name.Release[:]))
	return time.Now().UTC().Format(time.RFC3339), machine, commit
}

// Anew makes a folder anew, and removes all that it holds. It refuses one that holds something, and
// nothing of one of the command's own names.
func Anew(dir string, own ...string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mine := func(e os.DirEntry) bool { return slices.Contains(own, e.Name()) }
	if len(entries) > 0 && !slices.ContainsFunc(entries, mine) {
		return fmt.Errorf("%s holds something, and no results of this command (%s): remove it, or choose another -out", dir, own[0])
	}
	return errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755))
}
