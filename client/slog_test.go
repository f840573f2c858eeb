package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/slogtest"
	"time"

	"sekali/client"
)

func TestHandler(t *testing.T) {
	f := newFake()
	defer f.Close()
	c := open(t, f.URL, client.Options{})
	results := func() (records []map[string]any) {
		if err := c.Flush(within(t)); err != nil {
			t.Error(err)
		}
		for _, e := range f.events() {
			var record map[string]any
			if err := json.Unmarshal(e.Payload, &record); err != nil {
				t.Error(err)
			}
			records = append(records, record)
		}
		return records
	}
	if err := slogtest.TestHandler(client.NewHandler(c, "log", "till-3", nil), results); err != nil {
		t.Error(err)
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	if e := f.events()[0]; e.Topic != "log" || e.Source != "till-3" {
		t.Errorf("stored %+v", e)
	}
}

// TestHandlerAfterCancel: a record of a request that was cancelled is kept, at its own time; one
// that is lost is told.
func TestHandlerAfterCancel(t *testing.T) {
	f := newFake()
	defer f.Close()
	c := open(t, f.URL, client.Options{})
	h := client.NewHandler(c, "log", "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	at := time.Date(2026, 11, 23, 6, 41, 10, 5, time.UTC)
	if err := h.Handle(ctx, slog.NewRecord(at, slog.LevelInfo, "late", 0)); err != nil {
		t.Error(err)
	}
	if err := c.Close(within(t)); err != nil {
		t.Error(err)
	}
	if events := f.events(); len(events) != 1 || !events[0].Timestamp.Equal(at) {
		t.Errorf("stored %+v", events)
	}
	slog.New(h).Info("after Close")
	if err := c.Flush(within(t)); !errors.Is(err, client.ErrFailed) || !errors.Is(err, client.ErrClosed) {
		t.Errorf("Flush after a record that was lost: %v", err)
	}
}
