package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// rotatedLog is a log that a program writes, with logrotate at work, and the
// model: every line that was ever written.
type rotatedLog struct {
	t       *rapid.T
	path    string
	now     time.Time
	written []string
}

// put writes a file whose date is the model's: a real clock is too coarse for it.
func (l *rotatedLog) put(path string, text []byte) {
	if os.WriteFile(path, text, 0o600) != nil || os.Chtimes(path, l.now, l.now) != nil {
		l.t.Fatal("cannot write")
	}
}

func (l *rotatedLog) append(line string) {
	l.written = append(l.written, line)
	l.now = l.now.Add(time.Second)
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	f.WriteString(line + "\n")
	f.Close()
	os.Chtimes(l.path, l.now, l.now)
}

// shift makes room for app.log.1.
func (l *rotatedLog) shift() {
	for n := 30; n > 0; n-- {
		for _, packed := range []string{"", ".gz"} {
			os.Rename(fmt.Sprintf("%s.%d%s", l.path, n, packed), fmt.Sprintf("%s.%d%s", l.path, n+1, packed))
		}
	}
}

func (l *rotatedLog) rename() {
	l.shift()
	os.Rename(l.path, l.path+".1")
}

func (l *rotatedLog) copytruncate() {
	text, err := os.ReadFile(l.path)
	if err != nil {
		return
	}
	l.shift()
	l.now = l.now.Add(time.Second)
	l.put(l.path+".1", text)
	os.Truncate(l.path, 0)
	l.now = l.now.Add(time.Second)
	os.Chtimes(l.path, l.now, l.now)
}

// compress packs the newest copy. Until it is done the packed one is cut, and has the date of now.
func (l *rotatedLog) compress(done bool) {
	for n := 1; n < 30; n++ {
		path := fmt.Sprintf("%s.%d", l.path, n)
		if text, err := os.ReadFile(path); err == nil {
			info, _ := os.Stat(path)
			packed := gzipped(text)
			if !done {
				l.now = l.now.Add(time.Second)
				l.put(path+".gz", packed[:len(packed)-9])
				return
			}
			os.WriteFile(path+".gz", packed, 0o600)
			os.Chtimes(path+".gz", info.ModTime(), info.ModTime())
			os.Remove(path)
			return
		}
	}
}

// follow reads up to n lines from the last saved position, and is then killed:
// of what it sent, the first acknowledged lines are saved.
func (l *rotatedLog) follow(c Config, stored map[string]string, n, acknowledged int) (read int) {
	saved, err := loadPosition(c.State, c.Input)
	if err != nil {
		l.t.Fatal(err)
	}
	src, err := openSource(context.Background(), c, saved, func(text string) { l.t.Fatal(text) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer src.Close()
	keeper, err := newSaver(c, saved, src)
	if err != nil {
		l.t.Fatal(err)
	}
	for read < n {
		event, at, err := src.next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			l.t.Fatal(err)
		}
		var e logEvent
		if err := json.Unmarshal(event, &e); err != nil {
			l.t.Fatal(err)
		}
		stored[e.EventID] = e.Payload.Text
		if read < acknowledged {
			keeper.due = time.Time{}
			if err := keeper.took([]place{at}); err != nil {
				l.t.Fatal(err)
			}
		}
		read++
	}
	return read
}

// Whatever happens to a log while it is followed, and to the follower, each line
// that was written is stored, and none twice.
func TestFollowingLosesNothingAndStoresNothingTwice(t *testing.T) {
	parent := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		folder, err := os.MkdirTemp(parent, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(folder)
		l := &rotatedLog{t: t, path: filepath.Join(folder, "app.log"), now: time.Now().Add(-time.Hour).Truncate(time.Second)}
		c := Config{Input: l.path, Lines: true, Topic: "t", State: filepath.Join(folder, "state")}
		stored := map[string]string{}
		l.append("2026-05-01 12:00:00 begin")
		l.follow(c, stored, 0, 0) // what is rotated away before that is not followed
		at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
		// Equal lines of one second on both sides of a rotation are told apart if the
		// follower was there in time; after two rotations that it missed, they are not.
		straddle := rapid.Bool().Draw(t, "straddle")
		beforeRotation := func() {
			if straddle {
				l.follow(c, stored, 1000, 1000)
			} else {
				at = at.Add(time.Second)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0, 1, 2:
				at = at.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "later")) * time.Second)
				l.append(at.Format(time.DateTime) + rapid.SampledFrom([]string{" a", " b", fmt.Sprint(" ", len(l.written))}).Draw(t, "line"))
			case 3:
				l.append(rapid.SampledFrom([]string{"\tat x", "undated"}).Draw(t, "undated"))
			case 4:
				l.compress(rapid.Bool().Draw(t, "done"))
			case 5:
				beforeRotation()
				l.rename()
				l.append(at.Format(time.DateTime) + " after rename")
			case 6:
				beforeRotation()
				l.copytruncate()
				// A file that begins anew as it did before cannot be told from one that was not truncated.
				l.append(fmt.Sprint("begin ", len(l.written)))
			case 7:
				n := rapid.IntRange(0, 20).Draw(t, "lines")
				l.follow(c, stored, n, rapid.IntRange(0, n).Draw(t, "acknowledged"))
			}
		}
		l.follow(c, stored, 1000, 1000)
		l.follow(c, stored, 1000, 1000) // what is read again is all duplicates
		var got []string
		for _, text := range stored {
			got = append(got, text)
		}
		slices.Sort(got)
		slices.Sort(l.written)
		if !slices.Equal(got, l.written) {
			t.Fatalf("stored %d of %d\n%s\nwritten\n%s", len(got), len(l.written), strings.Join(got, "\n"), strings.Join(l.written, "\n"))
		}
	})
}

// The same live, over HTTP, with a writer that does not wait.
func TestFollowIsLive(t *testing.T) {
	a := newAggregator(t)
	folder := t.TempDir()
	c := testConfig(a.URL)
	c.Input, c.State, c.Lines, c.Topic, c.Count, c.Follow = filepath.Join(folder, "app.log"), filepath.Join(folder, "state"), true, "t", unbounded, true
	c.poll = 5 * time.Millisecond
	storedIs := func(want int) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			a.mu.Lock()
			got := len(a.stored)
			a.mu.Unlock()
			if got == want {
				return
			}
			if time.Since(begun) > 20*time.Second {
				t.Fatalf("%d events, want %d", got, want)
			}
		}
	}
	add := func(text string) {
		f, _ := os.OpenFile(c.Input, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		f.WriteString(text)
		f.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var report Report
	go func() {
		var stdout bytes.Buffer
		err := Run(ctx, c, &stdout, io.Discard)
		ended <- errors.Join(err, json.Unmarshal(stdout.Bytes(), &report))
	}()
	add("2026-05-01 12:00:00 a\n") // the file comes after the follower
	storedIs(1)
	add("2026-05-01 12:00:00 half")
	time.Sleep(30 * time.Millisecond)
	storedIs(1)
	add(" a line\n")
	storedIs(2)
	os.Rename(c.Input, c.Input+".1")
	old, _ := os.OpenFile(c.Input+".1", os.O_APPEND|os.O_WRONLY, 0)
	add("2026-05-01 12:00:00 a\n") // equal to the first, and another line
	storedIs(3)
	old.WriteString("2026-05-01 12:00:00 late\n") // by a program that has not been told
	old.Close()
	storedIs(4)
	text, _ := os.ReadFile(c.Input)
	os.WriteFile(c.Input+".0", text, 0o600)
	os.Truncate(c.Input, 0)
	add("undated\n")
	storedIs(5)
	cancel()
	if err := <-ended; err != nil || report.Acknowledged != 5 || report.Undated != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	add("2026-05-01 12:00:01 b\n")
	c.Follow = false
	again, _, err := publish(t, t.Context(), c)
	if err != nil || again.Acknowledged != 1 || len(a.stored) != 6 {
		t.Errorf("again: %+v, %v, %d stored", again, err, len(a.stored))
	}
}
