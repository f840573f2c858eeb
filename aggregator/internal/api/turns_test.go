package api

import (
	"log/slog"
	"testing"
	"time"

	"sekali/aggregator/store"
)

// TestExportsTakeTurns: an export that asks for its next page is behind those that wait for room,
// also where the room is what it has just given back.
func TestExportsTakeTurns(t *testing.T) {
	s, _, err := store.Open(t.TempDir(), store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a := New(Config{}, nil, s, slog.New(slog.DiscardHandler))
	a.pages.most = pageBytes // one page at a time
	for range 10 {
		room, ok := a.pages.hold(pageBytes)
		if !ok {
			t.Fatal("there is no room to begin with")
		}
		served := make(chan error, 1)
		go func() {
			p, err := a.roomFor(store.Page{Limit: 1})
			served <- err
			if err == nil {
				time.Sleep(10 * time.Millisecond)
				p.release()
			}
		}()
		for a.exports.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		room.release()
		p, err := a.roomFor(store.Page{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		p.release()
		select {
		case err := <-served:
			if err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatal("who waited for room is not served before who gave it back")
		}
	}
	if a.exports.Load() != 0 || len(a.turn) != 0 {
		t.Errorf("%d wait, %d have the turn; want none", a.exports.Load(), len(a.turn))
	}
}
