package powercut

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestCut: what was synced is there when the power is back, and what was only written is not.
func TestCut(t *testing.T) {
	d, err := NewDisk(t.TempDir())
	if err != nil {
		t.Skip("skipped: ", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"synced", "written"} {
		file, err := os.Create(filepath.Join(d.Mount, name))
		if err == nil && name == "synced" {
			err = file.Sync()
		}
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(d.Cut(), d.Again()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(d.Mount, "synced")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(d.Mount, "written")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was not synced is there, too: %v", err)
	}
}

// TestHeldByAnother: a namespace of somebody else's, made while the disk was mounted, holds what
// was cut. The power is back all the same.
func TestHeldByAnother(t *testing.T) {
	d, err := NewDisk(t.TempDir())
	if err != nil {
		t.Skip("skipped: ", err)
	}
	t.Cleanup(func() { _ = d.Close() })
	other := exec.Command("unshare", "--mount", "sh", "-c", "echo; exec sleep 60")
	said, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Skip("skipped: ", err)
	}
	defer func() {
		other.Process.Kill()
		other.Wait()
	}()
	if n, err := said.Read(make([]byte, 1)); n != 1 {
		t.Skip("skipped: no namespace here: ", err)
	}
	if err := errors.Join(d.Cut(), d.Again()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Mount, "a"), nil, 0o600); err != nil {
		t.Error(err)
	}
}

// TestFreeze: a process that ran has no thread left that does.
func TestFreeze(t *testing.T) {
	busy := exec.Command("sh", "-c", "while :; do :; done")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		busy.Process.Kill()
		busy.Wait()
	}()
	if err := Freeze(busy.Process.Pid); err != nil {
		t.Error(err)
	}
}
