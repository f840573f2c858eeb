package faults

import (
	"math/rand/v2"
	"path/filepath"
	"time"

	"sekali/bench/record"
	"sekali/bench/system/powercut"
)

// newDisk makes and mounts one; it is unmounted when the sitting ends.
func (s *sitting) newDisk() (*powercut.Disk, error) {
	dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	d, err := powercut.NewDisk(dir)
	if err != nil {
		return nil, skip("%v", err)
	}
	s.onEnd(d.Close)
	return d, nil
}

// loadUntilCut loads the aggregator until the power of its disk is cut, and mounts that again.
func (t *trial) loadUntilCut(a *aggregator, d *powercut.Disk, after time.Duration) error {
	failed := make(chan error, 1)
	time.AfterFunc(after, func() {
		err := powercut.Freeze(a.PID())
		if err == nil {
			err = d.Cut()
		}
		a.Kill()
		failed <- err
	})
	err := t.load(a.URL, a.Exited())
	if cut := <-failed; cut != nil {
		return cut
	}
	if err != nil {
		return err
	}
	t.wasKilled(a)
	t.injected()
	return d.Again()
}

// powerLoss cuts the power of the disk in the middle of a load, and looks at what it has.
func powerLoss(s *sitting) error {
	d, err := s.newDisk()
	if err != nil {
		return err
	}
	t, err := s.newTrial(filepath.Join(d.Mount, "data"), everyLevel...)
	if err != nil {
		return err
	}
	a, err := s.start(t.data)
	if err != nil {
		return err
	}
	for range s.times() {
		if err := t.loadUntilCut(a, d, time.Duration(100+rand.IntN(400))*time.Millisecond); err != nil {
			return err
		}
		if a, err = t.restart(); err != nil {
			return err
		}
	}
	return t.lookAndStop(a)
}

// powerLossUnsynced is its control: without fsync the same cut must lose something.
func powerLossUnsynced(s *sitting) error {
	for range s.times() {
		d, err := s.newDisk()
		if err != nil {
			return err
		}
		t, err := s.newTrial(filepath.Join(d.Mount, "data"), everyLevel...)
		if err != nil {
			return err
		}
		a, err := s.startCrash([]string{"SEKALI_NOSYNC=1"}, t.data)
		if err != nil {
			return err
		}
		if err := t.loadUntilCut(a, d, 500*time.Millisecond); err != nil {
			return err
		}
		after, err := s.launch(s.Aggregator, nil, t.data)
		if err != nil { // what is left cannot be opened: all is lost
			t.record.Looks = append(t.record.Looks, record.Look{End: record.Refused})
			t.end()
			continue
		}
		if err := t.lookAndStop(after); err != nil {
			return err
		}
	}
	return nil
}
