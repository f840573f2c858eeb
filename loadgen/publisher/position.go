package publisher

import (
	"container/heap"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	positionVersion = 1
	// saveEvery is how much later the position is saved again. What was acknowledged
	// since is sent again after a kill, and dropped as a duplicate.
	saveEvery = time.Second
	// keptSeconds before the newest time is how far back equal lines are told apart
	// after a start. Logs are out of order by a request's time.
	keptSeconds = 60
	// maxPositionBytes bounds a state file: all of a window, as base64, and some.
	maxPositionBytes = 16 << 20
)

// position is the state file: how far a log was read and acknowledged.
type position struct {
	Version   int            `json:"version"`
	Input     string         `json:"input"`
	SavedAt   time.Time      `json:"saved_at"`
	Files     []filePosition `json:"files"`
	Forgotten int64          `json:"forgotten"` // as window's
	Seen      []byte         `json:"seen"`      // of window's lines: key, time, count
}

// filePosition is how far one file was read.
type filePosition struct {
	Identity string `json:"identity"` // in the ids of its lines without a time
	fileKey
	Generation int       `json:"generation"` // how often it was truncated before
	Written    time.Time `json:"written"`    // when it was opened
	Copy       bool      `json:"copy"`       // it is read in a rotated copy
	Fresh      bool      `json:"fresh"`      // it was found as a copy, and is read from its beginning
	Offset     int64     `json:"offset"`     // where the next line begins
	Head       []byte    `json:"head"`       // its first bytes
	Tail       []byte    `json:"tail"`       // the last before the offset
	Anchor     anchor    `json:"anchor"`
	Year       time.Time `json:"year"` // as years.last
}

// at is how far the file was read.
func (one *followed) at() filePosition {
	one.lookAhead()
	p := one.position
	p.Identity, p.Offset, p.Head, p.Anchor = one.identity, one.end, one.head, one.anchor
	if !p.Fresh {
		p.Year = one.years.last
	}
	p.Tail = append([]byte(nil), one.tail...)
	return p
}

func (one *followed) restore(p filePosition) {
	one.position, one.identity, one.end, one.anchor, one.years.last = p, p.Identity, p.Offset, p.Anchor, p.Year
	one.head = slices.Clip(p.Head)
	one.tail = p.Tail
}

// mark is how far the log was read, and what the window took in, with a line.
type mark struct {
	files []filePosition
	line  timedLine
	dated bool
}

// mark is that of the last line.
func (f *follower) mark() *mark {
	m := &mark{files: make([]filePosition, len(f.files))}
	for i, one := range f.files {
		m.files[i] = one.at()
	}
	return m
}

// loadPosition is empty if there is no state file yet.
func loadPosition(path, input string) (position, error) {
	var p position
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil && len(text) > maxPositionBytes {
		err = errors.New("is too large")
	}
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	switch {
	case err != nil:
	case p.Version != positionVersion:
		err = fmt.Errorf("is of version %d, and not %d", p.Version, positionVersion)
	case p.Input != input:
		err = fmt.Errorf("is of the input %s", p.Input)
	}
	if err != nil {
		return p, fmt.Errorf("%w: -state: %s: %w", ErrConfig, path, err)
	}
	return p, nil
}

// window is what was saved of one.
func (p position) window() *window {
	w := newWindow()
	if p.Version == 0 {
		return w
	}
	w.forgotten = p.Forgotten
	for rest := p.Seen; len(rest) >= seenBytes; rest = rest[seenBytes:] {
		key := digest(rest[:16])
		w.counts[key] = binary.BigEndian.Uint32(rest[24:])
		heap.Push(&w.byTime, timedLine{int64(binary.BigEndian.Uint64(rest[16:])), key})
	}
	return w
}

const seenBytes = 16 + 8 + 4

// saver keeps the state file. It follows the reader at the distance of what is acknowledged.
type saver struct {
	path, input string
	seen        *window
	files       []filePosition
	latest      int64 // time of the last line that has one
	due         time.Time
}

// newSaver saves where src begins: what is written from now on will be found,
// also if the log is rotated before the first line is acknowledged.
func newSaver(c Config, from position, src source) (*saver, error) {
	s := &saver{path: c.State, input: c.Input, seen: from.window()}
	for _, line := range s.seen.byTime {
		s.latest = max(s.latest, line.at)
	}
	switch src := src.(type) {
	case *logSource:
		s.files = src.lines.(*follower).mark().files
	case *jsonSource:
		s.files = src.lines.(*follower).mark().files
	}
	return s, s.save()
}

// took says that the events of these places were answered for good.
func (s *saver) took(places []place) error {
	for _, at := range places {
		if at.mark == nil {
			continue
		}
		s.files = at.mark.files
		if at.mark.dated {
			s.latest = at.mark.line.at
			s.seen.add(at.mark.line.key, s.latest)
		}
	}
	if time.Now().Before(s.due) {
		return nil
	}
	return s.save()
}

func (s *saver) save() error {
	p := position{Version: positionVersion, Input: s.input, SavedAt: time.Now(), Files: s.files, Forgotten: s.seen.forgotten}
	for _, line := range s.seen.byTime {
		if line.at < s.latest-keptSeconds {
			p.Forgotten = max(p.Forgotten, line.at)
			continue
		}
		p.Seen = append(p.Seen, line.key[:]...)
		p.Seen = binary.BigEndian.AppendUint64(p.Seen, uint64(line.at))
		p.Seen = binary.BigEndian.AppendUint32(p.Seen, s.seen.counts[line.key])
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = replaceFile(s.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("-state: %w", err)
	}
	s.due = time.Now().Add(saveEvery)
	return nil
}

// replaceFile leaves the file as it was or as it is to be, whatever happens.
func replaceFile(path string, text []byte) error {
	folder := filepath.Dir(path)
	next, err := os.CreateTemp(folder, ".sekali-state-*")
	if err != nil {
		return err
	}
	defer os.Remove(next.Name())
	_, err = next.Write(text)
	if err = errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return err
	}
	names, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(names.Sync(), names.Close())
}
