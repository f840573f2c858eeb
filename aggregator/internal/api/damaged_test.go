package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"sekali/aggregator/event"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

// TestStreamAtADamagedBlock: a stream that begins there is 503, which names the block. One that
// comes to it has all before, and is then cut off: an answer that ends as if it were whole is asked
// for again and again, and nobody is told.
func TestStreamAtADamagedBlock(t *testing.T) {
	dir := t.TempDir()
	s, state, err := store.Open(dir, store.Design{Layout: store.LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	var rows []store.Row
	for i := range 3 * pageEvents {
		e := event.Event{Topic: "t", ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "1"}
		rows = append(rows, store.Row{Event: e, ReceivedAt: "2026-11-23T06:41:10.000000000Z"})
	}
	_, err = store.NewApplier(s).Apply(state, store.Batch{Rows: rows})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	l := begin(t, dir, 0)
	defer l.end(t)
	db, err := sqlite.Open(filepath.Join(dir, "events.db")) // not before: a start reads the blocks
	if err == nil {
		err = errors.Join(db.Exec("UPDATE blocks SET checksum = checksum + 1 WHERE first_seq = (SELECT max(first_seq) FROM blocks)"), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	read := func(after int) (status int, text string, err error) {
		t.Helper()
		answer, err := http.Get(fmt.Sprintf("%s/events/stream?after=%d", l.url, after))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		all, err := io.ReadAll(answer.Body)
		return answer.StatusCode, string(all), err
	}
	if status, text, err := read(len(rows) - 1); status != 503 || !strings.Contains(text, "damaged") || err != nil {
		t.Errorf("a stream that begins at the damaged block: %d %.200s %v, want 503", status, text, err)
	}
	status, text, err := read(0)
	if n := strings.Count(text, "\ndata: "); status != 200 || n < pageEvents || err == nil {
		t.Errorf("a stream that comes to the damaged block: %d, %d events, ended with %v; want it cut off", status, n, err)
	}
	for end := time.Now().Add(10 * time.Second); l.a.streams.Load() != 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if open := l.a.streams.Load(); open != 0 {
		t.Errorf("%d streams hold their place after they have ended", open)
	}
}

// TestFailedReadsAreLoggedBySample: a reader of what is damaged comes again and again.
func TestFailedReadsAreLoggedBySample(t *testing.T) {
	var lines strings.Builder
	a := New(Config{MaxBodyBytes: 1 << 20}, nil, nil, slog.New(slog.NewTextHandler(&lines, nil)))
	for range 3 {
		var ctx fasthttp.RequestCtx
		if a.unreadable(&ctx, store.ErrDamaged); ctx.Response.StatusCode() != fasthttp.StatusServiceUnavailable {
			t.Errorf("it is answered %d", ctx.Response.StatusCode())
		}
	}
	if n := strings.Count(lines.String(), "reads failed"); n != 1 {
		t.Errorf("three reads within a moment have %d lines:\n%s", n, lines.String())
	}
}
