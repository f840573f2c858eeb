package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sekali/bench/system/process"
	"sekali/loadgen/delivery"
	"sekali/loadgen/ledger"
	"sekali/loadgen/stream"
)

// smallDisk is the size in bytes of a disk that is soon full.
const smallDisk = 16 << 20

// fsync lets every fsync fail, or take its time, for a while.
func fsync(tampering string, refuses bool) func(s *sitting) error {
	return func(s *sitting) error {
		t, err := s.newTrial(s.dataFolder(), everyLevel...)
		if err != nil {
			return err
		}
		t.pause = pause
		a, err := s.start(t.data)
		if err != nil {
			return err
		}
		for range s.times() {
			before := t.refusals()
			err := t.underLoad(a, func() error {
				injection, err := process.Inject(a.Process, "fsync,fdatasync", tampering)
				if err != nil {
					return skip("%v", err)
				}
				defer injection.Release()
				s.sleep(s.long(time.Second, 3*time.Second))
				if refused := t.refusals() - before; refuses && (refused == 0 || a.isReady()) {
					t.broken("%d refusals while no fsync succeeded; ready: %v", refused, a.isReady())
				}
				return nil
			})
			if err != nil {
				return err
			}
			t.injected()
		}
		return t.lookAndStop(a)
	}
}

// mountSmall returns the folder of a disk that is soon full; it is unmounted when the sitting ends.
func (s *sitting) mountSmall() (string, error) {
	if os.Getuid() != 0 {
		return "", skip("mounting a file system needs root")
	}
	mount, err := s.folder()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprint("size=", smallDisk), "sekali", mount).CombinedOutput(); err != nil {
		return "", skip("mount -t tmpfs: %s", out)
	}
	s.onEnd(unmount(mount))
	return mount, nil
}

// growDisk makes room on a disk that is full.
func growDisk(mount string, full func()) error {
	full()
	if out, err := exec.Command("mount", "-o", "remount,size=512m", mount).CombinedOutput(); err != nil {
		return fmt.Errorf("remount: %s", out)
	}
	return nil
}

// foreignFile fills a disk, and is removed.
func foreignFile(mount string, full func()) error {
	foreign := filepath.Join(mount, "foreign")
	if err := os.WriteFile(foreign, make([]byte, smallDisk), 0o600); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a file as large as the disk: %v", err)
	}
	full()
	return os.Remove(foreign)
}

// diskFull fills a small disk under load, and gives it room again.
func diskFull(fill func(mount string, full func()) error) func(s *sitting) error {
	return func(s *sitting) error {
		for range s.times() {
			mount, err := s.mountSmall()
			if err != nil {
				return err
			}
			t, err := s.newTrial(filepath.Join(mount, "data"), everyLevel...)
			if err != nil {
				return err
			}
			a, err := s.start(t.data)
			if err != nil {
				return err
			}
			err = t.underLoad(a, func() error {
				return fill(mount, func() {
					t.awaitRefusals(a)
					s.sleep(s.long(500*time.Millisecond, 3*time.Second))
				})
			})
			if err != nil {
				return err
			}
			t.injected()
			if err := t.lookAndStop(a); err != nil {
				return err
			}
		}
		return nil
	}
}

// backlogFillsDisk: while the database is locked the journal takes what comes, and may not take the
// room that the store needs for it: when the lock is gone everything is stored, though nobody made
// room.
func backlogFillsDisk(s *sitting) error {
	for range s.times() {
		if err := s.fillByBacklog(); err != nil {
			return err
		}
	}
	s.record.Note = "all of it stored, with the room that was kept for it"
	return nil
}

func (s *sitting) fillByBacklog() error {
	mount, err := s.mountSmall()
	if err != nil {
		return err
	}
	t, err := s.newTrialOf(stream.Config{PayloadBytes: 1 << 20}, 1, filepath.Join(mount, "data"), "store", "journal")
	if err != nil {
		return err
	}
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	sender := &delivery.Sender{Transport: a.client.Transport, Timeout: requestTimeout, Start: time.Now()}
	if acknowledged, err := t.publish(sender, a.URL, 0); err != nil || !acknowledged {
		return fmt.Errorf("the first event was not acknowledged: %v", err)
	}
	db, err := s.openDatabase(t.data)
	if err != nil {
		return err
	}
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for acknowledged := true; acknowledged; {
		if acknowledged, err = t.publish(sender, a.URL, 1); err != nil {
			return err
		}
		if t.acknowledged() > smallDisk>>20 {
			return fmt.Errorf("%d events of 1 MB were acknowledged on a disk of %d MB", t.acknowledged(), smallDisk>>20)
		}
	}
	if last := t.last; last.Cause != "disk_full" || last.Outcome() != ledger.Refused {
		t.broken("refused as %q (%d), not as disk_full", last.Cause, last.Status)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	t.injected()
	return t.lookAndStop(a)
}

// foreignLock: somebody else's transaction holds the database.
func foreignLock(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	t.pause = pause
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		db, err := s.openDatabase(t.data)
		if err != nil {
			return err
		}
		if _, err := db.Exec("PRAGMA busy_timeout=10000"); err != nil {
			return err
		}
		err = t.underLoad(a, func() error {
			if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
				return err
			}
			s.sleep(s.long(3*time.Second, 10*time.Second))
			_, err := db.Exec("ROLLBACK")
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			return err
		}
		t.injected()
	}
	return t.lookAndStop(a)
}

// heldWALBytes bounds the WAL of the build with small bounds: 125 pages of 8 KiB, and the batch
// that went over it.
const heldWALBytes = 4 << 20

// snapshotHeld: a foreign reader never ends its transaction, so the WAL cannot be given back. The
// journal still takes what comes: it is the level store that is not ready.
func snapshotHeld(s *sitting) error {
	t, err := s.newTrial(s.dataFolder(), everyLevel...)
	if err != nil {
		return err
	}
	a, err := s.startCrash(nil, t.data, "-ack", "store") // checkpoints every 31 pages
	if err != nil {
		return err
	}
	db, err := s.openDatabase(t.data)
	if err != nil {
		return err
	}
	err = t.underLoad(a, func() error {
		var n int
		if _, err := db.Exec("BEGIN"); err != nil {
			return err
		}
		if err := db.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
			return err
		}
		t.awaitRefusals(a)
		s.sleep(s.long(time.Second, 10*time.Second))
		info, err := os.Stat(filepath.Join(t.data, "events.db-wal"))
		if err != nil {
			return err
		}
		if info.Size() > heldWALBytes {
			t.broken("the WAL has %d bytes under a held snapshot", info.Size())
		}
		_, err = db.Exec("ROLLBACK")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	t.injected()
	return t.lookAndStop(a)
}
