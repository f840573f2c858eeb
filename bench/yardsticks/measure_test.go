package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

func measurementOf(t *testing.T, systems ...yardstick) *measurement {
	t.Helper()
	s, err := stream.New(stream.Config{Seed: 1, Duplicates: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	c := config{events: 3250, rounds: 2, eventsPerRequest: 500, systems: systems}
	return &measurement{config: c, stream: s, dir: t.TempDir(), stdout: io.Discard}
}

// What needs nothing installed, for real: the count is of the stream's originals, or of all events.
func TestSystemsWithinTheProcess(t *testing.T) {
	m := measurementOf(t, sqliteAppendYardstick(), sqliteDedupYardstick(), courseYardstick())
	systems, err := m.rounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, expected := range []int{3250, 2600, 2400} {
		s := systems[i]
		if len(s.Rounds) != 2 || s.Rounds[1].Stored != expected || s.Rounds[1].Seconds <= 0 || s.Rounds[1].ClientCPUS <= 0 || s.Rounds[1].BytesKept < 200*int64(expected) {
			t.Errorf("%s: %+v, expected %d stored", s.ID, s.Rounds, expected)
		}
	}
}

// counter keeps nothing but the number of events.
type counter struct {
	n       atomic.Int64
	lose    int64
	refuse  error
	stopped *atomic.Int64
}

func (c *counter) start(context.Context, string) error { return nil }
func (c *counter) encode(events []stream.Event) any    { return len(events) }
func (c *counter) append(_ context.Context, _ int, request any) error {
	c.n.Add(int64(request.(int)))
	return c.refuse
}
func (c *counter) settle(context.Context) error        { return nil }
func (c *counter) stored(context.Context) (int, error) { return int(c.n.Load() - c.lose), nil }
func (c *counter) stop() error                         { c.stopped.Add(1); return nil }
func (c *counter) process() *server                    { return nil }

func TestRoundsThatProveNothingFail(t *testing.T) {
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		lose   int64
		refuse error
		want   string
	}{
		"all kept": {},
		"one lost": {lose: 1, want: "3249 were stored, and 3250 were expected"},
		"refused":  {refuse: refused, want: "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			var stopped atomic.Int64
			m := measurementOf(t, yardstick{
				Yardstick: record.Yardstick{ID: "counter"}, connections: 3, appendOnly: true,
				version: func(context.Context) (string, error) { return "1", nil },
				make:    func() system { return &counter{lose: c.lose, refuse: c.refuse, stopped: &stopped} },
			})
			_, err := m.rounds(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if stopped.Load() == 0 {
				t.Error("the system was not stopped")
			}
		})
	}
}

func TestSystemThatIsNotThereIsSkipped(t *testing.T) {
	m := measurementOf(t, victoriaYardstick("/nowhere"))
	systems, err := m.rounds(t.Context())
	if err != nil || systems[0].Skipped == "" || systems[0].Rounds != nil {
		t.Errorf("%v, %+v", err, systems)
	}
}

func TestOnly(t *testing.T) {
	all := yardsticks("a", "b")
	for only, want := range map[string]int{"": len(all), "redis,sekali": 2, "sql": -1, "redis,": -1} {
		got, err := choose(all, only)
		if (err != nil) != (want < 0) || err == nil && len(got) != want {
			t.Errorf("%q: %d systems, %v", only, len(got), err)
		}
	}
}

// TestBytesOfAFolder: room on the disk counts, not length, and a log does not.
func TestBytesOfAFolder(t *testing.T) {
	dir := t.TempDir()
	for name, bytes := range map[string]int{"a/one": 100_000, "two": 1, "a/journal/three": 200_000} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "two"), 1<<30); err != nil { // a hole
		t.Fatal(err)
	}
	all, err := keptIn(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := keptIn(dir, []string{"a/journal"})
	if err != nil || kept < 100_000 || kept > 150_000 || all < kept+200_000 || all > kept+250_000 {
		t.Errorf("%d bytes, %d without the log, %v", all, kept, err)
	}
}
