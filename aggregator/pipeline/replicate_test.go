package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/aggregator/internal/cluster"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/sqlite"
)

var testIdentity = cluster.Identity{Cluster: "test", Epoch: 1, Created: time.Unix(5, 0)}

// replicaRig is a pipeline of a cluster whose log is fed by hand.
type replicaRig struct {
	t      rapid.TB
	dir    string
	s      *store.Store
	j      *journal.Journal
	p      *Pipeline
	w      *writer
	cursor cluster.Cursor
}

func (r *replicaRig) open(batchEvents int) {
	r.t.Helper()
	s, state, err := store.Open(r.dir, store.Design{})
	if err != nil {
		r.t.Fatal(err)
	}
	j, backlog, err := journal.Open(filepath.Join(r.dir, "journal"), state.Journal)
	if err != nil {
		r.t.Fatal(err)
	}
	var node *cluster.Node
	err = s.Change(func(c *sqlite.Conn) error {
		if is, err := cluster.IsReplica(c); err != nil {
			return err
		} else if !is {
			if err := cluster.MakeReplica(c, testIdentity, cluster.ApplyVersion); err != nil {
				return err
			}
		}
		replica, cursor, err := cluster.OpenReplica(c)
		if err != nil {
			return err
		}
		kept, err := cluster.Checkpoints(c)
		r.cursor = cursor
		node = cluster.Open(cluster.Config{Name: "a", Replica: replica, Cursor: cursor, Journal: j, Logger: slog.New(slog.DiscardHandler)}, kept)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.s, r.j = s, j
	r.p = New(Config{QueueEvents: 1 << 20, QueueBytes: 1 << 30, BacklogBytes: 1 << 30, BatchEvents: batchEvents, Node: node}, s, j, state, backlog, slog.New(slog.DiscardHandler))
	r.w = newWriter(r.p)
}

func (r *replicaRig) close() {
	r.t.Helper()
	if err := r.w.awaitNext(); err != nil {
		r.t.Fatal(err)
	}
	_ = r.w.awaitCheckpoint()
	if err := r.s.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := r.j.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// feed queues messages behind the ones that were fed.
func (r *replicaRig) feed(messages [][]byte, until int) {
	r.t.Helper()
	for int(r.cursor.Position) < until {
		at := r.cursor.Position + 1
		f, _, err := cluster.Decode(messages[at-1])
		if err != nil {
			r.t.Fatal(err)
		}
		counts, err := r.cursor.Next(at, &f)
		if err != nil {
			r.t.Fatal(err)
		}
		e := &cluster.Entry{At: at, Frame: f, Counts: counts}
		if !counts {
			e.Frame.Body = nil
		}
		if !r.p.enqueueEntry(&item{data: e.Frame.Body, events: e.Events(), stamp: f.Time, entry: e}) {
			r.t.Fatal("no room")
		}
	}
}

// commit applies what was fed, in as many transactions as it takes.
func (r *replicaRig) commit() {
	r.t.Helper()
	for {
		if err := r.w.takeBatch(); err != nil {
			r.t.Fatal(err)
		}
		if len(r.w.batch.parts) == 0 {
			return
		}
		if err := r.w.commit(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
}

// applied is everything that must be the same on every replica.
func (r *replicaRig) applied() (lines []string) {
	r.t.Helper()
	for _, sql := range []string{
		"SELECT seq || ' ' || topic || ' ' || event_id || ' ' || timestamp || ' ' || source || ' ' || coalesce(payload, '-') || ' ' || received_at FROM events ORDER BY seq",
		"SELECT name || ' ' || events FROM topics ORDER BY name",
		"SELECT 'state ' || unique_processed || ' ' || duplicate_dropped || ' ' || failed || ' ' || conflicts || ' ' || last_seq || ' ' || last_received_at || ' expired ' || expired || ' ' || expired_seq FROM state",
		"SELECT 'at ' || position || ' ' || hash || ' ' || apply FROM cluster",
		"SELECT 'skipped ' || position FROM cluster_skipped ORDER BY position",
		"SELECT session || ' ' || number || ' ' || checksum || ' ' || position FROM cluster_sessions ORDER BY session",
		"SELECT 'checkpoint ' || position || ' ' || hash FROM cluster_checkpoints ORDER BY position",
	} {
		rows, err := r.s.Pool.Query(sql)
		if err != nil {
			r.t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				r.t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if err := rows.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	return lines
}

// drawLog is a log of some senders, with their repeats, with frames that overtake others, and with
// controls. It returns how many frames count.
func drawLog(random *rand.Rand, frames int) (messages [][]byte, counting int) {
	type sender struct {
		session  cluster.Session
		number   uint64
		previous uint32
		sent     [][]byte // all of them
	}
	var senders []*sender
	ids := 1 + random.IntN(60)
	for range frames {
		if len(senders) == 0 || random.IntN(20) == 0 {
			senders = append(senders, &sender{session: cluster.NewSession()})
		}
		if random.IntN(5) == 0 {
			control := cluster.Control{Expire: int64(1 + random.IntN(4*(len(messages)+1)))}
			message, err := control.Message(1)
			if err != nil {
				panic(err)
			}
			messages = append(messages, message)
		}
		s := senders[random.IntN(len(senders))]
		r := event.NewRequest(0)
		pad := strings.Repeat("x", random.IntN(2)*400) // of a frame that is packed, if its version knows that
		for range 1 + random.IntN(6) {
			err := r.Add(&event.Fields{Topic: fmt.Append(nil, "t", random.IntN(3)), ID: fmt.Append(nil, "e", random.IntN(ids)),
				Timestamp: []byte("2026-11-23T06:41:10Z"), Payload: fmt.Appendf(nil, `"%d%s"`, random.IntN(4), pad)})
			if err != nil {
				panic(err)
			}
		}
		s.number++
		f := cluster.Frame{Apply: uint16(1 + random.IntN(2)), Session: s.session, Number: s.number, Previous: s.previous, Events: r.Events, Body: r.Data,
			Time: time.Unix(1_700_000_000+int64(random.IntN(100)), int64(random.IntN(1000)))}
		message := f.Encode(nil)
		s.previous, s.sent = f.Sum, append(s.sent, message)
		counting++
		switch random.IntN(6) {
		case 0: // it is sent again, with some before it
			messages = append(messages, message)
			messages = append(messages, s.sent[random.IntN(len(s.sent)):]...)
		case 1: // one that would be the next but one has overtaken it
			later := cluster.Frame{Session: s.session, Number: s.number + 1, Previous: 7, Events: 1, Body: r.Data[:len(r.Data):len(r.Data)], Time: f.Time}
			later.Events = r.Events
			messages = append(messages, later.Encode(nil), message)
		default:
			messages = append(messages, message)
		}
	}
	return messages, counting
}

// TestCutsDoNotShow applies the same log in batches of one message, and in batches cut at random
// with restarts between them, for some of which the runs of keys have to be made again: all that is
// stored and counted is the same, seq by seq, and so is the hash.
func TestCutsDoNotShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "log"), 0))
		messages, counting := drawLog(random, rapid.IntRange(1, 25).Draw(t, "frames"))
		one := &replicaRig{t: t, dir: tempDir(t)}
		defer os.RemoveAll(one.dir)
		one.open(1)
		for at := range messages {
			one.feed(messages, at+1)
			one.commit()
		}
		want := one.applied()
		one.close()
		cut := &replicaRig{t: t, dir: tempDir(t)}
		defer os.RemoveAll(cut.dir)
		cut.open(rapid.IntRange(1, 40).Draw(t, "batch"))
		for int(cut.cursor.Position) < len(messages) {
			cut.feed(messages, min(len(messages), int(cut.cursor.Position)+rapid.IntRange(1, 30).Draw(t, "cut")))
			if rapid.IntRange(0, 5).Draw(t, "crash") == 0 { // what is queued and not committed is read again
				cut.close()
				if rapid.Bool().Draw(t, "lose the runs") { // with what they know of events that have expired
					if err := os.RemoveAll(filepath.Join(cut.dir, "dedup")); err != nil {
						t.Fatal(err)
					}
				}
				cut.open(rapid.IntRange(1, 40).Draw(t, "batch"))
				continue
			}
			cut.commit()
		}
		if got := cut.applied(); !slices.Equal(got, want) {
			t.Errorf("cut otherwise, the log leads to\n%q\nwant\n%q", got, want)
		}
		numbers := uint64(0)
		for _, seen := range cut.cursor.Sessions {
			numbers += seen.Number
		}
		if int(numbers) != counting {
			t.Errorf("%d frames count, %d were made", numbers, counting)
		}
		cut.close()
		if _, faults, err := store.Check(context.Background(), cut.dir); err != nil || len(faults) > 0 {
			t.Errorf("%q, %v", faults, err)
		}
	})
}

// TestConflictsAfterExpiry: a duplicate of what has expired is no conflict, whether or not a
// replica still knows what it said; one of what has not is.
func TestConflictsAfterExpiry(t *testing.T) {
	session, number, previous := cluster.NewSession(), uint64(0), uint32(0)
	frame := func(payload string, ids ...string) []byte {
		r := event.NewRequest(0)
		for _, id := range ids {
			if err := r.Add(&event.Fields{Topic: []byte("t"), ID: []byte(id), Timestamp: []byte("2026-11-23T06:41:10Z"), Payload: []byte(payload)}); err != nil {
				t.Fatal(err)
			}
		}
		number++
		f := cluster.Frame{Session: session, Number: number, Previous: previous, Events: r.Events, Body: r.Data, Time: time.Unix(1_700_000_000, 0)}
		message := f.Encode(nil)
		previous = f.Sum
		return message
	}
	expire, err := (&cluster.Control{Expire: 2}).Message(1)
	if err != nil {
		t.Fatal(err)
	}
	messages := [][]byte{frame("1", "a", "b", "c"), frame("2", "a"), expire, frame("2", "a", "b", "c")}
	for _, lose := range []bool{false, true} {
		r := &replicaRig{t: t, dir: t.TempDir()}
		r.open(10)
		r.feed(messages, 3)
		r.commit()
		if lose {
			r.close()
			if err := os.RemoveAll(filepath.Join(r.dir, "dedup")); err != nil {
				t.Fatal(err)
			}
			r.open(10)
		}
		r.feed(messages, 4)
		r.commit()
		if c := r.p.Counters(); c.Conflicts != 2 || c.Expired != 2 || c.ExpiredSeq != 2 || c.DuplicateDropped != 4 || c.UniqueProcessed != 3 {
			t.Errorf("the runs are lost: %v: %+v", lose, c.State)
		}
		r.close()
	}
}

func tempDir(t rapid.TB) string {
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
