package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnwrittenDatabase: a database that a power cut has left as one page of zeros was just being
// made, and is made anew. More zeros than that, or a WAL beside them, are damage.
func TestUnwrittenDatabase(t *testing.T) {
	lived := t.TempDir()
	s, _, err := Open(lived, Design{})
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(filepath.Join(lived, File+"-wal"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bytes int
		wal   []byte
		says  string // "": it opens
	}{
		"a page":                            {PageBytes, nil, ""},
		"a part of one":                     {PageBytes / 2, nil, ""},
		"and a WAL that has nothing":        {PageBytes, []byte{}, ""},
		"and a WAL whose header is zeros":   {PageBytes, make([]byte, walHeaderBytes), ""},
		"a page and a byte":                 {PageBytes + 1, nil, "is no database of SQLite, or damaged"},
		"a page, and a WAL that has frames": {PageBytes, wal, "belongs to another database"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, File), make([]byte, c.bytes), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.wal != nil {
				if err := os.WriteFile(filepath.Join(dir, File+"-wal"), c.wal, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s, state, err := Open(dir, Design{})
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%+v, %v, want %q", state, err, c.says)
			}
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
