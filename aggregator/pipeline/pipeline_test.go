package pipeline

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sekali/aggregator/event"
	"sekali/aggregator/journal"
	"sekali/aggregator/store"
	"sekali/internal/memorydir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var roomy = Config{QueueEvents: 10_000, QueueBytes: 8 << 20, BacklogBytes: 64 << 20, BatchEvents: 7}

// rig is a pipeline on a data folder, run as the aggregator runs it.
type rig struct {
	t      rapid.TB
	dir    string
	cfg    Config
	p      *Pipeline
	s      *store.Store
	j      *journal.Journal
	abort  context.CancelFunc
	done   sync.WaitGroup
	failed chan error
}

func newRig(t rapid.TB, cfg Config) *rig {
	dir, err := memorydir.Make("pipeline")
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, dir: dir, cfg: cfg}
}

// open opens the data folder; run starts the committer and the writer.
func (r *rig) open() {
	r.t.Helper()
	s, state, err := store.Open(r.dir, store.Design{})
	if err != nil {
		r.t.Fatal(err)
	}
	j, backlog, err := journal.Open(filepath.Join(r.dir, "journal"), state.Journal)
	if err != nil {
		r.t.Fatal(err)
	}
	r.s, r.j, r.failed = s, j, make(chan error, 2)
	r.p = New(r.cfg, s, j, state, backlog, slog.New(slog.DiscardHandler))
}

func (r *rig) run() {
	ctx, abort := context.WithCancel(context.Background())
	r.abort = abort
	r.done.Go(func() { r.failed <- r.p.RunCommitter(ctx) })
	r.done.Go(func() { r.failed <- r.p.RunWriter(ctx) })
}

func (r *rig) start() { r.open(); r.run() }

// stop drains; abandon stops without draining, as near to a crash as one process gets.
func (r *rig) stop() {
	r.t.Helper()
	r.p.Close()
	r.finish()
}

func (r *rig) remove() { os.RemoveAll(r.dir) }

func (r *rig) abandon() {
	r.t.Helper()
	r.abort()
	r.finish()
}

func (r *rig) finish() {
	r.t.Helper()
	r.done.Wait()
	r.abort()
	err := errors.Join(<-r.failed, <-r.failed, r.s.Close(), r.j.Close())
	if err != nil && !strings.Contains(err.Error(), "waited in memory are lost") {
		r.t.Fatal(err)
	}
}

func request(t rapid.TB, topic string, payload int, ids ...int) *event.Request {
	t.Helper()
	type e struct {
		Topic     string `json:"topic"`
		ID        string `json:"event_id"`
		Timestamp string `json:"timestamp"`
		Payload   int    `json:"payload"`
	}
	events := []e{}
	for _, id := range ids {
		events = append(events, e{topic, fmt.Sprint(id), "2026-11-23T06:41:10Z", payload})
	}
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	r, err := event.ParseJSON(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) drain() Counters {
	r.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c := r.p.Counters()
		checkInvariant(r.t, c)
		if c.QueueDepth == 0 {
			return c
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("not drained: %+v", c)
		}
		time.Sleep(time.Millisecond)
	}
}

// Half as many histories as usual, for each opens folders and syncs: with the race detector they
// took most of the package's minute. -rapid.checks has the last word.
func init() { _ = flag.Set("rapid.checks", "50") }

// TestPipelineAgainstAMap publishes at random levels, repeats, stops and abandons, and
// compares what is stored with a map: the first accepted payload, once.
func TestPipelineAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := roomy
		cfg.BatchEvents = rapid.SampledFrom([]int{1, 3, 100}).Draw(t, "batch")
		r := newRig(t, cfg)
		defer r.remove()
		r.start()
		model := map[int]int{} // id → first payload
		payload, conflicts := 0, int64(0)
		publish := func(t *rapid.T) {
			level := rapid.SampledFrom([]Level{Memory, Journal, Store}).Draw(t, "level")
			ids := rapid.SliceOfN(rapid.IntRange(0, 40), 1, 9).Draw(t, "ids")
			payload++
			out, err := r.p.Publish(level, request(t, "t", payload, ids...))
			if err != nil {
				t.Fatal(err)
			}
			for i, id := range ids {
				_, known := model[id]
				if level == Store && out.Stored[i] == known {
					t.Fatalf("id %d: stored %v, known %v", id, out.Stored[i], known)
				}
				if !known {
					model[id] = payload
				}
				if model[id] != payload {
					conflicts++
				}
			}
			checkInvariant(t, r.p.Counters())
		}
		// Two of three steps publish: a restart costs the most, and one after the other shows little.
		t.Repeat(map[string]func(*rapid.T){
			"publish":       publish,
			"publish more":  publish,
			"and yet more":  publish,
			"and once more": publish,
			"restart": func(*rapid.T) {
				r.stop()
				r.start()
			},
			"crash": func(*rapid.T) {
				r.drain() // memory-level events would be lost here, and a map cannot tell which
				r.abandon()
				r.start()
			},
		})
		c := r.drain()
		if c.UniqueProcessed != int64(len(model)) || c.Conflicts != conflicts {
			t.Fatalf("%d stored, want %d; %d conflicts, want %d", c.UniqueProcessed, len(model), c.Conflicts, conflicts)
		}
		r.stop()
		for id, want := range stored(t, r.dir) {
			if model[id] != want {
				t.Fatalf("id %d has payload %d, want %d", id, want, model[id])
			}
			delete(model, id)
		}
		if len(model) > 0 {
			t.Fatalf("not stored: %v", model)
		}
	})
}

func stored(t rapid.TB, dir string) map[int]int {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, store.File)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT CAST(event_id AS INTEGER), CAST(payload AS INTEGER) FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	events := map[int]int{}
	for rows.Next() {
		var id, payload int
		if err := rows.Scan(&id, &payload); err != nil {
			t.Fatal(err)
		}
		if _, twice := events[id]; twice {
			t.Fatalf("id %d is stored twice", id)
		}
		events[id] = payload
	}
	return events
}

// TestEventsGather: requests that come one after the other share transactions where nobody
// waits for the commit, and have one each where somebody does. How many they share depends on the
// time it took, so the bound does too.
func TestEventsGather(t *testing.T) {
	const requests = 200
	r := newRig(t, Config{QueueEvents: 1000, QueueBytes: 1 << 20, BacklogBytes: 1 << 20, BatchEvents: 1000})
	defer r.remove()
	r.start()
	commits := func(level Level) int64 {
		before := r.drain().Commits
		for i := range requests {
			if _, err := r.p.Publish(level, request(t, string(level), 0, i)); err != nil {
				t.Fatal(err)
			}
			if level == Memory { // which is answered before a commit could end
				time.Sleep(commitEvery / 20)
			}
		}
		return r.drain().Commits - before
	}
	for _, level := range []Level{Journal, Memory} {
		began := time.Now()
		n := commits(level)
		if most := int64(time.Since(began)/commitEvery) + 2; n > most {
			t.Errorf("%d commits of %d requests at %s, want %d at most", n, requests, level, most)
		}
	}
	if n := commits(Store); n != requests {
		t.Errorf("%d commits of %d requests that wait for theirs", n, requests)
	}
	r.stop()
}

// TestBacklogIsReplayed journals without a writer, cuts a frame in the middle of its
// application, and starts again.
func TestBacklogIsReplayed(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.open()
	ctx, cancel := context.WithCancel(context.Background())
	r.abort = cancel
	r.done.Go(func() { r.failed <- r.p.RunCommitter(ctx) })
	for k := range 5 {
		ids := []int{0, 10*k + 1, 10*k + 2, 10*k + 3, 10*k + 4}
		if _, err := r.p.Publish(Journal, request(t, "t", k, ids...)); err != nil {
			t.Fatal(err)
		}
	}
	w := newWriter(r.p)
	// Seven events: one frame and two of the next.
	if err := errors.Join(w.takeBatch(), w.commit(t.Context()), w.awaitNext()); err != nil {
		t.Fatal(err)
	}
	if c := r.p.Counters(); c.UniqueProcessed+c.DuplicateDropped != 7 || c.QueueDepth != 18 {
		t.Fatalf("%+v", c)
	}
	cancel()
	r.done.Wait()
	if err := errors.Join(<-r.failed, r.s.Close(), r.j.Close()); err != nil {
		t.Fatal(err)
	}
	r.open()
	if c := r.p.Counters(); c.Received != 25 || c.QueueDepth != 18 {
		t.Fatalf("after the restart: %+v", c)
	}
	r.run()
	if c := r.drain(); c.UniqueProcessed != 21 || c.DuplicateDropped != 4 {
		t.Fatalf("%+v", c)
	}
	r.stop()
}

// TestABatchIsBoundedInBytes lets large requests wait: the writer does not read them all at one
// time.
func TestABatchIsBoundedInBytes(t *testing.T) {
	const requests, size = 8, BatchBytes / 4
	cfg := roomy
	cfg.QueueEvents, cfg.QueueBytes, cfg.BacklogBytes, cfg.BatchEvents = 1000, 1<<30, 1<<30, 1000
	r := newRig(t, cfg)
	defer r.remove()
	r.open()
	for i := range requests {
		body := fmt.Sprintf(`{"topic":"t","event_id":"%d","timestamp":"2026-11-23T06:41:10Z","payload":"%s"}`, i, strings.Repeat("x", size))
		req, err := event.ParseJSON([]byte(body), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.p.Publish(Memory, req); err != nil {
			t.Fatal(err)
		}
	}
	r.run()
	if c := r.drain(); c.UniqueProcessed != requests || c.Commits < requests*size/BatchBytes {
		t.Errorf("%d events of %d bytes in %d commits", c.UniqueProcessed, size, c.Commits)
	}
	r.stop()
}

func TestWhatDoesNotFitIsRefusedWhole(t *testing.T) {
	for _, tc := range []struct {
		name  string
		cfg   Config
		level Level
		want  error
	}{
		{"events", Config{QueueEvents: 8, QueueBytes: 1 << 20, BacklogBytes: 1 << 20}, Memory, ErrQueueFull},
		{"bytes", Config{QueueEvents: 100, QueueBytes: 600, BacklogBytes: 1 << 20}, Memory, ErrQueueFull},
		{"frames", Config{QueueEvents: 100, QueueBytes: 600, BacklogBytes: 1 << 20}, Journal, ErrQueueFull},
		{"backlog", Config{QueueEvents: 100, QueueBytes: 1 << 20, BacklogBytes: 600}, Journal, ErrBacklogFull},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.cfg.BatchEvents = 100
			r := newRig(t, tc.cfg)
			defer r.remove()
			r.open() // no writer: what is accepted waits
			ctx, cancel := context.WithCancel(t.Context())
			r.abort = cancel
			r.done.Go(func() { r.failed <- r.p.RunCommitter(ctx) })
			accepted := int64(0)
			var err error
			for k := 0; err == nil && k < 100; k++ {
				if _, err = r.p.Publish(tc.level, request(t, "t", k, 3*k, 3*k+1, 3*k+2)); err == nil {
					accepted += 3
				}
			}
			if !errors.Is(err, tc.want) || accepted == 0 {
				t.Fatalf("%v after %d events, want %v", err, accepted, tc.want)
			}
			syncs := r.p.Counters().JournalSyncs
			alone := make([]int, 50) // would not fit into what is empty either
			for i := range alone {
				alone[i] = 2000 + i
			}
			if _, err := r.p.Publish(tc.level, request(t, "t", 0, alone...)); !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%v for a request that never fits, want %v", err, ErrTooLarge)
			}
			if _, err := r.p.Publish(tc.level, request(t, "t", 0, 1000, 1001, 1002)); !errors.Is(err, tc.want) {
				t.Fatal(err)
			}
			if c := r.p.Counters(); c.JournalSyncs != syncs || c.Received != accepted {
				t.Fatalf("a refused request left traces: %+v", c)
			}
			r.done.Go(func() { r.failed <- r.p.RunWriter(ctx) })
			r.drain()
			if _, err := r.p.Publish(tc.level, request(t, "t", 0, 1000)); err != nil {
				t.Fatalf("after it drained: %v", err)
			}
			r.stop()
			if n := len(stored(t, r.dir)); int64(n) != accepted+1 {
				t.Fatalf("%d stored, %d accepted", n, accepted+1)
			}
		})
	}
}

// TestALockedStoreIsWaitedFor: somebody holds the database; the batch waits, only the journal takes
// more, and all of it is stored when the lock has ended. No commit has failed.
func TestALockedStoreIsWaitedFor(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.start()
	if _, err := r.p.Publish(Store, request(t, "t", 1, 1)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, store.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.p.Publish(Journal, request(t, "t", 1, 2, 1)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for !errors.Is(r.p.Ready(Store), ErrLocked) {
		if time.Now().After(deadline) {
			t.Fatal("never locked")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := r.p.Publish(Memory, request(t, "t", 1, 3)); !errors.Is(err, ErrLocked) {
		t.Fatalf("at memory, while locked: %v", err)
	}
	if _, err := r.p.Publish(Journal, request(t, "t", 1, 3)); err != nil {
		t.Fatalf("at journal, while locked: %v", err)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	c := r.drain()
	if c.UniqueProcessed != 3 || c.DuplicateDropped != 1 || c.FailedCommits != 0 || c.Failing != nil {
		t.Fatalf("%+v", c)
	}
	if err := r.p.Ready(Store); err != nil {
		t.Errorf("after the lock: %v", err)
	}
	r.stop()
}

// fill makes the journal's disk full: writes to its open segment go to /dev/full,
// until heal is called.
func (r *rig) fill() (heal func()) {
	r.t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, link := range fds {
		target, _ := os.Readlink(link)
		if !strings.HasPrefix(target, filepath.Join(r.dir, "journal")+"/") {
			continue
		}
		var fd int
		if _, err := fmt.Sscanf(filepath.Base(link), "%d", &fd); err != nil {
			r.t.Fatal(err)
		}
		kept, err := unix.Dup(fd)
		if err != nil {
			r.t.Fatal(err)
		}
		full, err := unix.Open("/dev/full", unix.O_RDWR, 0)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := errors.Join(unix.Dup3(full, fd, 0), unix.Close(full)); err != nil {
			r.t.Fatal(err)
		}
		return func() {
			if err := errors.Join(unix.Dup3(kept, fd, 0), unix.Close(kept)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	r.t.Fatal("no open segment")
	return nil
}

// TestAFullJournalHeals: who waits is refused, so is who comes, and when there is room
// again nothing acknowledged before or after is missing.
func TestAFullJournalHeals(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.start()
	if _, err := r.p.Publish(Journal, request(t, "t", 1, 1)); err != nil {
		t.Fatal(err)
	}
	r.drain()
	heal := r.fill()
	for range 3 {
		if _, err := r.p.Publish(Journal, request(t, "t", 1, 2)); !errors.Is(err, ErrDiskFailing) && !errors.Is(err, ErrDiskFull) {
			t.Fatalf("while full: %v", err)
		}
	}
	heal()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, err := r.p.Publish(Journal, request(t, "t", 1, 3))
		if err == nil {
			break
		}
		if !errors.Is(err, ErrDiskFailing) && !errors.Is(err, ErrDiskFull) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	r.drain()
	r.abandon()
	r.start() // what the failed frame left on disk must not come back
	r.stop()
	events := stored(t, r.dir)
	if len(events) != 2 || events[1] != 1 || events[3] != 1 {
		t.Fatalf("stored %v, want 1 and 3", events)
	}
}

// TestShutdownAnswersEverybody: whoever waits when the pipeline closes gets an answer,
// and an acknowledgement means stored.
func TestShutdownAnswersEverybody(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.start()
	var publishers sync.WaitGroup
	acknowledged := make([]bool, 200)
	for id := range acknowledged {
		publishers.Go(func() {
			level := []Level{Memory, Journal, Store}[id%3]
			_, err := r.p.Publish(level, request(t, "t", id, id))
			if err != nil && !errors.Is(err, ErrShuttingDown) {
				t.Error(err)
			}
			acknowledged[id] = err == nil
		})
	}
	time.Sleep(time.Millisecond)
	r.stop()
	publishers.Wait()
	events := stored(t, r.dir)
	for id, ok := range acknowledged {
		if _, is := events[id]; is != ok {
			t.Errorf("id %d: acknowledged %v, stored %v", id, ok, is)
		}
	}
}

// TestQuietWAL: a reader from outside has made the WAL's file long. Once it has left and nothing
// comes, the file is given back.
func TestQuietWAL(t *testing.T) {
	r := newRig(t, roomy)
	defer r.remove()
	r.start()
	defer r.stop()
	outside, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, store.File)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	tx, err := outside.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM state").Scan(&n); err != nil {
		t.Fatal(err)
	}
	long := func() bool { _, wal := r.s.Sizes(); return wal > quietWALBytes }
	for id := 0; !long(); id++ {
		if _, err := r.p.Publish(Store, request(t, "t", 0, id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(4 * quietTicks * flushInterval); long(); time.Sleep(flushInterval / 10) {
		if time.Now().After(deadline) {
			t.Fatal("the WAL's file is as long as before")
		}
	}
	if _, wal := r.s.Sizes(); wal != 0 {
		t.Errorf("%d bytes are left", wal)
	}
	if _, err := r.p.Publish(Store, request(t, "t", 0, -1)); err != nil {
		t.Error(err)
	}
}

// TestParseLevel: the error of a level that is none names each that is one.
func TestParseLevel(t *testing.T) {
	_, err := ParseLevel("disk")
	if err == nil {
		t.Fatal("there is a level disk")
	}
	for _, level := range []Level{Memory, Journal, Replicated, Store} {
		if got, err := ParseLevel(string(level)); err != nil || got != level {
			t.Errorf("%s: %q, %v", level, got, err)
		}
		if !strings.Contains(err.Error(), string(level)) {
			t.Errorf("%v: want %s in it", err, level)
		}
	}
}
