package integration_test

import (
	"database/sql"
	bigendian "encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDamagedFiles: whatever lies where the database should, check, backup, mend-time and a start
// say in one line which file is wrong, and how. They change nothing: what can be read of it is for
// a person to save.
func TestDamagedFiles(t *testing.T) {
	killed, stopped := dataFolder(t), dataFolder(t)
	a := start(t, killed)
	a.store(t, "t", "a", "b", "c")
	a.kill()
	if info, err := os.Stat(filepath.Join(killed, "events.db")); err != nil || info.Size() > 64<<10 {
		t.Fatalf("%v: the events are not in the WAL alone", err)
	}
	a = start(t, stopped)
	a.mustPublish(t, arrayOf(0, 5000), "store")
	a.stop(t)
	const db, wal = "events.db", "events.db-wal"
	flip := func(at int64) func([]byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	cut := func(to int64) func([]byte) []byte { return func(b []byte) []byte { return b[:to] } }
	become := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	for _, c := range []struct {
		name, from, file string
		change           func([]byte) []byte // nil: a folder takes its place
		says             []string
	}{
		{"the WAL's header is damaged", killed, wal, flip(5), []string{db + " is empty", wal + " is damaged at byte 0 of", "header", "restore a backup"}},
		{"the WAL's checksum is damaged", killed, wal, flip(25), []string{wal + " is damaged at byte 0 of", "restore a backup"}},
		{"the WAL's first page is damaged", killed, wal, flip(100), []string{wal + " is damaged at byte 32 of", "checksum", "restore a backup"}},
		{"the WAL is cut in its header", killed, wal, cut(20), []string{wal + " is damaged at byte 0 of 20", "cut within its header"}},
		{"the WAL is cut in its first page", killed, wal, cut(1000), []string{wal + " is damaged at byte 32 of 1000", "cut within a page"}},
		{"the WAL is gone", killed, wal, cut(0), []string{db + " is empty", "no WAL", "restore a backup"}},
		{"the database is empty", stopped, db, cut(0), []string{db + " is empty", "restore a backup"}},
		{"the database is cut in its header", stopped, db, cut(50), []string{db + " is no database: it has 50 bytes"}},
		{"the database is cut", stopped, db, func(b []byte) []byte { return b[:len(b)/2] }, []string{db + " is ", "restore a backup"}},
		{"a text", stopped, db, become(strings.Repeat("not a database\n", 1000)), []string{db + " is no database of SQLite", `begins with "not a database`}},
		{"a folder", stopped, db, nil, []string{db + " is a folder"}},
		{"the header is damaged", stopped, db, flip(3), []string{db + " is no database of SQLite", "restore a backup"}},
		{"the schema is damaged", stopped, db, func(b []byte) []byte { bigendian.BigEndian.PutUint64(b[100:], 1<<63-1); return b }, []string{db + " is damaged", "malformed", "restore a backup"}},
		{"another program's", stopped, db, anotherProgram(t), []string{db + " is a database of another program"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := dataFolder(t)
			if err := os.CopyFS(data, os.DirFS(c.from)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(data, c.file)
			text, err := os.ReadFile(path)
			if err == nil {
				err = os.Remove(path)
			}
			if err == nil && c.change == nil {
				err = os.Mkdir(path, 0o700)
			} else if err == nil {
				err = os.WriteFile(path, c.change(text), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := contentOf(t, data)
			namesWhat(t, nil, data, c.says)
			if after := contentOf(t, data); after != before {
				t.Errorf("the files were changed: %s", after)
			}
		})
	}
}

// TestMissingData: so of a folder that is not there, or that may not be read.
func TestMissingData(t *testing.T) {
	missing := filepath.Join(dataFolder(t), "none")
	for _, args := range [][]string{{"check"}, {"backup", "-to", filepath.Join(t.TempDir(), "copy.db")}, {"mend-time"}} {
		got := run(t, nil, append(args, "-data", missing)...)
		got.checkOneLine(t)
		if got.code != 1 || !strings.Contains(got.stderr, "there is no database") || !strings.Contains(got.stderr, missing) {
			t.Errorf("%s: %d %s", args[0], got.code, got.stderr)
		}
		if _, err := os.Stat(missing); !os.IsNotExist(err) {
			t.Fatalf("%s made the folder: %v", args[0], err)
		}
	}
	for name, mode := range map[string]os.FileMode{"events.db": 0, "": 0o600, "events.db-wal": 0} {
		t.Run(name, func(t *testing.T) {
			data := dataFolder(t)
			a := start(t, data)
			a.store(t, "t", "a")
			a.kill()
			path := filepath.Join(data, name)
			info, err := os.Stat(path)
			if err == nil {
				err = os.Chmod(path, mode)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.Chmod(path, info.Mode()); err != nil {
					t.Error(err)
				}
			})
			namesWhat(t, bound(t), data, []string{"permission denied"})
		})
	}
}

// namesWhat runs on a data folder what reads one, as somebody (nil: as whoever tests). Each ends
// with exit code 1 and one line, which names the folder and says what it has to.
func namesWhat(t *testing.T, who *syscall.SysProcAttr, data string, says []string) {
	t.Helper()
	for _, args := range [][]string{{"check"}, {"backup", "-to", filepath.Join(t.TempDir(), "copy.db")}, {"mend-time"}, {"-listen", "127.0.0.1:0", "-admin", ""}} {
		got := runAs(t, who, nil, append(args, "-data", data)...)
		if got.code != 1 {
			t.Errorf("%s: exit code %d, want 1", args[0], got.code)
		}
		got.checkOneLine(t)
		for _, text := range append(says, data) {
			if !strings.Contains(got.stderr, text) {
				t.Errorf("%s does not say %q: %s", args[0], text, got.stderr)
			}
		}
	}
}

// contentOf is what the database's files in a data folder hold.
func contentOf(t *testing.T, data string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"events.db", "events.db-wal"} {
		text, err := os.ReadFile(filepath.Join(data, name))
		if err == nil { // a WAL without anything is none
			all.WriteString(name + ":" + string(text) + "\n")
		} else {
			all.WriteString(name + ":\n")
		}
	}
	return all.String()
}

// anotherProgram makes a file a database that is no aggregator's.
func anotherProgram(t *testing.T) func([]byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE recipes (name TEXT)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func([]byte) []byte { return text }
}

// TestCheckSeesTheEndOfTheWAL: pages of a WAL behind a damaged one are not read, by SQLite's rules.
// check says so, and what of the folder no longer fits.
func TestCheckSeesTheEndOfTheWAL(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	for range 3 {
		a.store(t, "t", time.Now().String())
	}
	a.kill()
	path := filepath.Join(data, "events.db-wal")
	if code, out := tool(t, "check", "-data", data); code != 0 || strings.Contains(out, "wal:") {
		t.Fatalf("before any damage: exit %d: %s", code, out)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := int(bigendian.BigEndian.Uint32(text[8:])) + 24
	frames := (len(text) - 32) / page
	at := 32 + (frames-1)*page
	text[at+100] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := tool(t, "check", "-data", data)
	if !strings.Contains(out, "wal: "+path+" has ") || !strings.Contains(out, "a page is not what its checksum says") {
		t.Errorf("%d pages, the last damaged: %s", frames, out)
	}
}

// TestStatsNameTheDamage: where what counts the topics is damaged, /stats says so, as the
// description has it, and gives all other figures.
func TestStatsNameTheDamage(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	a.store(t, "t", "a", "b", "c")
	a.stop(t)
	path := filepath.Join(data, "events.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	var root, page int64
	if err := db.QueryRow("SELECT rootpage, (SELECT page_size FROM pragma_page_size) FROM sqlite_schema WHERE name = 'topics'").Scan(&root, &page); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(text[(root-1)*page : root*page])
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	a = start(t, data)
	if c, err := a.stats(); err != nil || c.Received != 3 || c.Unique != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	body, err := a.get("/stats", "application/json")
	if err != nil || !strings.Contains(string(body), `"topics_damaged":"`) || !strings.Contains(string(body), "topics or topic_counts") {
		t.Errorf("%v: %s", err, body)
	}
}
