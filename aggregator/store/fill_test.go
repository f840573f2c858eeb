package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sekali/aggregator/event"
)

// TestBlocksFillTheirPages: whatever the events' size, nearly all of the database is packed blocks.
func TestBlocksFillTheirPages(t *testing.T) {
	words := strings.Fields("GET POST accepted refused connection of peer after timeout retrying user session closed opened by 10.0.0.1 10.0.3.7 cache miss hit disk full index rebuilt")
	random := rand.New(rand.NewPCG(1, 2))
	for _, payload := range []int{30, 120, 300, 1000, 4000} {
		s, state, err := Open(t.TempDir(), Design{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		apply := NewApplier(s)
		for batch := range 4 {
			rows := make([]Row, min(4_000_000/(payload+100), 10_000))
			for i := range rows {
				n := batch*len(rows) + i
				id := random.Uint64()
				text := fmt.Appendf(nil, `{"n":%d,"text":"`, n)
				for len(text) < payload {
					text = append(append(text, words[random.IntN(len(words))]...), ' ')
				}
				rows[i] = Row{Event: event.Event{Topic: fmt.Sprint("topic-", id%4), ID: fmt.Sprintf("%016x%016x", id, random.Uint64()), Timestamp: "2026-11-23T06:41:10Z", Payload: string(text) + `"}`},
					ReceivedAt: fmt.Sprintf("2026-11-23T06:41:10.%09dZ", n/500)}
			}
			out, err := apply.Apply(state, Batch{Rows: rows})
			if err != nil {
				t.Fatal(err)
			}
			state = out.State
		}
		var blocks, packed, pages int64
		for sql, to := range map[string]*int64{"SELECT count(*) FROM blocks": &blocks, "SELECT sum(length(data)) FROM blocks": &packed, "PRAGMA page_count": &pages} {
			if err := s.writer.Row(sql, to); err != nil {
				t.Fatal(err)
			}
		}
		if used := float64(packed) / float64(pages*PageBytes); used < 0.86 {
			t.Errorf("payloads of %d bytes: blocks take %.2f of the database, %d bytes each", payload, used, packed/blocks)
		}
	}
}
