package integration_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
			if answer, err := a.client.Get(a.URL + "/readyz"); err != nil || answer.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("/readyz: %v, %v", answer, err)
			} else {
				answer.Body.Close()
			}
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

// TestFaultDiskFull fills a small disk under load, and gives it room again.
func TestFaultDiskFull(t *testing.T) {
	for _, fault := range []struct {
		name string
		full func(t *testing.T, mount, data string, refused func())
	}{
		{"the disk is full of events", func(t *testing.T, mount, _ string, refused func()) {
			refused()
			if out, err := exec.Command("mount", "-o", "remount,size=512m", mount).CombinedOutput(); err != nil {
				t.Errorf("remount: %s", out)
			}
		}},
		{"others fill the disk", func(t *testing.T, mount, _ string, refused func()) {
			foreign := filepath.Join(mount, "foreign")
			if err := os.WriteFile(foreign, make([]byte, smallDisk), 0o600); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("a file as large as the disk: %v", err)
			}
			refused()
			if err := os.Remove(foreign); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			f := result.Fault{Fault: fault.name, Promise: result.NothingLost, Times: times(1, 5)}
			for range f.Times {
				mount := mountSmall(t, f)
				data := filepath.Join(mount, "data")
				p := newPool(data)
				a := start(t, data)
				underLoad(t, a, p, func() {
					fault.full(t, mount, data, func() {
						waitRefusals(t, a, p)
						time.Sleep(long(500*time.Millisecond, 3*time.Second))
					})
				})
				f.Seen = fmt.Sprintf("%d refused with 503 the last time", p.refused)
				p.audit(t, a, &f)
				a.stop(t)
			}
			record(t, f)
		})
	}
}

// smallDisk is the size in bytes of a disk that is soon full.
const smallDisk = 16 << 20

// mountSmall returns such a disk's folder, or skips.
func mountSmall(t *testing.T, f result.Fault) string {
	if os.Getuid() != 0 {
		skipFault(t, f.Fault, f.Promise, "mounting a file system needs root")
	}
	mount := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", smallDisk), "sekali", mount).CombinedOutput(); err != nil {
		skipFault(t, f.Fault, f.Promise, "mount -t tmpfs: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", mount).Run() })
	return mount
}

// TestFaultBacklogFillsTheDisk: while the database is locked the journal takes what comes, and may not take the room that the store needs
// for it: when the lock is gone everything is stored, though nobody made room.
func TestFaultBacklogFillsTheDisk(t *testing.T) {
	f := result.Fault{Fault: "a backlog fills the disk", Promise: result.NothingLost, Times: times(1, 5)}
	for range f.Times {
		data := filepath.Join(mountSmall(t, f), "data")
		a := start(t, data)
		a.mustPublish(t, []byte(oneEvent("first")), "store")
		db := openDatabase(t, data)
		if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		sent, refusal := 1, ""
		payload := `,"payload":"` + strings.Repeat("x", 1<<20) + `"`
		for refusal == "" {
			status, text, err := a.publish([]byte(oneEvent(fmt.Sprint("large-", sent), payload)), "journal")
			switch {
			case err != nil || sent > smallDisk>>20:
				t.Fatalf("%d acknowledged, %d %s %v", sent, status, text, err)
			case status == http.StatusAccepted:
				sent++
			default:
				refusal = text
			}
		}
		if !strings.Contains(refusal, "disk_full") {
			t.Errorf("after %d: %s", sent, refusal)
		}
		if _, err := db.Exec("ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		c := a.drained(t)
		f.Acknowledged += sent
		f.Lost += max(0, sent-c.Unique)
		if c.Unique != sent || strings.Count(string(a.export(t)), "\n") != sent {
			t.Errorf("%d acknowledged, %+v", sent, c)
		}
		a.stop(t)
	}
	f.Seen = "all of it stored, with the room that was kept for it"
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
