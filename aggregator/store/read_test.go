package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// TestATimeIsFoundByHalves: where a time begins among a million numbers takes 21 looks at most, and
// fewer where neighbours are found together.
func TestATimeIsFoundByHalves(t *testing.T) {
	const numbers = 1_000_000
	at := func(seq int64) string { return fmt.Sprintf("%012d", seq) }
	for _, c := range []struct {
		gap, same int64 // every one of gap is found, and stands for so many
		most      int
	}{{7, 1, 21}, {7, 7, 18}, {100, 100, 14}} {
		for _, since := range []int64{0, 1, 6, 7, 8, 14, 99, 100, 101, 499_999, numbers - 1, numbers, numbers + 1} {
			looks := 0
			got, err := beginning(at(since), numbers, func(seq int64) (mark, error) {
				looks++
				if seq < c.gap {
					return mark{}, sql.ErrNoRows
				}
				found := seq - seq%c.gap
				return mark{found, max(seq, found+c.same-1), at(found)}, nil
			})
			want := (since - 1) / c.gap * c.gap // the last that is found before
			want = max(0, min(want, numbers/c.gap*c.gap))
			most := c.most
			if since <= c.gap { // before the first
				most = 21
			}
			if got != want || err != nil || looks > most {
				t.Errorf("%+v, since %d: %d after %d looks, %v; want %d", c, since, got, looks, err, want)
			}
		}
	}
}

// manyBlocks is a store of blocks that are full and a second apart, with an event of the topic rare
// in the first, the middle and the last.
func manyBlocks(t *testing.T, layout Layout, blocks int) *Store {
	t.Helper()
	s, state, err := Open(t.TempDir(), Design{Layout: layout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var rows []Row
	for i := range blocks * blockEvents {
		e := event.Event{Topic: "often", ID: fmt.Sprint(i), Timestamp: "2026-11-23T06:41:10Z", Payload: "1"}
		if b := i / blockEvents; i%blockEvents == 5 && (b == 0 || b == blocks/2 || b == blocks-1) {
			e.Topic = "rare"
		}
		rows = append(rows, Row{Event: e, ReceivedAt: time.Unix(int64(i/blockEvents), int64(i%blockEvents)).UTC().Format("2006-01-02T15:04:05.000000000Z")})
	}
	if _, err := NewApplier(s).Apply(state, Batch{Rows: rows}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReadersReadOnlyTheirBlocks: every block but those that a page is of is damaged, and a damaged
// block that is read is an error.
func TestReadersReadOnlyTheirBlocks(t *testing.T) {
	const blocks = 60
	second := func(s, ns int64) string {
		return time.Unix(s, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
	}
	for _, c := range []struct {
		name   string
		page   Page
		intact []int
		events int
	}{
		{"since and until", Page{Since: second(45, 100), Until: second(46, 10)}, []int{45, 46}, blockEvents - 100 + 10},
		{"a second's beginning", Page{Since: second(20, 0), Until: second(21, 0)}, []int{19, 20, 21}, blockEvents},
		{"the end", Page{Since: second(59, blockEvents-1)}, []int{59}, 1},
		{"a topic", Page{Topic: "rare"}, []int{0, 30, 59}, 3},
		{"a topic since", Page{Topic: "rare", Since: second(1, 0)}, []int{0, 30, 59}, 2},
		{"nothing yet", Page{Since: second(1000, 0)}, []int{59}, 0},
	} {
		s := manyBlocks(t, LayoutBlocks, blocks)
		first := make([]string, len(c.intact))
		for i, b := range c.intact {
			first[i] = fmt.Sprint(1 + b*blockEvents)
		}
		shell, err := sqlite.Open(s.path)
		if err == nil {
			err = errors.Join(shell.Exec("UPDATE blocks SET checksum = checksum + 1 WHERE first_seq NOT IN ("+strings.Join(first, ",")+")"), shell.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		c.page.Limit, c.page.Bytes = 1000, 1<<20
		page, err := s.Skip(t.Context(), c.page)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, n, err := s.Events(t.Context(), nil, page, NDJSON); n != c.events || err != nil {
			t.Errorf("%s: %d events, want %d; %v", c.name, n, c.events, err)
		}
		if _, _, _, err := s.Events(t.Context(), nil, Page{Limit: 1000 * blocks, Bytes: 1 << 30}, NDJSON); !errors.Is(err, ErrDamaged) {
			t.Errorf("all: %v, want ErrDamaged", err)
		}
	}
}

var pythonBlock = regexp.MustCompile("(?s)```python\n(.*?)```")

// TestPythonReads: with the line that docs/howto/read.md gives, Python reads the view events.
func TestPythonReads(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: no python3")
	}
	page, err := os.ReadFile("../../docs/howto/read.md")
	if err != nil {
		t.Fatal(err)
	}
	line := pythonBlock.FindSubmatch(page)
	if line == nil {
		t.Fatal("the page has no line for Python")
	}
	s := manyBlocks(t, LayoutBlocks, 3)
	program := "import sqlite3, sys, zlib\ndb = sqlite3.connect(sys.argv[1])\n" + string(line[1]) +
		"print(db.execute('SELECT count(*) FROM events').fetchone()[0])"
	if out, err := exec.Command(python, "-c", program, s.path).CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(3*blockEvents) {
		t.Errorf("%s %v, want %d", out, err, 3*blockEvents)
	}
}

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// TestSQLByTopicReadsOnlyItsBlocks: the queries that docs/howto/read.md gives read no table from
// end to end, and find what the view finds.
func TestSQLByTopicReadsOnlyItsBlocks(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/read.md")
	if err != nil {
		t.Fatal(err)
	}
	queries := sqlBlock.FindAllStringSubmatch(string(page), -1)
	if len(queries) != 2 {
		t.Fatalf("%d queries in the page, want one for each layout", len(queries))
	}
	for i, layout := range []Layout{LayoutBlocks, LayoutRows} {
		s := manyBlocks(t, layout, 20)
		query := strings.ReplaceAll(strings.TrimRight(queries[i][1], ";\n"), "'orders'", "'rare'")
		plan := column(t, s, 4, "EXPLAIN QUERY PLAN "+query)
		if bad := regexp.MustCompile(`SCAN (blocks|topic_blocks|e|events)\b|TEMP B-TREE`).FindString(plan); bad != "" {
			t.Errorf("%s: %q in the plan:\n%s", layout, bad, plan)
		}
		all := "SCAN events"
		if layout == LayoutBlocks {
			all = "SEARCH blocks USING INTEGER PRIMARY KEY (rowid>?)" // every one that has not expired
		}
		if plan := column(t, s, 4, "EXPLAIN QUERY PLAN SELECT * FROM events WHERE source = 'x'"); !strings.Contains(plan, all) {
			t.Errorf("%s: a query that reads everything has the plan\n%s", layout, plan)
		}
		got, want := column(t, s, 1, query), column(t, s, 1, "SELECT * FROM events WHERE topic = 'rare' ORDER BY seq")
		if got != want || strings.Count(got, "\n") != 3 {
			t.Errorf("%s: %q, want %q", layout, got, want)
		}
	}
}

// column is the nth column of the answer, a line each.
func column(t *testing.T, s *Store, n int, query string) string {
	t.Helper()
	rows, err := s.Pool.Query(query)
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&all, *values[n-1].(*any))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// BenchmarkPages reads pages of 100 events from random places among 200 000, of all topics, of one
// of ten, and from a time on, which has to be found first.
func BenchmarkPages(b *testing.B) {
	s := stock(b, Design{DedupRuns, LayoutBlocks}, 0, 10)
	at := func(seq int64) string {
		return time.Unix(0, seq*int64(time.Millisecond)).UTC().Format("2006-01-02T15:04:05.000000000Z")
	}
	for rows := make([]Row, 10_000); s.originals < 200_000; {
		s.originals = fill(rows, s.originals, s.topics)
		for i := range rows {
			rows[i].ReceivedAt = at(s.state.LastSeq + int64(i) + 1)
		}
		out, err := s.apply.Apply(s.state, Batch{Rows: rows})
		if err != nil {
			b.Fatal(err)
		}
		s.state = out.State
	}
	for name, begin := range map[string]func(p *Page){
		"seq":   func(p *Page) { p.After = rand.Int64N(s.state.LastSeq) },
		"topic": func(p *Page) { p.After, p.Topic = rand.Int64N(s.state.LastSeq), "topic-3" },
		"time":  func(p *Page) { p.Since = at(rand.Int64N(s.state.LastSeq)) },
	} {
		b.Run("by="+name, func(b *testing.B) {
			var body []byte
			before := processorTime(b)
			for range b.N {
				page := Page{Limit: 100, Bytes: 1 << 20}
				begin(&page)
				page, err := s.Skip(b.Context(), page)
				if err != nil {
					b.Fatal(err)
				}
				if body, _, _, err = s.Events(b.Context(), body[:0], page, JSON); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what the process has used.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestMarksChangeNoAnswer: a search that remembers looks ends where one without does, while events
// come and expire.
func TestMarksChangeNoAnswer(t *testing.T) {
	s := manyBlocks(t, LayoutBlocks, 60)
	state, err := s.Reopen()
	if err != nil {
		t.Fatal(err)
	}
	a := NewApplier(s)
	second := 60
	for round := range 12 {
		for range 50 {
			since := time.Unix(int64(rand.IntN(second+1)), int64(rand.IntN(blockEvents))).UTC().Format("2006-01-02T15:04:05.000000000Z")
			got, err := s.Skip(t.Context(), Page{Since: since})
			want, failed := s.skip(t.Context(), Page{Since: since}, func(seq int64) (mark, error) { return s.look(t.Context(), seq) })
			if err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			// What has expired may be looked at yet: a page begins behind it all the same.
			if max(got.After, state.ExpiredSeq) != max(want.After, state.ExpiredSeq) {
				t.Fatalf("round %d, since %s: %d, without marks %d, and %d have expired", round, since, got.After, want.After, state.ExpiredSeq)
			}
		}
		rows := []Row{}
		for i := range rand.IntN(2 * blockEvents) {
			e := event.Event{Topic: "often", ID: fmt.Sprint("more", round, ",", i), Timestamp: "2026-11-23T06:41:10Z", Payload: "1"}
			rows = append(rows, Row{Event: e, ReceivedAt: time.Unix(int64(second), int64(i)).UTC().Format("2006-01-02T15:04:05.000000000Z")})
		}
		second++
		out, err := a.Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		if state, _, err = a.Expire(out.State, time.Unix(int64(4*round), 0).UTC().Format("2006-01-02T15:04:05.000000000Z"), 3); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.marks.of) == 0 || state.ExpiredSeq == 0 {
		t.Errorf("%d marks, %d have expired", len(s.marks.of), state.ExpiredSeq)
	}
}

// TestReadsEndWithTheirContext: a page whose time is over ends behind the block that it is at, and
// one that finds no free connection waits no longer either.
func TestReadsEndWithTheirContext(t *testing.T) {
	for _, layout := range []Layout{LayoutBlocks, LayoutRows} {
		s := manyBlocks(t, layout, 10)
		for _, page := range []Page{{}, {Topic: "often"}} {
			ctx, cancel := context.WithCancel(t.Context())
			events := 0
			err := s.read(ctx, func(db *Pool) error {
				return s.layout.page(ctx, db, page, func(int64, Row) bool { events++; cancel(); return true })
			})
			if !errors.Is(err, context.Canceled) || events > blockEvents {
				t.Errorf("%s, %+v: %d events and then %v, want at most %d and that it was canceled", layout, page, events, err, blockEvents)
			}
			if _, _, _, err := s.Events(ctx, nil, page, NDJSON); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, %+v: begun too late: %v", layout, page, err)
			}
		}
		release := make(chan struct{})
		var others sync.WaitGroup
		var begun sync.WaitGroup
		begun.Add(readers)
		for range readers {
			others.Go(func() {
				if err := s.read(t.Context(), func(*Pool) error { begun.Done(); <-release; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		begun.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := s.Topics(ctx, 10, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: no connection is free: %v", layout, err)
		}
		cancel()
		close(release)
		others.Wait()
		if _, err := s.Topics(t.Context(), 10, nil); err != nil {
			t.Errorf("%s: %v", layout, err)
		}
	}
}

// TestReadsStartNoGoroutines: to watch a context.
func TestReadsStartNoGoroutines(t *testing.T) {
	s := manyBlocks(t, LayoutBlocks, 2)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	look := func() (n int, err error) {
		err = s.read(ctx, func(db *Pool) error {
			return s.layout.page(ctx, db, Page{}, func(int64, Row) bool { n = runtime.NumGoroutine(); return false })
		})
		return n, err
	}
	if _, err := look(); err != nil { // opens the connection
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	if n, err := look(); err != nil || n > before {
		t.Errorf("%d goroutines in a page, %d before it; %v", n, before, err)
	}
}
