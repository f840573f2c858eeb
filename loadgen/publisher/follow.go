package publisher

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// pollEvery is how often a file that has been read to its end is looked at.
	pollEvery = 250 * time.Millisecond
	// rotatedFor is how long a file that was rotated away is still read: a program
	// may write to it until it is told, or until its last request has ended.
	rotatedFor = 10 * time.Minute
	// maxFollowed bounds the files that are read beside each other.
	maxFollowed = 16
)

// follower reads a log that is written and rotated meanwhile: renamed, or copied and truncated.
// Where lines went elsewhere before they were read, it looks for them in the rotated copies.
type follower struct {
	config  Config
	done    <-chan struct{} // closed when it is to end
	warn    func(string)
	files   []*followed // the oldest first
	turn    int         // of files: the one that is read
	current *followed   // what the last line is of
	latest  *followed   // the one that was at the path; nil if it is none of files
	since   time.Time   // without latest: when the last file before was written; zero if there was none

	generations map[fileKey]int // how often a file that was at the path was truncated
}

// fileKey tells a file from others, whatever its name and content.
type fileKey struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Birth  int64  `json:"birth"`
}

func keyOf(handle *os.File, info os.FileInfo) (k fileKey) {
	k.Device, k.Inode, k.Birth = identify(handle, info)
	return k
}

// followed is a file that is read to its end, again and again.
type followed struct {
	*file
	handle   *os.File
	info     os.FileInfo  // of when it was opened
	position filePosition // what of it does not change
}

// openFollower goes on from the saved files.
func openFollower(ctx context.Context, c Config, saved []filePosition, savedAt time.Time, warn func(string)) (*follower, error) {
	f := &follower{config: c, done: ctx.Done(), warn: warn, since: savedAt, generations: map[fileKey]int{}}
	f.current = &followed{file: newFile(bytes.NewReader(nil), "")}
	for _, position := range saved {
		f.generations[position.fileKey] = max(f.generations[position.fileKey], position.Generation+1)
		f.resume(position)
	}
	_, err := f.look()
	if errors.Is(err, os.ErrNotExist) && c.Follow {
		err = nil // it may come
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%w: -input: %w", ErrConfig, err)
	}
	return f, nil
}

func (f *follower) from() *file { return f.current.file }

func (f *follower) Close() error {
	for _, one := range f.files {
		one.handle.Close()
	}
	return nil
}

// next reads the files in turn. It waits at their ends, unless they are only to
// be read as far as they go now.
func (f *follower) next() ([]byte, error) {
	for {
		for f.turn < len(f.files) {
			one := f.files[f.turn]
			line, err := one.next()
			if err == nil || errors.Is(err, errLineTooLong) {
				f.current = one
				return line, err
			}
			if one.position.Copy && errors.Is(err, io.ErrUnexpectedEOF) {
				f.warn(fmt.Sprintf("%s ends too early: what it would hold behind byte %d is not known", one.handle.Name(), one.end))
			} else if !errors.Is(err, io.EOF) {
				return nil, err
			}
			if one.grows {
				f.turn++
				continue
			}
			one.handle.Close()
			f.files = slices.Delete(f.files, f.turn, f.turn+1)
		}
		f.turn = 0
		changed, err := f.look()
		switch {
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return nil, err
		case changed:
			continue
		case !f.config.Follow:
			return nil, io.EOF
		}
		select {
		case <-time.After(f.config.pollEvery()):
		case <-f.done:
			return nil, context.Canceled
		}
	}
}

// lookAhead reads the file's beginning, which tells it from what it may be replaced by.
func (one *followed) lookAhead() {
	if len(one.head) == headBytes || one.position.Copy {
		return
	}
	head := make([]byte, headBytes)
	if n, _ := one.handle.ReadAt(head, 0); n > len(one.head) && bytes.HasPrefix(head, one.head) {
		one.head = head[:n]
	}
}

// look notices rotation, and what else has to be read. False if there is nothing new.
func (f *follower) look() (changed bool, err error) {
	for i, one := range f.files {
		info, err := one.handle.Stat()
		if err != nil {
			return false, err
		}
		grown := info.Size() > one.end+one.pending
		if one.grows && !one.intact(info) {
			f.truncated(i)
			return true, nil
		}
		old := one != f.latest && time.Since(info.ModTime()) > rotatedFor || len(f.files) > maxFollowed && i == 0
		if old && one.grows && !grown {
			one.grows, changed = false, true // what it holds without a line's end is its last line
		}
		changed = changed || one.grows && grown
	}
	info, err := os.Stat(f.config.Input)
	if err != nil || f.latest != nil && os.SameFile(info, f.latest.info) {
		return changed, err
	}
	since := f.since
	if f.latest != nil {
		if last, err := f.latest.handle.Stat(); err == nil {
			since = last.ModTime()
		}
	}
	if !since.IsZero() {
		f.between(since)
	}
	return true, f.begin()
}

// intact is whether the file still holds what was read of it.
func (one *followed) intact(info os.FileInfo) bool {
	return info.Size() >= one.end && holds(one.handle, one.head, 0) &&
		holds(one.handle, one.tail, one.end-int64(len(one.tail)))
}

func holds(in io.ReaderAt, want []byte, at int64) bool {
	have := make([]byte, len(want))
	n, _ := in.ReadAt(have, at)
	return n == len(want) && bytes.Equal(have, want)
}

// still is what a file holds while it is the one that was begun. One that was truncated and has
// grown again ends there: its new content is no continuation of what was read.
type still struct{ *followed }

func (s still) Read(p []byte) (int, error) {
	n, err := s.handle.Read(p)
	if n == 0 {
		return 0, err
	}
	info, failure := s.handle.Stat()
	if failure != nil {
		return 0, failure
	}
	if !s.intact(info) { // looked at after the read, which may be of what came meanwhile
		return 0, io.EOF
	}
	return n, err
}

// truncated goes on with the copy of a file's former content. What is at the path is then another
// file.
func (f *follower) truncated(i int) {
	one := f.files[i]
	one.handle.Close()
	f.files = slices.Delete(f.files, i, i+1)
	if one == f.latest {
		f.latest, f.since = nil, one.info.ModTime()
	}
	f.goOnInCopy(i, one.at())
}

// goOnInCopy puts the copy of a file into its place.
func (f *follower) goOnInCopy(i int, position filePosition) {
	if len(position.Head) == 0 {
		return // nothing is known of it: its copy is one that was written since
	}
	copied := f.copyOf(position)
	if copied == nil {
		f.warn(fmt.Sprintf("%s was truncated or removed, and no copy is there: what was written after byte %d of it is not known",
			f.config.Input, position.Offset))
		return
	}
	f.files = slices.Insert(f.files, i, copied)
	f.since = copied.info.ModTime()
}

// begin reads the file at the path from its beginning.
func (f *follower) begin() error {
	handle, info, err := openFile(f.config.Input)
	if err != nil {
		return err
	}
	one, err := f.open(handle, info)
	if err != nil {
		handle.Close()
		return fmt.Errorf("%s %w", f.config.Input, err)
	}
	f.files = append(f.files, one)
	f.latest = one
	return nil
}

func (f *follower) open(handle *os.File, info os.FileInfo) (*followed, error) {
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file, and only such can be followed")
	}
	if err := refuseBinary(bufio.NewReader(io.NewSectionReader(handle, 0, sniffBytes))); err != nil {
		return nil, err
	}
	if compressed(handle) {
		return nil, errors.New("is compressed, and cannot be followed")
	}
	key, identity := keyOf(handle, info), fileIdentity(f.config, handle, info)
	generation := f.generations[key]
	f.generations[key]++
	if generation > 0 {
		identity = fmt.Sprintf("%s again %d", identity, generation)
	}
	one := &followed{file: newFile(nil, identity), handle: handle, info: info}
	one.in = bufio.NewReaderSize(still{one}, 64<<10)
	one.position = filePosition{fileKey: key, Written: info.ModTime(), Generation: generation}
	one.lookAhead()
	one.grows = true
	if f.config.Lines {
		one.years.last = firstYear(io.NewSectionReader(handle, 0, info.Size()), info.ModTime(), f.config.zone())
	}
	return one, nil
}

func compressed(handle *os.File) bool {
	text := bufio.NewReader(io.NewSectionReader(handle, 0, sniffBytes))
	return begins(text, gzipMagic) || begins(text, zstdMagic)
}

// resume goes on with a file of an earlier run: under its name, under the one it
// was rotated to, or in its copy.
func (f *follower) resume(position filePosition) {
	if len(position.Head) == 0 { // it was empty, and may have been written and truncated since
		f.latest, f.since = nil, position.Written
		f.generations[position.fileKey] = position.Generation
		return
	}
	for _, path := range append([]string{f.config.Input}, f.rotated(time.Time{})...) {
		if position.Copy {
			break
		}
		handle, info, err := openFile(path)
		if err != nil {
			continue
		}
		if keyOf(handle, info) == position.fileKey && info.Mode().IsRegular() {
			one := &followed{file: newFile(nil, ""), handle: handle, info: info}
			one.restore(position)
			one.grows = true
			if _, err := handle.Seek(position.Offset, io.SeekStart); err == nil && one.intact(info) {
				one.in = bufio.NewReaderSize(still{one}, 64<<10)
				f.files = append(f.files, one)
				f.latest = one
				return
			}
		}
		handle.Close()
	}
	f.latest, f.since = nil, position.Written
	f.goOnInCopy(len(f.files), position)
}

// copyOf finds the rotated copy that holds what was read of a file, and goes on
// in it behind that. It does not grow. Of copies that begin alike it is the oldest
// that is not older than the file was.
func (f *follower) copyOf(position filePosition) *followed {
	for _, path := range slices.Backward(f.rotated(position.Written.Add(-1))) {
		handle, info, err := openCopy(path)
		if err != nil {
			continue
		}
		if f.reads(info) {
			handle.Close()
			continue
		}
		if text, ok := behind(handle, info, position); ok {
			one := &followed{file: newFile(nil, ""), handle: handle, info: info}
			if position.Fresh {
				if _, err := handle.Seek(0, io.SeekStart); err != nil {
					f.warn(err.Error())
				}
				text, _, _ = decode(handle)
				one.file = newFile(nil, position.Identity)
				one.head = slices.Clip(position.Head)
				one.seen, one.years.last = newWindow(), position.Year
			} else {
				one.restore(position)
			}
			one.position = position
			one.position.Copy = true
			one.in = bufio.NewReaderSize(text, 64<<10)
			return one
		}
		handle.Close()
	}
	return nil
}

// behind returns what a copy holds after the position, if it is a copy.
func behind(handle *os.File, info os.FileInfo, position filePosition) (io.Reader, bool) {
	if !info.Mode().IsRegular() {
		return nil, false
	}
	text, _, err := decode(handle)
	if err != nil {
		return nil, false
	}
	head := make([]byte, len(position.Head))
	if _, err := io.ReadFull(text, head); err != nil || !bytes.Equal(head, position.Head) {
		return nil, false
	}
	if position.Offset < int64(len(head)) {
		return io.MultiReader(bytes.NewReader(head[position.Offset:]), text), true
	}
	// The tail may overlap the head: then the head has told all there is to tell.
	tail := position.Tail[max(0, len(position.Tail)-int(position.Offset-int64(len(head)))):]
	skip := position.Offset - int64(len(head)) - int64(len(tail))
	if n, err := io.CopyN(io.Discard, text, skip); err != nil || n != skip {
		return nil, false
	}
	have := make([]byte, len(tail))
	_, err = io.ReadFull(text, have)
	return text, err == nil && bytes.Equal(have, tail)
}

// between adds the copies that were written after since: files that came to the path and were
// rotated away while nobody looked. Equal lines are counted in each alone, and each is read again
// from its beginning after a kill: were one known after all, it would be all duplicates. None of
// them is what may be another program's log.
func (f *follower) between(since time.Time) {
	for _, path := range slices.Backward(f.rotated(since)) {
		if _, another := isRotated(filepath.Base(path), filepath.Base(f.config.Input)); another {
			continue
		}
		handle, info, err := openCopy(path)
		if err != nil {
			continue
		}
		if f.reads(info) || !info.Mode().IsRegular() || !info.ModTime().After(since) {
			handle.Close()
			continue
		}
		read, err := readPlain(f.config, handle, info)
		if err != nil {
			handle.Close()
			f.warn(fmt.Sprintf("%s %v", path, err))
			continue
		}
		one := &followed{file: read.file, handle: handle, info: info}
		one.seen = newWindow()
		ahead, _ := one.in.Peek(headBytes)
		one.head = bytes.Clone(ahead)
		one.position = filePosition{fileKey: keyOf(handle, info), Written: info.ModTime(), Copy: true, Fresh: true, Year: one.years.last}
		if len(ahead) == 0 {
			handle.Close()
		} else if len(f.files) < maxFollowed {
			f.files = append(f.files, one)
		} else {
			handle.Close()
			f.warn(fmt.Sprintf("%s is not read: more than %d files wait", path, maxFollowed))
		}
	}
}

// reads is whether the file is one of those that are read.
func (f *follower) reads(info os.FileInfo) bool {
	return slices.ContainsFunc(f.files, func(one *followed) bool { return os.SameFile(one.info, info) })
}
