package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"math/rand"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// packedForms are texts that get smaller, that do not, and none.
func packedForms(t *testing.T) map[string][]byte {
	noise := make([]byte, 5000)
	if _, err := rand.New(rand.NewSource(1)).Read(noise); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"lines": bytes.Repeat([]byte("one line and another\n"), 500), "noise": noise, "short": []byte("x"), "none": {}}
}

// TestUnpackIsPacksInverse: whatever is packed comes back, and no other length of it.
func TestUnpackIsPacksInverse(t *testing.T) {
	var p Packer
	var u Unpacker
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.Byte()).Draw(t, "a"), bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "b"), rapid.IntRange(0, 99).Draw(t, "times"))
		want := append(bytes.Clone(a), b...)
		packed, size, err := p.Pack(a, b)
		if err != nil || size != len(want) || len(packed) > size {
			t.Fatal(len(packed), size, err)
		}
		first := rapid.IntRange(0, size).Draw(t, "first")
		for _, n := range []int{first, size} {
			if got, err := u.Unpack(packed, size, n); err != nil || !bytes.Equal(got, want[:n]) {
				t.Fatalf("the first %d: %q, %v, want %q", n, got, err, want[:n])
			}
		}
		for _, wrong := range []int{size - 1, size + 1, -1, 1 << 40} {
			if wrong == len(packed) { // they are taken to be as they are
				continue
			}
			if _, err := u.Unpack(packed, wrong, wrong); !errors.Is(err, ErrPacked) {
				t.Fatalf("as %d bytes instead of %d: %v", wrong, size, err)
			}
		}
	})
}

// TestUncompressEverywhere: a Conn, database/sql and the sqlite3 shell, if there is one, unpack the
// same.
func TestUncompressEverywhere(t *testing.T) {
	path := t.TempDir() + "/db"
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE t (plain BLOB, packed BLOB, size INTEGER)"); err != nil {
		t.Fatal(err)
	}
	var p Packer
	n := 0
	for _, plain := range packedForms(t) {
		packed, size, err := p.Pack(plain)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO t VALUES (?, ?, ?)", plain, packed, size); err != nil {
			t.Fatal(err)
		}
		n++
	}
	const same = "SELECT count(*) FROM t WHERE sqlar_uncompress(packed, size) = plain"
	var got int
	if err := db.QueryRow(same).Scan(&got); err != nil || got != n {
		t.Errorf("database/sql: %d of %d, %v", got, n, err)
	}
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Rows(same, func(s *Statement) error { got = int(s.ColumnInt(0)); return nil }); err != nil || got != n {
		t.Errorf("Conn: %d of %d, %v", got, n, err)
	}
	const damaged = "SELECT sqlar_uncompress(packed, size - 1) FROM t WHERE size > length(packed)"
	if err := c.Rows(damaged, func(*Statement) error { return nil }); err == nil || !strings.Contains(err.Error(), ErrPacked.Error()) {
		t.Errorf("Conn: %v, want %v", err, ErrPacked)
	}
	if err := db.QueryRow(damaged).Scan(new([]byte)); err == nil || !strings.Contains(err.Error(), ErrPacked.Error()) {
		t.Errorf("database/sql: %v, want %v", err, ErrPacked)
	}
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Log("the sqlite3 shell is not asked: ", err)
		return
	}
	if out, err := exec.Command(shell, path, same).Output(); err != nil || strings.TrimSpace(string(out)) != "4" {
		t.Errorf("sqlite3: %s, %v", out, err)
	}
}
