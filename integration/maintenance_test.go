package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tool runs a command of the aggregator and returns its exit code and what it printed.
func tool(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary, args...)
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

func TestCheck(t *testing.T) {
	data := t.TempDir() + "/data"
	if code, out := tool(t, "check", "-data", data); code != 1 {
		t.Fatalf("no data folder: exit %d: %s", code, out)
	}
	if _, err := os.Stat(data); err == nil {
		t.Fatal("check made the data folder")
	}
	a := start(t, data, "-dedup", "table", "-layout", "rows")
	a.store(t, "t", "a", "b", "a")
	if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "an aggregator is running on "+data) {
		t.Fatalf("while it runs: exit %d: %s", code, out)
	}
	a.kill()
	if code, out := tool(t, "check", "-data", data); code != 0 || !strings.Contains(out, "store: 2 events, 1 duplicates dropped (0 of them conflicts)") {
		t.Fatalf("after a kill: exit %d: %s", code, out)
	}
	// Each fault must be found.
	for _, statement := range []string{
		"UPDATE state SET conflicts = 2",
		"UPDATE state SET conflicts = 0, unique_processed = 3",
		"UPDATE state SET unique_processed = 2; DELETE FROM dedup_store WHERE event_id = 'a'",
		"INSERT INTO dedup_store (topic, event_id, seq) SELECT topic, event_id, seq FROM events WHERE event_id = 'a'; UPDATE topics SET events = 1",
		"UPDATE topics SET events = 2; UPDATE events SET received_at = '0' WHERE event_id = 'b'",
	} {
		change(t, data, statement)
		if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "fault:") {
			t.Errorf("%s: exit %d: %s", statement, code, out)
		}
	}
}

// TestCheckFindsDamagedBlocks: what no constraint of the tables guards must be found by check.
func TestCheckFindsDamagedBlocks(t *testing.T) {
	for _, statement := range []string{
		"UPDATE blocks SET events = events + 1",
		"UPDATE blocks SET last_seq = last_seq + 1",
		"UPDATE blocks SET directory_bytes = directory_bytes - 1",
		"UPDATE blocks SET packed = packed + 1",
		"DELETE FROM topic_blocks WHERE topic = 't'",
		"INSERT INTO topic_blocks SELECT 'other', first_seq FROM blocks",
		"INSERT INTO blocks SELECT first_seq + 1, last_seq + 1, events, directory, data, checksum, packed, directory_bytes FROM blocks",
		"UPDATE blocks SET data = substr(data, 1, length(data) - 1)",
	} {
		data := t.TempDir() + "/data"
		a := start(t, data)
		a.store(t, "t", "a", "b", "c")
		a.kill()
		if code, out := tool(t, "check", "-data", data); code != 0 {
			t.Fatalf("before any damage: exit %d: %s", code, out)
		}
		change(t, data, statement)
		if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "fault:") {
			t.Errorf("%s: exit %d: %s", statement, code, out)
		}
	}
}

// TestCheckFindsADamagedJournal: a bit flips in a frame that the store has not applied, and whole
// frames follow.
func TestCheckFindsADamagedJournal(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	db := openDatabase(t, data)
	defer db.Close()
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	for request := range 3 {
		a.mustPublish(t, requestBody(request), "journal")
	}
	a.kill()
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "check", "-data", data); code != 0 || !strings.Contains(out, fmt.Sprint("journal: to be applied: ", 3*eventsPerRequest, " events")) {
		t.Fatalf("before any damage: exit %d: %s", code, out)
	}
	segments, err := filepath.Glob(filepath.Join(data, "journal", "*.log"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	segment := segments[0]
	content, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte("event-"))] ^= 1
	if err := os.WriteFile(segment, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := tool(t, "check", "-data", data); code != 1 || !strings.Contains(out, "fault: journal is damaged") {
		t.Errorf("exit %d: %s", code, out)
	}
}

// publishBeside publishes one request after the other, from this one on, while something is done.
// It returns the first that was not published.
func (a *aggregator) publishBeside(t *testing.T, request int, do func()) (next int) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	for {
		a.mustPublish(t, requestBody(request), "journal")
		request++
		select {
		case <-done:
			return request
		case <-time.After(pause):
		}
	}
}

// TestBackupsOfOneSecond: copies into a folder have names of their own, however soon one comes
// after the other, and their names have the order of their times.
func TestBackupsOfOneSecond(t *testing.T) {
	data, to := dataFolder(t), t.TempDir()
	start(t, data)
	var made []string
	for range 3 {
		code, out := tool(t, "backup", "-data", data, "-to", to)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, out)
		}
		made = append(made, strings.TrimSpace(out))
	}
	if found, err := filepath.Glob(filepath.Join(to, "sekali-*.db")); err != nil || !slices.Equal(found, made) {
		t.Errorf("made %v, and %v is there: %v", made, found, err)
	}
}

// TestBackupWhileRunning takes backups under load. Each is the beginning of what the aggregator has
// stored, with all that was acknowledged at store before it was begun; an aggregator goes on from
// it, and stores what is published again once.
func TestBackupWhileRunning(t *testing.T) {
	data := dataFolder(t)
	a := start(t, data)
	a.mustPublish(t, arrayOf(0, waiting), "store")
	restored := t.TempDir()
	var stored []int // before each backup was begun: more than before the last
	published := a.publishBeside(t, waiting/eventsPerRequest, func() {
		for i, last := 0, distinct(waiting); i < 3; i++ {
			now, err := a.stats()
			for ; err == nil && now.Unique <= last; now, err = a.stats() {
				time.Sleep(pause)
			}
			if err != nil {
				t.Error(err)
			}
			last, stored = now.Unique, append(stored, now.Unique)
			dir := filepath.Join(restored, fmt.Sprint(i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Error(err)
			}
			copied := filepath.Join(dir, "events.db")
			if code, out := tool(t, "backup", "-data", data, "-to", copied); code != 0 {
				t.Errorf("exit %d: %s", code, out)
			}
			if code, _ := tool(t, "backup", "-data", data, "-to", copied); code != 1 {
				t.Error("a backup overwrote a file")
			}
		}
	})
	a.drained(t)
	whole := a.export(t)
	a.stop(t)
	for i, before := range stored {
		dir := filepath.Join(restored, fmt.Sprint(i))
		if code, out := tool(t, "check", "-data", dir); code != 0 {
			t.Errorf("backup %d: exit %d: %s", i, code, out)
		}
		b := start(t, dir)
		copied := b.export(t)
		lines := bytes.Count(copied, []byte("\n"))
		if !bytes.HasPrefix(whole, copied) || lines < before || len(copied) == len(whole) {
			t.Errorf("backup %d of %d events, %d stored before: not the beginning of what is stored now", i, lines, before)
		}
		for request := range published {
			b.mustPublish(t, requestBody(request), "journal")
		}
		now := b.drained(t)
		all := newStored()
		if err := all.read(b.export(t)); err != nil {
			t.Error(err)
		}
		if want := distinct(published * eventsPerRequest); len(all.originals) != want || now.Unique != want {
			t.Errorf("backup %d: %d events once all is published again, %+v, want %d", i, len(all.originals), now, want)
		}
		b.stop(t)
		if code, out := tool(t, "check", "-data", dir); code != 0 {
			t.Errorf("backup %d, published to: exit %d: %s", i, code, out)
		}
	}
}

// change does to the database of a stopped aggregator what only a fault could.
func change(t *testing.T, data, statements string) {
	t.Helper()
	db := openDatabase(t, data)
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

// TestRestoredBackupIsRestarted: a restored backup has no journal, and its state names a place in
// one. That it was started and stopped, and nothing else, takes nothing from what comes later.
func TestRestoredBackupIsRestarted(t *testing.T) {
	data, restored := dataFolder(t), t.TempDir()
	a := start(t, data)
	a.mustPublish(t, requestBody(0), "journal")
	a.drained(t)
	if code, out := tool(t, "backup", "-data", data, "-to", filepath.Join(restored, "events.db")); code != 0 {
		t.Fatalf("backup: exit %d: %s", code, out)
	}
	a.stop(t)
	start(t, restored).stop(t)
	start(t, restored).kill()
	b := start(t, restored)
	b.mustPublish(t, requestBody(1), "journal")
	b.kill()
	b = start(t, restored)
	now := b.drained(t)
	all := newStored()
	if err := all.read(b.export(t)); err != nil || now.Unique != distinct(2*eventsPerRequest) || len(all.originals) != now.Unique {
		t.Errorf("%d events, %+v; %v", len(all.originals), now, err)
	}
	b.stop(t)
	if code, out := tool(t, "check", "-data", restored); code != 0 {
		t.Errorf("check: exit %d: %s", code, out)
	}
}
