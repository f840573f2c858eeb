package crashimage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Rules are what a disk promises. The zero value is a good one; a control breaks one rule.
type Rules struct {
	NoDataSync   bool // a sync of a file does nothing
	NoFolderSync bool // a sync of a folder does nothing
}

// change is something done to a file that need not be on the disk.
type change struct {
	at     int    // the Op
	fd     string // that wrote it
	data   []byte
	offset int64
	cut    bool // a truncation to offset
}

// file is a file or a folder.
type file struct {
	folder  bool
	size    int64  // as programs see it
	disk    []byte // what is there for sure
	pending []change
}

// named is a name that was made, changed or removed.
type named struct {
	at   int
	from string
	to   string
	file *file // nil: from is removed
}

// image is a disk while the Ops are replayed.
type image struct {
	random *rand.Rand
	rules  Rules
	root   string
	names  map[string]*file   // as programs see them
	disk   map[string]*file   // that are there for sure
	wait   map[string][]named // by folder
}

// Write makes, in the folder to, what the disk may hold when the power is cut before the Op number
// cut.
func (t *Trace) Write(to string, cut int, rules Rules, random *rand.Rand) error {
	d := &image{random: random, rules: rules, root: t.Root, names: map[string]*file{}, disk: map[string]*file{}, wait: map[string][]named{}}
	for i, op := range t.Ops[:cut] {
		d.apply(i, op)
	}
	if err := d.end(to); err != nil {
		return fmt.Errorf("crashimage: %w", err)
	}
	return nil
}

func (d *image) apply(i int, op Op) {
	f := d.names[op.path]
	switch op.kind {
	case create:
		if f == nil {
			d.rename(named{i, "", op.path, &file{folder: op.folder}})
		}
	case rename:
		d.rename(named{i, op.path, op.to, f})
	case unlink:
		d.rename(named{i, op.path, "", nil})
	case write:
		if f == nil { // removed meanwhile
			return
		}
		if op.append {
			op.offset = f.size
		}
		f.size = max(f.size, op.offset+int64(len(op.data)))
		f.pending = append(f.pending, change{i, op.fd, op.data, op.offset, false})
	case truncate:
		if f != nil {
			f.size = op.offset
			f.pending = append(f.pending, change{i, op.fd, nil, op.offset, true})
		}
	case syncEnd, syncFailed:
		d.sync(f, op)
	}
}

func (d *image) rename(n named) {
	where := n.from
	if n.from != "" {
		delete(d.names, n.from)
	}
	if n.to != "" {
		d.names[n.to], where = n.file, n.to
	}
	where = filepath.Dir(where)
	d.wait[where] = append(d.wait[where], n)
}

// sync makes durable what was done before the sync began. If it fails, each page may have reached
// the disk or not, and no later sync writes it: Linux counts it as clean. It says so once to every
// descriptor that is open on the file, where strace lets one sync fail. So what was written by
// another descriptor, whose own sync has not failed, is not lost: in a run in which it were,
// that sync had failed too.
func (d *image) sync(f *file, op Op) {
	if f == nil || f.folder {
		if op.kind == syncEnd && !d.rules.NoFolderSync {
			d.settleNames(op.path, func(n named) bool { return n.at < op.begin })
		}
		return
	}
	if d.rules.NoDataSync {
		return
	}
	left := f.pending[:0:0]
	for _, c := range f.pending {
		switch {
		case c.at >= op.begin, op.kind == syncFailed && c.fd != op.fd:
			left = append(left, c)
		case op.kind == syncEnd || d.random.IntN(2) == 0:
			f.write(c)
		}
	}
	f.pending = left
}

func (d *image) settleNames(folder string, durable func(named) bool) {
	left := d.wait[folder][:0:0]
	for _, n := range d.wait[folder] {
		if !durable(n) {
			left = append(left, n)
			continue
		}
		delete(d.disk, n.from)
		if n.to != "" {
			d.disk[n.to] = n.file
		}
	}
	d.wait[folder] = left
}

func (f *file) write(c change) {
	end := c.offset + int64(len(c.data))
	if n := int64(len(f.disk)); n < end {
		f.disk = append(f.disk, make([]byte, end-n)...)
	}
	if c.cut {
		f.disk = f.disk[:c.offset]
		return
	}
	copy(f.disk[c.offset:], c.data)
}

// end decides what else has reached the disk, and writes all of it to the folder.
func (d *image) end(to string) error {
	for folder, waiting := range d.wait { // a file system makes names durable in their order
		some := d.random.IntN(len(waiting) + 1)
		left := 0
		d.settleNames(folder, func(named) bool { left++; return left <= some })
	}
	paths := []string{}
	for path := range d.disk {
		paths = append(paths, path)
	}
	slices.Sort(paths) // folders before what is in them
	for _, path := range paths {
		f, name := d.disk[path], filepath.Join(to, strings.TrimPrefix(path, d.root))
		if path == d.root {
			continue
		}
		if _, err := os.Stat(filepath.Dir(name)); err != nil {
			continue // the folder's own name is lost
		}
		if f.folder {
			if err := os.Mkdir(name, 0o700); err != nil {
				return err
			}
			continue
		}
		f.settle(d.random)
		if err := os.WriteFile(name, f.disk, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// settle lets some of a file's pending changes reach the disk: none, all, the first, any, or any
// sectors of any.
func (f *file) settle(random *rand.Rand) {
	how, first := random.IntN(5), random.IntN(len(f.pending)+1)
	sector := []int{512, 4096}[random.IntN(2)]
	for i, c := range f.pending {
		switch {
		case how == 1, how == 2 && i < first, how == 3 && random.IntN(2) == 0, how == 4 && c.cut:
			f.write(c)
		case how == 4:
			f.tear(c, sector, random)
		}
	}
	f.pending = nil
}

// tear writes any sectors of a change.
func (f *file) tear(c change, sector int, random *rand.Rand) {
	for from := 0; from < len(c.data); {
		to := min(len(c.data), from+sector-int(c.offset+int64(from))%sector)
		if random.IntN(2) == 0 {
			f.write(change{data: c.data[from:to], offset: c.offset + int64(from)})
		}
		from = to
	}
}
