package integration_test

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestFoldersOfVersions opens a data folder of versions of the schema from 3 on, as a SIGKILL left
// it: six events and a duplicate are stored; one of them again, and two new ones, wait in the
// journal.
func TestFoldersOfVersions(t *testing.T) {
	packed, err := filepath.Glob("testdata/folders/version*.tar.zst")
	if err != nil || len(packed) == 0 {
		t.Fatal(packed, err)
	}
	for _, from := range packed {
		t.Run(filepath.Base(from), func(t *testing.T) {
			data := unpack(t, from)
			a := start(t, data)
			if got := a.drained(t); got.Unique != 8 || got.Duplicates != 2 {
				t.Errorf("%+v", got)
			}
			if lines := strings.Count(string(a.export(t)), "\n"); lines != 8 {
				t.Errorf("%d events are shown", lines)
			}
			again := `{"topic":"t1","event_id":"e1","timestamp":"2026-11-23T06:41:10Z","source":"s","payload":{"n": 1}}`
			if status, text, err := a.publish([]byte(again), "store"); err != nil || !strings.Contains(text, `"duplicates":1`) {
				t.Error(status, text, err)
			}
			a.stop(t)
			if code, out := tool(t, "check", "-data", data); code != 0 {
				t.Errorf("check: %d %s", code, out)
			}
		})
	}
}

// TestFoldersBetweenVersions: ten commits have other schemas under a version's number. Their
// folders are refused with the reason, and left as they are.
func TestFoldersBetweenVersions(t *testing.T) {
	packed, err := filepath.Glob("testdata/folders/between-*.tar.zst")
	if err != nil || len(packed) == 0 {
		t.Fatal(packed, err)
	}
	for _, from := range packed {
		t.Run(filepath.Base(from), func(t *testing.T) {
			data := unpack(t, from)
			got := run(t, nil, "-listen", "127.0.0.1:0", "-admin", "", "-data", data)
			got.checkOneLine(t)
			if got.code != 1 || !strings.Contains(got.stderr, "between two versions of the schema") || !strings.Contains(got.stderr, "state.conflicts") {
				t.Errorf("%d %s", got.code, got.stderr)
			}
		})
	}
}

// unpack returns the folder that a .tar.zst holds.
func unpack(t *testing.T, from string) string {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	dir := dataFolder(t)
	for files := tar.NewReader(plain); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Clean("/"+header.Name))
		if header.FileInfo().IsDir() {
			err = os.MkdirAll(path, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(path, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
