package main

import (
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"

	"sekali/bench/record"
)

// count counts what a system that has ended has written and what it keeps in dir. own is what this
// process had used before the system was started: the rest is of a system that runs within.
func count(r *record.YardstickRound, s system, own syscall.Rusage, dir string, logs []string) (err error) {
	ended := s.process().ended()
	if ended == nil {
		now, err := ownUsage()
		if err != nil {
			return err
		}
		now.Oublock -= own.Oublock
		ended = &now
	}
	r.BytesWritten = writtenBy(ended)
	r.BytesKept, err = keptIn(dir, logs)
	return err
}

// writtenBy is what a process has handed to the block layer; of one that has ended, with those of
// its children that it has waited for.
func writtenBy(usage *syscall.Rusage) int64 {
	const block = 512 // the kernel counts bytes, and shows these
	return usage.Oublock * block
}

// keptIn is what the files in dir take on the disk, but for those below the folders logs.
func keptIn(dir string, logs []string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, err := filepath.Rel(dir, path); err != nil {
			return err
		} else if slices.Contains(logs, name) {
			return fs.SkipDir
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	return bytes, err
}
