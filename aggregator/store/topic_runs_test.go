package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"sekali/aggregator/event"
	"sekali/internal/memorydir"
	"sekali/internal/sqlite"
)

// packTopics has a store write the topics of any batch as those of a large one, or as it would.
func packTopics(s *Store, pack bool) {
	from := 0
	if pack {
		from = 1
	}
	s.countsFrom = from
	if l, ok := s.layout.(*blocksLayout); ok {
		l.runFrom = from
	}
}

// topicRow is an event of a topic; seq is the number that it will have.
func topicRow(topic string, seq int) Row {
	return Row{Event: event.Event{Topic: topic, ID: fmt.Sprint(seq), Timestamp: "2026-11-23T06:41:10Z", Payload: `{"n":1}`},
		ReceivedAt: fmt.Sprintf("2026-11-23T06:41:10.%09dZ", seq)}
}

// counted are the topics that have events.
func counted(t *testing.T, s *Store) map[string]int64 {
	t.Helper()
	topics, err := s.Topics(t.Context(), math.MaxInt, nil)
	if err != nil || !slices.IsSortedFunc(topics, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatal(topics, err)
	}
	found := map[string]int64{}
	for _, topic := range topics {
		found[topic.Name] = topic.Events
	}
	return found
}

// seqsOf are the seqs of a topic's events behind one.
func seqsOf(t *testing.T, s *Store, db querier, topic string, after int64) (seqs []int64) {
	t.Helper()
	if err := s.layout.page(t.Context(), db, Page{Topic: topic, After: after}, func(seq int64, r Row) bool {
		if r.Topic != topic || r.Payload != `{"n":1}` {
			t.Fatalf("seq %d: %+v", seq, r)
		}
		seqs = append(seqs, seq)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return seqs
}

func checkFindsNothing(t *testing.T, dir string) {
	t.Helper()
	if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) > 0 {
		t.Fatalf("%q, %v", faults, err)
	}
}

// TestManyTopicsAgainstAMap: large batches of many topics, small ones between, and expiry, until
// nothing is left: what is counted, and found by topic, is what a map says, and runs of counts
// become few.
func TestManyTopicsAgainstAMap(t *testing.T) {
	const names, batches = 20_000, 14
	dir, err := memorydir.Make("topics")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	apply := NewApplier(s)
	seqs := map[string][]int64{} // by topic
	name := func(seq int) string { return fmt.Sprint("töpic-", seq*7919%names) }
	compare := func() {
		t.Helper()
		want := map[string]int64{}
		for topic, of := range seqs {
			of = slices.DeleteFunc(of, func(seq int64) bool { return seq <= state.ExpiredSeq })
			if seqs[topic] = of; len(of) > 0 {
				want[topic] = int64(len(of))
			}
		}
		if got := counted(t, s); !maps.Equal(got, want) {
			t.Fatalf("%d topics are counted otherwise than %d", len(got), len(want))
		}
		for n := 0; n < names; n += names / 7 {
			topic := name(n)
			if got := seqsOf(t, s, s.Pool, topic, 0); !slices.Equal(got, seqs[topic]) {
				t.Fatalf("%s: %v, want %v", topic, got, seqs[topic])
			}
			if all := seqs[topic]; len(all) > 2 {
				if got := seqsOf(t, s, s.Pool, topic, all[1]); !slices.Equal(got, all[2:]) {
					t.Fatalf("%s behind %d: %v, want %v", topic, all[1], got, all[2:])
				}
			}
		}
		checkFindsNothing(t, dir)
	}
	for batch := range batches {
		var rows []Row
		size := 4000
		if batch%3 == 2 {
			size = 10
		}
		for len(rows) < size {
			seq := int(state.LastSeq) + len(rows) + 1
			rows = append(rows, topicRow(name(seq), seq))
			seqs[name(seq)] = append(seqs[name(seq)], int64(seq))
		}
		out, err := apply.Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		state = out.State
	}
	var runs, pieces int64
	if err := s.writer.Row("SELECT count(DISTINCT run), count(*) FROM topic_counts", &runs, &pieces); err != nil || runs == 0 || runs >= 10 || pieces <= runs {
		t.Fatalf("%d runs of counts in %d pieces, %v", runs, pieces, err)
	}
	compare()
	page, err := os.ReadFile("../../docs/howto/read.md")
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(string(page), "```sql\n")
	query, _, _ = strings.Cut(query, ";\n```")
	var n int
	query = strings.ReplaceAll("SELECT count(*) FROM ("+query+")", "'orders'", "'"+name(1)+"'")
	if err := s.Pool.QueryRow(query).Scan(&n); err != nil || n == 0 || n != len(seqs[name(1)]) {
		t.Fatalf("%d events by SQL, want %d; %v", n, len(seqs[name(1)]), err)
	}
	for expired := 1; expired > 0; {
		if state, expired, err = apply.Expire(state, "2027", 40); err != nil {
			t.Fatal(err)
		}
		compare()
	}
	var left int64
	if err := s.writer.Row("SELECT (SELECT count(*) FROM topic_runs) + (SELECT count(*) FROM topic_buckets)", &left); err != nil || left != 0 {
		t.Errorf("%d rows of runs are left, %v", left, err)
	}
}

// TestExpirySearchesRuns: the runs that have not expired are not looked through, within a
// transaction that holds the writer up.
func TestExpirySearchesRuns(t *testing.T) {
	s, _, err := Open(t.TempDir(), Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	plan := ""
	if err := s.writer.Rows("EXPLAIN QUERY PLAN "+selectExpiredRun, func(row *sqlite.Statement) error {
		plan += row.ColumnText(3)
		return nil
	}); err != nil || !strings.Contains(plan, "SEARCH") || !strings.Contains(plan, "rowid<?") {
		t.Errorf("%v, %s", err, plan)
	}
}

// TestExpiredTopicsTakeNoPlace: a topic that has no event any more is not listed, and takes no
// place of those that are.
func TestExpiredTopicsTakeNoPlace(t *testing.T) {
	for _, packed := range []bool{false, true} {
		s, state, err := Open(t.TempDir(), Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		packTopics(s, packed)
		apply := NewApplier(s)
		rows := []Row{topicRow("2026-11-22", 1), topicRow("2026-11-23", 2), topicRow("now", 3)}
		out, err := apply.Apply(state, Batch{Replica: true, Rows: rows})
		if err == nil {
			_, err = apply.Apply(out.State, Batch{Replica: true, Expire: 2})
		}
		if err != nil {
			t.Fatal(err)
		}
		topics, err := s.Topics(t.Context(), 1, nil)
		if err != nil || !slices.Equal(topics, []Topic{{"now", 1}}) {
			t.Errorf("listed are %v, %v", topics, err)
		}
	}
}

// TestTopicsOfOneHash: two topics of the same CRC-32C have each its own events.
func TestTopicsOfOneHash(t *testing.T) {
	byHash := map[uint32]string{}
	a, b := "", ""
	for n := 0; a == ""; n++ {
		b = fmt.Sprint("topic ", n*7919)
		a = byHash[topicHash(b)]
		byHash[topicHash(b)] = b
	}
	dir := t.TempDir()
	s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	packTopics(s, true)
	if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{topicRow(a, 1), topicRow(b, 2), topicRow(b, 3)}}); err != nil {
		t.Fatal(err)
	}
	if ofA, ofB := seqsOf(t, s, s.Pool, a, 0), seqsOf(t, s, s.Pool, b, 0); !slices.Equal(ofA, []int64{1}) || !slices.Equal(ofB, []int64{2, 3}) {
		t.Errorf("%s %v, %s %v", a, ofA, b, ofB)
	}
	checkFindsNothing(t, dir)
}

// expiresBetween does something once, before the n-th query.
type expiresBetween struct {
	*Pool
	n  int
	do func()
}

func (e *expiresBetween) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if e.n--; e.n == 0 {
		e.do()
	}
	return e.Pool.QueryContext(ctx, query, args...)
}

// TestExpiryWhileATopicIsRead: blocks expire while a page lists and reads them, and the last of a
// list is cut in two: what is left is shown, and nothing twice.
func TestExpiryWhileATopicIsRead(t *testing.T) {
	const events = 2 * listedAtOnce * blockEvents
	for _, c := range []struct {
		before int // this query: the first list, its blocks, the second list, its blocks
		from   int64
		packed bool
	}{{1, 0, false}, {2, 0, false}, {3, 1, false}, {4, 1, false}, {1, 0, true}, {2, 0, true}, {3, 1, true}, {4, 1, true}} {
		s, state, err := Open(t.TempDir(), Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		packTopics(s, c.packed)
		apply := NewApplier(s)
		rows := make([]Row, events)
		for i := range rows {
			rows[i] = topicRow("t", i+1)
		}
		out, err := apply.Apply(state, Batch{Rows: rows})
		if err != nil {
			t.Fatal(err)
		}
		var through int64
		if err := s.writer.Row(fmt.Sprint("SELECT first_seq + 100 FROM blocks ORDER BY first_seq LIMIT 1 OFFSET ", listedAtOnce-1), &through); err != nil {
			t.Fatal(err)
		}
		got := seqsOf(t, s, &expiresBetween{s.Pool, c.before, func() {
			if _, err := apply.Apply(out.State, Batch{Replica: true, Expire: through}); err != nil {
				t.Fatal(err)
			}
		}}, "t", 0)
		first := cmp.Or(c.from, through+1)
		if len(got) != int(events-first+1) || got[0] != first || got[len(got)-1] != events {
			t.Errorf("%+v: %d events from %v on, want %d from %d on", c, len(got), got[:min(1, len(got))], events-first+1, first)
		}
	}
}

// TestRefusedRun: what a trigger refuses of a run is written as rows.
func TestRefusedRun(t *testing.T) {
	for _, table := range []string{"topic_runs", "topic_buckets"} {
		dir := t.TempDir()
		s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		packTopics(s, true)
		if err := s.writer.Exec("CREATE TRIGGER no AFTER INSERT ON " + table + " BEGIN SELECT RAISE(FAIL, 'no'); END"); err != nil {
			t.Fatal(err)
		}
		out, err := NewApplier(s).Apply(state, Batch{Rows: []Row{topicRow("a", 1), topicRow("b", 2)}})
		if err != nil || out.State.UniqueProcessed != 2 || out.State.Failed != 0 {
			t.Fatalf("%+v, %v", out.State, err)
		}
		checkFindsNothing(t, dir)
	}
}

// TestRunsAreChecked: what is damaged of runs is found.
func TestRunsAreChecked(t *testing.T) {
	for _, c := range []struct{ statement, fault string }{
		{"DELETE FROM topic_runs", "topics of blocks that topic_blocks does not know"},
		{"DELETE FROM topic_buckets", "3 topics of blocks that topic_blocks does not know"},
		{"UPDATE topic_buckets SET entries = CAST(entries || entries AS BLOB)", "3 topics that topic_blocks knows"},
		{"UPDATE topic_buckets SET entries = x'00'", "topics of the blocks from 1 on: damaged"},
		{"INSERT INTO topic_runs VALUES (40, 40); INSERT INTO topic_buckets VALUES (0, 40, x'00000000')", "1 topics that topic_blocks knows"},
		{"INSERT INTO topic_blocks VALUES ('t1', 1)", "1 topics that topic_blocks knows"},
		{"DELETE FROM topic_counts", "30 events that topics does not count"},
		{"UPDATE topic_counts SET counts = x'00'", "damaged: a piece of topic_counts"},
		{"UPDATE topic_counts SET counts = unhex(replace(hex(counts), '01010A32', '01010A39'))", "counts under other topics"},
		{"INSERT INTO topics VALUES ('t1', 1), ('t2', -1)", "counts under other topics"},
		{"UPDATE topic_counts SET topics = topics + 1", "damaged: a piece of topic_counts"},
		{"UPDATE topics SET events = 1", ""}, // it has no row
	} {
		dir := t.TempDir()
		s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
		if err != nil {
			t.Fatal(err)
		}
		packTopics(s, true)
		var rows []Row
		for i := range 30 {
			rows = append(rows, topicRow(fmt.Sprint("t", i%3), i+1))
		}
		if _, err := NewApplier(s).Apply(state, Batch{Rows: rows}); err != nil {
			t.Fatal(err)
		}
		if err := s.writer.Exec(c.statement); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, faults, err := Check(t.Context(), dir)
		if all := strings.Join(faults, "\n"); err != nil || !strings.Contains(all, c.fault) || (c.fault == "") != (all == "") {
			t.Errorf("%s: %q, %v; want %q", c.statement, faults, err, c.fault)
		}
	}
}

// TestEveryBitOfRunsIsChecked: whatever bit turns over of what the runs say, the check finds it.
func TestEveryBitOfRunsIsChecked(t *testing.T) {
	dir, err := memorydir.Make("bits")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, state, err := Open(dir, Design{DedupRuns, LayoutBlocks})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	packTopics(s, true)
	if _, err := NewApplier(s).Apply(state, Batch{Rows: []Row{topicRow("ta", 1), topicRow("tb", 2), topicRow("tb", 3)}}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ table, column, as string }{
		{"topic_buckets", "entries", "BLOB"}, {"topic_counts", "counts", "BLOB"}, {"topic_counts", "name", "TEXT"},
	} {
		var was string
		if err := s.writer.Row(fmt.Sprintf("SELECT hex(%s) FROM %s LIMIT 1", c.column, c.table), &was); err != nil {
			t.Fatal(err)
		}
		whole, err := hex.DecodeString(was)
		if err != nil || len(whole) == 0 {
			t.Fatal(was, err)
		}
		set := func(from, to []byte) {
			t.Helper()
			if err := s.writer.Exec(fmt.Sprintf("UPDATE %s SET %s = CAST(x'%x' AS %s) WHERE hex(%[2]s) = '%[5]X'", c.table, c.column, to, c.as, from)); err != nil {
				t.Fatal(err)
			}
		}
		for bit := range 8 * len(whole) {
			other := slices.Clone(whole)
			other[bit/8] ^= 1 << (bit % 8)
			set(whole, other)
			if _, faults, err := Check(t.Context(), dir); err != nil || len(faults) == 0 {
				t.Errorf("%s.%s: bit %d is not found, %v", c.table, c.column, bit, err)
			}
			set(other, whole)
		}
		checkFindsNothing(t, dir)
	}
}

// BenchmarkRareTopic looks for a topic of which there is nothing, beside 500 batches of 40 000
// events that have a topic each: 20 million.
func BenchmarkRareTopic(b *testing.B) {
	const batches, events, ofBlock = 500, 40_000, 200
	s, _, err := Open(b.TempDir(), Design{DedupRuns, LayoutBlocks})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var run topicRun
	defer run.texts.Free()
	if err := s.Change(func(c *sqlite.Conn) error {
		for batch := range batches {
			var found []topicIn
			var names []string
			for i := range events {
				found = append(found, topicIn{int32(i), int64(batch*events + i/ofBlock*ofBlock + 1)})
				names = append(names, fmt.Sprint("topic-", (batch*events+i)*7919%1_000_000))
			}
			if err := run.write(c, found, names); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	if _, err := s.TruncateWAL(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.layout.page(b.Context(), s.Pool, Page{Topic: "none"}, func(int64, Row) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
}
