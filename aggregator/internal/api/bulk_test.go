package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/ingest"
	"sekali/aggregator/journal"
	"sekali/aggregator/pipeline"
	"sekali/aggregator/store"
)

// TestBulkAnswer: the answer names every item as it was sent, whatever its texts are and whatever
// became of it, and is no longer than what was taken for it before the events were.
func TestBulkAnswer(t *testing.T) {
	long := strings.Repeat(`"`, event.MaxTextBytes)
	quoted := strings.Repeat(`\"`, event.MaxTextBytes)
	for name, body := range map[string]string{
		"plain":             `{"create":{"_index":"i","_id":"1"}}` + "\n{}\n" + `{"index":{"_id":2}}` + "\n{}\n",
		"quotes":            `{"create":{"_index":"` + quoted + `","_id":"` + quoted + `"}}` + "\n{}\n",
		"no letters":        `{"create":{"_index":"<&>","_id":"\\\u2028é\u0001"}}` + "\n{}\n",
		"hashes":            strings.Repeat(`{"create":{}}`+"\n{}\n", 3),
		"refused":           `{"create":{}}` + "\n{}\n" + `{"delete":{"_id":"<\"\\>"}}` + "\n" + `{"update":{}}` + "\n{}\n" + "\"\x01\n" + `{"create":{"_index":7}}` + "\n" + `{"create":{}}` + "\n{}\n",
		"nothing but blank": "\n",
	} {
		r, items, err := ingest.Bulk(&ingest.Input{Body: []byte(body), Received: time.Now()}, long)
		if err != nil {
			t.Fatal(name, err)
		}
		all := make([]bool, r.Events)
		for i := range all {
			all[i] = true
		}
		for status, out := range map[int]pipeline.Outcome{201: {}, 200: {Stored: make([]bool, r.Events)}, 400: {Stored: make([]bool, r.Events), Failed: all}} {
			text := bulkAnswer(r, items, out, "")
			if _, sent := bulkBytes(r, items); len(text) > sent {
				t.Errorf("%s: %d bytes, of which %d were foreseen: %s", name, len(text), sent, text)
			}
			var answer struct {
				Errors bool
				Items  []map[string]struct {
					Index  string `json:"_index"`
					ID     string `json:"_id"`
					Status int
					Error  map[string]string
				}
			}
			if err := json.Unmarshal(text, &answer); err != nil || len(answer.Items) != len(items) || answer.Errors != (len(r.Rejections) > 0 || status == 400 && r.Events > 0) {
				t.Fatalf("%s: %v: %s", name, err, text)
			}
			rejections := r.Rejections
			for i, item := range items {
				got, want := answer.Items[i][item.Action], status
				if len(rejections) > 0 && rejections[0].Index == i {
					want, rejections = 400, rejections[1:]
				}
				if got.Index != item.Index || got.ID != item.ID || got.Status != want || (got.Error["reason"] != "") != (want == 400) {
					t.Errorf("%s: item %d is %+v, want %d of %+v", name, i, got, want, item)
				}
			}
		}
	}
}

// TestWhatWaitsForDeadLettersIsCounted: the events of a request wait while what is refused of it is
// committed. Their bytes are counted meanwhile, and given back.
func TestWhatWaitsForDeadLettersIsCounted(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	s, state, err := store.Open(dir, store.Design{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	j, backlog, err := journal.Open(filepath.Join(dir, "journal"), state.Journal)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	p := pipeline.New(pipeline.Config{QueueEvents: 10, QueueBytes: 1 << 20, BacklogBytes: 1 << 20, BatchEvents: 10}, s, j, state, backlog, log)
	a := New(Config{MaxBodyBytes: 1 << 20}, p, s, log)
	r, err := event.ParseJSON(fmt.Appendf(nil, `[{"topic":"t","event_id":"a","timestamp":"2026-11-23T06:41:10Z","payload":%q},1]`, strings.Repeat("x", 100<<10)), nil)
	if err != nil || r.Events != 1 {
		t.Fatal(r, err)
	}
	d := decoded{request: r, refused: lettersOf("/publish", nil, r, nil)}
	kept := make(chan error, 1)
	go func() { kept <- a.keepBeside(pipeline.Journal, d) }()
	want := int64(cap(r.Data))
	for end := time.Now().Add(10 * time.Second); atomic.LoadInt64(&a.bodies.taken) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d bytes are counted, want %d", atomic.LoadInt64(&a.bodies.taken), want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- p.RunWriter(ctx) }()
	if err := <-kept; err != nil || a.bodies.taken != 0 {
		t.Errorf("%v, and %d bytes are still counted", err, a.bodies.taken)
	}
	cancel()
	if err := <-written; err != nil {
		t.Error(err)
	}
	// Where there is no room, nothing waits.
	a.bodies.take(bodiesBytes - len(r.Data))
	if err := a.keepBeside(pipeline.Journal, d); err != errBusy || a.bodies.taken != int64(bodiesBytes-len(r.Data)) {
		t.Errorf("without room: %v, %d counted", err, a.bodies.taken)
	}
}
