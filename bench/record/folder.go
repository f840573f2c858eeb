package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// ReadRun reads a result folder's run.json.
func ReadRun(dir string) (Run, error) {
	var run Run
	if err := ReadJSON(filepath.Join(dir, RunFile), &run); err != nil {
		return run, err
	}
	return run, CheckFormat(filepath.Join(dir, RunFile), run.Format)
}

// WriteRun writes run.json. The runner writes it with the inputs as soon as the raw files are
// there, and Finish adds what follows from them.
func WriteRun(dir string, run Run) error {
	run.Format = Format
	return WriteJSON(filepath.Join(dir, RunFile), run)
}

// ReadIndex reads the index.json of a run's folder.
func ReadIndex(dir string) (Index, error) {
	var index Index
	if err := ReadJSON(filepath.Join(dir, IndexFile), &index); err != nil {
		return index, err
	}
	return index, CheckFormat(filepath.Join(dir, IndexFile), index.Format)
}

// WriteIndex writes the index.json of a run's folder, in the place of one that is there: who is
// killed meanwhile, or reads it, has the one or the other whole. Nothing waits for the disk, since
// another run is about to be measured on it.
func WriteIndex(dir string, index Index) error {
	index.Format = Format
	name := filepath.Join(dir, IndexFile)
	fresh := name + ".new"
	if err := WriteJSON(fresh, index); err != nil {
		return err
	}
	if err := os.Rename(fresh, name); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// WriteHistograms writes histograms.json into a result folder.
func WriteHistograms(dir string, h Histograms) error {
	// Thousands of pairs of numbers: indented, each would take a line of its own, and the file
	// would be four times as large.
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, HistogramsFile), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// HashFiles returns the raw files that the folder has, and its profiles; an audit may not have been
// made, and what is stored not been kept.
func HashFiles(dir string) ([]File, error) {
	profiles, err := filepath.Glob(filepath.Join(dir, ProfilesDir, "*.pb.gz"))
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	names := slices.Concat(RawFiles, besideFiles)
	for _, p := range profiles {
		names = append(names, path.Join(ProfilesDir, filepath.Base(p)))
	}
	files := []File{}
	for _, name := range names {
		file, err := HashFile(dir, name)
		if errors.Is(err, fs.ErrNotExist) && (name == AuditFile || name == StoredFile || slices.Contains(besideFiles, name)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// HashFile is a file's name, length and SHA-256.
func HashFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return File{}, fmt.Errorf("record: %w", err)
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	if err != nil {
		return File{}, fmt.Errorf("record: hash %s: %w", f.Name(), err)
	}
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// ReadJSON reads a file of the lab's into a value.
func ReadJSON(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	// A field that this program does not know is one that it would silently leave out when it
	// recomputes.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// WriteJSON writes a value as ReadJSON reads it.
func WriteJSON(path string, value any) error {
	text, err := MarshalJSON(value)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return nil
}

// MarshalJSON is the one form in which this package's types are written: indented, keys in order, <
// and > as they are.
func MarshalJSON(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
