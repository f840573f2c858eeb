package aggregator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
)

// TestLongStartIsTold: a start says every 10 s what it is at, and how far, where that is known.
func TestLongStartIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logText
		s := &starting{ctx: t.Context(), log: slog.New(slog.NewTextHandler(&log, nil)), began: time.Now()}
		stop := s.tell()
		err := s.at("opening the database")
		time.Sleep(startingEvery + time.Second)
		err = errors.Join(err, s.keys(500, 2000))
		time.Sleep(startingEvery)
		err = errors.Join(err, s.at("reading the journal"))
		stop()
		time.Sleep(2 * startingEvery)
		lines := strings.Split(strings.TrimSpace(log.text()), "\n")
		if err != nil || len(lines) != 2 || !strings.HasSuffix(lines[0], `msg=starting stage="opening the database" seconds=10`) ||
			!strings.HasSuffix(lines[1], `msg=starting stage="reading the events' keys" seconds=20 seq=500 last_seq=2000`) {
			t.Errorf("%v, %q", err, lines)
		}
	})
}

// endsAfter is a context that ends when it was asked so often whether it has.
type endsAfter struct {
	context.Context
	end  context.CancelFunc
	left atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		c.end()
	}
	return c.Context.Err()
}

// TestStartIsEndedAnywhere: a start heeds that it is to end before each stage, and while it reads
// the keys of the events. Then it is no failure, and the next start finds the folder as it was.
func TestStartIsEndedAnywhere(t *testing.T) {
	const events = 4000
	cfg := DefaultConfig()
	cfg.Data, cfg.Listen, cfg.Admin = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", ""
	stored(t, cfg.Data, events)
	ended, inKeys := 0, 0
	for listened := false; !listened; ended++ {
		if ended == 100 {
			t.Fatal("a start that was asked for its end a hundred times does not listen")
		}
		var log logText
		ctx := &endsAfter{}
		ctx.Context, ctx.end = context.WithCancel(t.Context())
		ctx.left.Store(int64(ended))
		done := make(chan error, 1)
		go func() { done <- Run(ctx, cfg, slog.New(slog.NewTextHandler(&log, nil))) }()
		for running := true; running; {
			select {
			case err := <-done:
				if running = false; err != nil {
					t.Fatalf("a start that is ended at the %dth place: %v\n%s", ended, err, log.text())
				}
			case <-time.After(time.Millisecond):
				if listened = strings.Contains(log.text(), "msg=listening"); listened {
					ctx.end()
				}
			}
		}
		ctx.end()
		if before := strings.Contains(log.text(), `msg="stopped before it listened"`); before == listened {
			t.Fatalf("a start that is ended at the %dth place says\n%s", ended, log.text())
		}
		if strings.Contains(log.text(), "events' keys") {
			inKeys++
		}
		if listened && !strings.Contains(log.text(), fmt.Sprintf("unique_processed=%d", events)) {
			t.Errorf("of %d events it says\n%s", events, log.text())
		}
	}
	if ended < 6 || inKeys < 2 {
		t.Errorf("it was ended at %d places, at %d of them while it read keys", ended-1, inKeys)
	}
}

// stored makes a data folder with so many events.
func stored(t *testing.T, dir string, events int) {
	t.Helper()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	var rows []store.Row
	for i := range events {
		e := event.Event{Topic: "t", ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "1"}
		rows = append(rows, store.Row{Event: e, ReceivedAt: "2026-11-23T06:41:10.000000000Z"})
	}
	_, err = store.NewApplier(s).Apply(state, store.Batch{Rows: rows})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestTakenPortLeavesNoFolder: a start that cannot listen makes no data folder.
func TestTakenPortLeavesNoFolder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for flag, set := range map[string]func(c *Config){
		"-listen":  func(c *Config) { c.Listen = ln.Addr().String() },
		"-admin":   func(c *Config) { c.Admin = ln.Addr().String() },
		"-metrics": func(c *Config) { c.Metrics = ln.Addr().String() },
	} {
		c := DefaultConfig()
		c.Listen, c.Admin, c.Data = "127.0.0.1:0", "", filepath.Join(t.TempDir(), "data")
		set(&c)
		if err := Run(t.Context(), c, slog.New(slog.DiscardHandler)); !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), flag+": ") {
			t.Errorf("%s: %v", flag, err)
		}
		if _, err := os.Stat(c.Data); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: it has left a data folder: %v", flag, err)
		}
	}
}
