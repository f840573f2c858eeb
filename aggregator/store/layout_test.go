package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/internal/memorydir"
	"sekali/internal/sqlite"
)

// TestPagesAgainstAList: whatever the layout, a page is what a list of the stored events says, and
// so is the table or view events.
func TestPagesAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pagesAgainstAList(t, rapid.SampledFrom([]Layout{LayoutRows, LayoutBlocks}).Draw(t, "layout"))
	})
}

// asVersion3 makes every other block one that version 3 wrote.
const asVersion3 = `UPDATE blocks SET packed = 0, directory_bytes = 0,
		directory = CAST(substr(sqlar_uncompress(data, packed), 1, directory_bytes) AS TEXT),
		data = substr(sqlar_uncompress(data, packed), directory_bytes + 1)
	WHERE first_seq % 2 = 0 AND packed <> 0`

// listed is an event of the list.
type listed struct {
	seq int64
	row Row
}

func pagesAgainstAList(t *rapid.T, layout Layout) {
	dir, err := memorydir.Make("store")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, state, err := Open(dir, Design{Layout: layout})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all []listed
	apply := NewApplier(s)
	for batch := range rapid.IntRange(1, 3).Draw(t, "batches") {
		var rows []Row
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "batch"), 0))
		for i := range rapid.IntRange(0, 400).Draw(t, "rows") {
			// Some are duplicates, which leave gaps; some are large, which end a block.
			id := random.IntN(10)*100_000 + batch*1000 + i
			payload := fmt.Sprintf(`{"n": %d,"é":"ü"}`, id)
			switch random.IntN(31) {
			case 0:
				payload = ""
			case 1:
				payload = `"` + strings.Repeat("x", blockBytes) + `"`
			}
			rows = append(rows, Row{Event: event.Event{
				Topic: fmt.Sprint("töpic", random.IntN(4)), ID: fmt.Sprint(id % 700),
				Timestamp: "2026-11-23T06:41:10Z", Source: []string{"", "a", "ü"}[random.IntN(3)], Payload: payload,
			}, ReceivedAt: time.Unix(int64(batch), int64(i/20)).UTC().Format("2006-01-02T15:04:05.000000000Z")})
		}
		packTopics(s, rapid.Bool().Draw(t, "topics packed"))
		out, err := apply.Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		for i, stored := range out.Stored {
			if stored {
				all = append(all, listed{out.FirstSeq + int64(i), rows[i]})
			}
		}
		state = out.State
		if layout == LayoutBlocks && rapid.Bool().Draw(t, "of an older version") {
			if err := s.writer.Exec(asVersion3); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 8 {
		page := Page{
			Topic: rapid.SampledFrom([]string{"", "töpic0", "töpic3", "none"}).Draw(t, "page topic"),
			After: rapid.Int64Range(-1, state.LastSeq+1).Draw(t, "after"), Limit: rapid.IntRange(1, 500).Draw(t, "limit"),
			Since: drawTime(t, "since"), Until: drawTime(t, "until"),
		}
		var want, got []listed
		for _, l := range all {
			in := l.row.ReceivedAt >= page.Since && (page.Until == "" || l.row.ReceivedAt < page.Until)
			if in && l.seq > page.After && (page.Topic == "" || page.Topic == l.row.Topic) && len(want) < page.Limit {
				want = append(want, l)
			}
		}
		skipped, err := s.Skip(t.Context(), page)
		if err != nil {
			t.Fatal(err)
		}
		err = s.layout.page(t.Context(), s.Pool, skipped, func(seq int64, r Row) bool {
			for _, text := range []*string{&r.Topic, &r.ID, &r.Timestamp, &r.Source, &r.Payload, &r.ReceivedAt} {
				*text = strings.Clone(*text)
			}
			got = append(got, listed{seq, r})
			return len(got) < page.Limit
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%+v: %d events, want %d; %v", page, len(got), len(want), err)
		}
	}
	viewIsTheList(t, s, all)
}

// drawTime is no bound, or one of before, within or after what is stored.
func drawTime(t *rapid.T, name string) string {
	if rapid.Bool().Draw(t, name+" is given") {
		return ""
	}
	at := time.Unix(rapid.Int64Range(-1, 3).Draw(t, name+", s"), rapid.Int64Range(0, 20).Draw(t, name+", ns"))
	return at.UTC().Format("2006-01-02T15:04:05.000000000Z")
}

func viewIsTheList(t *rapid.T, s *Store, all []listed) {
	rows, err := s.Pool.Query("SELECT seq, topic, event_id, timestamp, source, coalesce(payload, ''), received_at FROM events ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var got listed
		r := &got.row
		if err := rows.Scan(&got.seq, &r.Topic, &r.ID, &r.Timestamp, &r.Source, &r.Payload, &r.ReceivedAt); err != nil {
			t.Fatal(err)
		}
		if n >= len(all) || got != all[n] {
			t.Fatalf("row %d of events is %+v", n, got)
		}
	}
	if err := rows.Err(); err != nil || n != len(all) {
		t.Fatalf("%d rows in events, want %d; %v", n, len(all), err)
	}
}

// TestDamagedDirectory: a directory that does not fit its data is an error, never another event.
func TestDamagedDirectory(t *testing.T) {
	var b block
	b.begin(7)
	row := Row{Event: event.Event{Topic: "t", ID: "i", Timestamp: "2026-11-23T06:41:10Z"}, ReceivedAt: "2026-11-23T06:41:10.000000000Z"}
	if err := b.add(7, &row); err != nil {
		t.Fatal(err)
	}
	if err := b.add(9, &row); err != nil {
		t.Fatal(err)
	}
	b.end()
	count := func(directory, data string) (n int, err error) {
		packed, size, err := new(sqlite.Packer).Pack([]byte(directory), []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		sum := checksum(7, []byte(directory), []byte(data))
		err = eachEvent(storedBlock{7, "", len(directory), string(packed), size, sum}, func(seq int64, r Row) bool {
			if want := []int64{7, 9}[n]; seq != want || r != row {
				t.Fatalf("event %d: seq %d, %+v", n, seq, r)
			}
			n++
			return true
		})
		return n, err
	}
	if n, err := count(string(b.directory), string(b.data)); n != 2 || err != nil {
		t.Fatalf("%s: %d events, %v", b.directory, n, err)
	}
	for length := range b.directory {
		if _, err := count(string(b.directory[:length]), string(b.data)); err == nil {
			t.Errorf("%s: no error", b.directory[:length])
		}
	}
	if _, err := count(string(b.directory), string(b.data[:len(b.data)-1])); err == nil {
		t.Error("data is one byte short: no error")
	}
	packed, size, err := new(sqlite.Packer).Pack(b.directory, b.data)
	if err != nil {
		t.Fatal(err)
	}
	whole := storedBlock{7, "", len(b.directory), string(packed), size, b.checksum()}
	plain := storedBlock{7, string(b.directory), 0, string(b.data), 0, b.checksum()}
	damage := func(of storedBlock, change func(b *storedBlock)) storedBlock { change(&of); return of }
	damaged := map[string]storedBlock{
		"another seq":          damage(whole, func(b *storedBlock) { b.first = 8 }),
		"another checksum":     damage(whole, func(b *storedBlock) { b.checksum ^= 1 }),
		"a byte less":          damage(whole, func(b *storedBlock) { b.packed-- }),
		"a byte more":          damage(whole, func(b *storedBlock) { b.packed++ }),
		"not packed":           damage(whole, func(b *storedBlock) { b.packed = 0 }),
		"too many bytes":       damage(whole, func(b *storedBlock) { b.packed = 1 << 40 }),
		"less than none":       damage(whole, func(b *storedBlock) { b.packed = -1 }),
		"a negative directory": damage(whole, func(b *storedBlock) { b.directoryBytes = -1 }),
		"all is directory":     damage(whole, func(b *storedBlock) { b.directoryBytes = b.packed + 1 }),
		"plain, another byte":  damage(plain, func(b *storedBlock) { b.data = b.data[1:] + "x" }),
		"plain, a byte more":   damage(plain, func(b *storedBlock) { b.directory += " " }),
	}
	for bit := range 8 * len(whole.data) { // of zlib's, those of its own header but one among them
		damaged[fmt.Sprint("bit ", bit)] = damage(whole, func(b *storedBlock) {
			data := []byte(b.data)
			data[bit/8] ^= 1 << (bit % 8)
			b.data = string(data)
		})
	}
	for name, b := range damaged {
		if err := eachEvent(b, func(int64, Row) bool { t.Errorf("%s: an event of a damaged block was shown", name); return true }); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, b := range []storedBlock{whole, plain} {
		n := 0
		if err := eachEvent(b, func(int64, Row) bool { n++; return true }); n != 2 || err != nil {
			t.Errorf("not damaged: %d events, %v", n, err)
		}
	}
	row.ReceivedAt = "2026"
	if err := b.add(10, &row); err == nil {
		t.Error("a received_at of 4 bytes was taken")
	}
}

// BenchmarkEvents reads 200 000 stored events of ten topics: all of them in pages, those of one
// topic, and through the table or view, as the sqlite3 shell would.
func BenchmarkEvents(b *testing.B) {
	const limit = 1000
	for _, layout := range []Layout{LayoutRows, LayoutBlocks} {
		s := stock(b, Design{DedupRuns, layout}, 200_000, 10)
		pages := func(topic string) func(b *testing.B) {
			return func(b *testing.B) {
				var body []byte
				read := 0
				for range b.N {
					for after, n := int64(0), limit; n == limit; read += n {
						var err error
						if body, after, n, err = s.Events(b.Context(), body[:0], Page{Topic: topic, After: after, Limit: limit, Bytes: 1 << 20}, NDJSON); err != nil {
							b.Fatal(err)
						}
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(read), "ns/event")
			}
		}
		b.Run(fmt.Sprintf("layout=%s/read=all", layout), pages(""))
		b.Run(fmt.Sprintf("layout=%s/read=topic", layout), pages("topic-3"))
		b.Run(fmt.Sprintf("layout=%s/read=sql", layout), func(b *testing.B) {
			for range b.N {
				var n, bytes int64
				if err := s.Pool.QueryRow("SELECT count(*), sum(length(payload)) FROM events").Scan(&n, &bytes); err != nil || n != s.state.UniqueProcessed {
					b.Fatal(n, err)
				}
			}
			s.perStored(b)
		})
	}
}

// perStored reports the time as that of one stored event.
func (s *stocked) perStored(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(int64(b.N)*s.state.UniqueProcessed), "ns/event")
}

// BenchmarkBackup copies 300 000 stored events.
func BenchmarkBackup(b *testing.B) {
	for _, layout := range []Layout{LayoutRows, LayoutBlocks} {
		s := stock(b, Design{DedupRuns, layout}, 300_000, 10)
		to := filepath.Join(b.TempDir(), "copy.db")
		b.Run(fmt.Sprintf("layout=%s", layout), func(b *testing.B) {
			for range b.N {
				if err := errors.Join(Backup(b.Context(), s.dir, to), os.Remove(to)); err != nil {
					b.Fatal(err)
				}
			}
			s.perStored(b)
		})
	}
}

// BenchmarkExpire takes the content of stored events, 64 blocks a transaction, as an idle writer
// does. Rows do not expire.
func BenchmarkExpire(b *testing.B) {
	const blocks = 64
	b.Run(fmt.Sprintf("layout=%s", LayoutBlocks), func(b *testing.B) {
		s := stock(b, Design{DedupRuns, LayoutBlocks}, uint64(b.N*blocks*blockEvents), 10)
		for range b.N {
			var expired int
			var err error
			if s.state, expired, err = s.apply.Expire(s.state, "2027", blocks); err != nil || expired < blocks {
				b.Fatal(expired, err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(s.state.Expired), "ns/event")
	})
}
