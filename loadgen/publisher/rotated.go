package publisher

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	// rotatedName is what follows a log's name, or the part before its extension, once it was rotated.
	rotatedName = regexp.MustCompile(`^[-._](?:\d[\d.:T_-]*|old|bak)$`)
	// datedName is such a one that no other program's log has before its extension, as worker-1.log
	// has a number beside worker.log.
	datedName = regexp.MustCompile(`^[-._](?:\d{4}[-._]?\d\d[-._]?\d\d[\d.:T_-]*|old|bak)$`)
)

// rotated lists the copies of the log that were written after since, the newest first. A packed one
// beside the file that it is made of is none: it is being made, and gets that file's date when it
// is whole.
func (f *follower) rotated(since time.Time) []string {
	folder, base := filepath.Split(f.config.Input)
	if folder == "" {
		folder = "."
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		f.warn(err.Error())
		return nil
	}
	written := map[string]time.Time{}
	for _, entry := range entries {
		if rotated, _ := isRotated(entry.Name(), base); !rotated {
			continue
		}
		if info, err := entry.Info(); err == nil && !info.IsDir() {
			written[entry.Name()] = info.ModTime()
		}
	}
	var names []string
	for name, at := range written {
		of, there := written[unpacked(name)]
		beingMade := there && unpacked(name) != name && !at.Before(of)
		if at.After(since) && !beingMade {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(written[b].Compare(written[a]), strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = filepath.Join(folder, name)
	}
	return names
}

// isRotated is whether a name is that of a rotated copy: app.log.1, app.log-20260501.gz,
// app-2026-05-01.log of app.log. Or it may as well be the log of another program: app-1.log.
func isRotated(name, base string) (rotated, another bool) {
	name = unpacked(name)
	extension := filepath.Ext(base)
	stem := strings.TrimSuffix(base, extension)
	if added, ok := strings.CutPrefix(name, base); ok && rotatedName.MatchString(added) {
		return true, false
	}
	added, ok := strings.CutPrefix(name, stem)
	added, whole := strings.CutSuffix(added, extension)
	rotated = extension != "" && ok && whole && rotatedName.MatchString(added)
	return rotated, rotated && !datedName.MatchString(added)
}

// packings are the endings of the packed copies that are read.
var packings = []string{".gz", ".zst"}

// unpacked is the name of the file that a packed copy is made of; any other name is itself.
func unpacked(name string) string {
	for _, ending := range packings {
		if plain, ok := strings.CutSuffix(name, ending); ok {
			return plain
		}
	}
	return name
}

// openCopy opens a copy that was listed, or what it was packed into since.
func openCopy(path string) (handle *os.File, info os.FileInfo, err error) {
	for _, ending := range append([]string{""}, packings...) {
		if handle, info, err = openFile(path + ending); err == nil {
			break
		}
	}
	return handle, info, err
}
