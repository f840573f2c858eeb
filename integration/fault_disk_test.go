package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"sekali/bench/process"
	"sekali/bench/result"
)

// refusalWait bounds how long a broken disk takes to be noticed.
const refusalWait = 30 * time.Second

// ready asks /readyz.
func (a *aggregator) ready() bool {
	answer, err := a.client.Get(a.URL + "/readyz")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// waitRefusals waits until publishers are refused and the aggregator says that it is not ready.
func waitRefusals(t *testing.T, a *aggregator, p *publisherPool) {
	for end := time.Now().Add(refusalWait); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if p.refusals() > 0 && !a.ready() {
			return
		}
	}
	t.Errorf("after %v nobody was refused, or it was ready all the same: %d refusals", refusalWait, p.refusals())
}

// underLoad runs fault while publishers load the aggregator, and goes on for a while after it.
func underLoad(t *testing.T, a *aggregator, p *publisherPool, fault func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		time.Sleep(200 * time.Millisecond)
		fault()
		p.heal()
		for end := time.Now().Add(drainTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			p.mu.Lock()
			recovered := p.healed.IsZero()
			p.mu.Unlock()
			if recovered {
				break
			}
		}
		time.Sleep(200 * time.Millisecond)
	}()
	p.load(t, a.URL, ended)
}

// TestFaultFsync lets every fsync fail, or take 200 ms, for a while.
func TestFaultFsync(t *testing.T) {
	for _, fault := range []struct {
		name, tampering string
		refuses         bool
	}{
		{"fsync fails with EIO", "error=EIO", true},
		{"fsync takes 200 ms", "delay_enter=200000", false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			f := result.Fault{Fault: fault.name, Promise: result.NothingLost, Times: times(1, 5)}
			data := dataFolder(t)
			p := newPool(data)
			p.pause = pause
			a := start(t, data)
			for range f.Times {
				before := p.refusals()
				underLoad(t, a, p, func() {
					tampering, err := process.Inject(a.Process, "fsync,fdatasync", fault.tampering)
					if err != nil {
						f.Skipped = err.Error()
						return
					}
					time.Sleep(long(time.Second, 3*time.Second))
					if fault.refuses && (p.refusals() == before || a.ready()) {
						t.Errorf("%d refusals while no fsync succeeded; ready: %v", p.refusals()-before, a.ready())
					}
					tampering.Release()
				})
				if f.Skipped != "" {
					skipFault(t, f.Fault, f.Promise, f.Skipped)
				}
			}
			f.Seen = fmt.Sprintf("%d refused with 503", p.refused)
			p.audit(t, a, &f)
			a.stop(t)
			record(t, f)
		})
	}
}

// TestFaultDiskFull fills the disk under load, and gives it room again.
func TestFaultDiskFull(t *testing.T) {
	f := result.Fault{Fault: "the disk is full", Promise: result.NothingLost, Times: times(1, 5)}
	if os.Getuid() != 0 {
		skipFault(t, f.Fault, f.Promise, "mounting a file system needs root")
	}
	for range f.Times {
		mount := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "sekali", mount).CombinedOutput(); err != nil {
			skipFault(t, f.Fault, f.Promise, "mount -t tmpfs: "+string(out))
		}
		t.Cleanup(func() { _ = exec.Command("umount", mount).Run() })
		data := filepath.Join(mount, "data")
		p := newPool(data)
		a := start(t, data)
		underLoad(t, a, p, func() {
			waitRefusals(t, a, p)
			time.Sleep(long(500*time.Millisecond, 3*time.Second))
			if out, err := exec.Command("mount", "-o", "remount,size=512m", mount).CombinedOutput(); err != nil {
				t.Errorf("remount: %s", out)
			}
		})
		f.Seen = fmt.Sprintf("%d refused with 503 the last time", p.refused)
		p.audit(t, a, &f)
		a.stop(t)
	}
	record(t, f)
}

// TestFaultForeignLock: somebody else's transaction holds the database.
func TestFaultForeignLock(t *testing.T) {
	f := result.Fault{Fault: "a foreign BEGIN IMMEDIATE", Promise: result.NothingLost, Times: times(1, 2)}
	data := dataFolder(t)
	p := newPool(data)
	p.pause = pause
	a := start(t, data)
	for range f.Times {
		db := openDatabase(t, data)
		if _, err := db.Exec("PRAGMA busy_timeout=10000"); err != nil {
			t.Fatal(err)
		}
		underLoad(t, a, p, func() {
			if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
				t.Errorf("BEGIN IMMEDIATE: %v", err)
			}
			time.Sleep(long(3*time.Second, 10*time.Second))
			if _, err := db.Exec("ROLLBACK"); err != nil {
				t.Errorf("ROLLBACK: %v", err)
			}
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p.audit(t, a, &f)
	a.stop(t)
	record(t, f)
}

// heldWALBytes bounds the WAL of the build with small bounds: 125 pages of 8 KiB, and the batch that went over it.
const heldWALBytes = 4 << 20

// TestFaultSnapshotHeld: a foreign reader never ends its transaction, so the WAL cannot be given back.
func TestFaultSnapshotHeld(t *testing.T) {
	f := result.Fault{Fault: "a foreign reader holds a snapshot", Promise: result.NothingLost, Times: 1}
	program, err := crashBinary() // checkpoints every 31 pages
	if err != nil {
		t.Fatal(err)
	}
	data := dataFolder(t)
	p := newPool(data)
	a, err := startWith(t, program, nil, data)
	if err != nil {
		t.Fatal(err)
	}
	db := openDatabase(t, data)
	underLoad(t, a, p, func() {
		var n int
		if _, err := db.Exec("BEGIN"); err != nil {
			t.Error(err)
		}
		if err := db.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
			t.Error(err)
		}
		waitRefusals(t, a, p)
		time.Sleep(long(time.Second, 10*time.Second))
		if info, err := os.Stat(filepath.Join(data, "events.db-wal")); err != nil || info.Size() > heldWALBytes {
			t.Errorf("the WAL under a held snapshot: %v, %v", info.Size(), err)
		}
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
	})
	f.Seen = fmt.Sprintf("%d refused with 503", p.refused)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p.audit(t, a, &f)
	a.stop(t)
	record(t, f)
}
