package mutants

import (
	"bytes"
	"database/sql"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// mutant is one kind of lie: where it changes what passes. A hook that is nil changes nothing.
type mutant struct {
	name string
	lie  string // in words, for the table
	load string // which of the loads shows it; "": plain

	environ     []string // of the aggregator
	traced      bool     // strace counts its syncs
	refuse      func(*liar, http.ResponseWriter, *http.Request) (answered bool)
	publish     func(*liar, []event) []event
	acknowledge func(*liar, *http.Response, *event)
	stats       func(*liar, *http.Response, *event)
	export      func(*liar, *event) (keep bool) // of NDJSON
	page        func(*liar, *event) (keep bool) // of JSON pages
	stream      func(*liar, *event) (keep bool)
	asked       string                                             // pages and the stream lie only where a query has this; "": always
	ask         func(*liar, *http.Request, url.Values)             // changes what is asked of /events and the stream
	backup      func(db *sql.DB) error                             // changes a copy of the database
	backupBytes func([]byte) []byte                                // and what is sent of it
	ended       func(data string, life int) (told bool, err error) // once the aggregator has ended

	noResult string // what the lab says where the lie leaves no result; "": it leaves one
	uncaught string // why the lab cannot see it; "": it does
}

// Honest is the control: a mutant that changes nothing.
const Honest = "honest"

// Names are those of all mutants, which are those of the folders that they leave.
func Names() (names []string) {
	for _, m := range catalogue {
		names = append(names, m.name)
	}
	return names
}

func find(name string) (mutant, bool) {
	at := slices.IndexFunc(catalogue, func(m mutant) bool { return m.name == name })
	if at < 0 {
		return mutant{}, false
	}
	return catalogue[at], true
}

// without leaves something out of what is asked.
func without(name string) func(*liar, *http.Request, url.Values) {
	return func(l *liar, _ *http.Request, query url.Values) {
		if query.Has(name) {
			l.tell()
			query.Del(name)
		}
	}
}

// everywhere makes a mutant lie in all three ways of reading.
func everywhere(m mutant, change func(*liar, *event) bool) mutant {
	m.export, m.page, m.stream = change, change, change
	return m
}

// gap leaves out one event in 97, by its number.
func gap(_ *liar, e *event) bool { return e.seq()%97 != 0 }

// number adds to a counter of an answer.
func number(name string, more int64) func(*liar, *http.Response, *event) {
	return func(_ *liar, _ *http.Response, e *event) {
		n, err := strconv.ParseInt(string(e.values[name]), 10, 64)
		if err == nil {
			e.values[name] = strconv.AppendInt(nil, max(0, n+more), 10)
		}
	}
}

// oneMore adds one to a counter of /stats, once something was received.
func oneMore(name string) func(*liar, *http.Response, *event) {
	return func(l *liar, r *http.Response, e *event) {
		if string(e.values["received"]) != "0" {
			number(name, 1)(l, r, e)
		}
	}
}

var catalogue = []mutant{
	{name: Honest, lie: "none: the control"},
	{name: "honest-restart", lie: "none: the control, stopped and started", load: "restart"},
	{name: "honest-store", lie: "none: the control, at ack=store", load: "store"},
	{name: "honest-client", lie: "none: the control, with one client", load: "client"},
	{name: "honest-client-store", lie: "none: the control, with one client at ack=store", load: "client-store"},
	{name: "honest-traced", lie: "none: the control, and strace looks on", load: "client", traced: true},
	{name: "honest-slow", lie: "none: the control, with a queue", load: queue},
	{name: "honest-kill", lie: "none: the control, killed at ack=memory", load: "kill"},
	{name: "honest-mixed", lie: "none: the control, with odd events", load: "mixed"},

	{name: "all-committed", lie: "/stats says that nothing waits", load: queue, stats: allCommitted},
	{name: "all-committed-seq", lie: "the same, and last_seq with it", load: queue, stats: allCommittedSeq},
	{name: "all-committed-rarely", lie: "the same, in one answer of four", load: queue, stats: func(l *liar, r *http.Response, e *event) {
		if l.one(4) {
			allCommittedSeq(l, r, e)
		}
	}},
	{name: "drained", lie: "/stats says that nothing waits once no request came for 20 ms", load: queue, stats: func(l *liar, r *http.Response, e *event) {
		if l.idle(20 * time.Millisecond) {
			allCommittedSeq(l, r, e)
		}
	}},
	{name: "half-waits", lie: "/stats halves the depth, and how long events waited", load: queue, stats: halfWaits},
	{name: "waits-capped", lie: "no event is said to have waited longer than 500 ms", load: queue, stats: capWaits},
	{name: "rolled-back", lie: "what was committed in the last moments before a SIGKILL is gone", load: "kill", ended: rollBack},
	{name: "commits", lie: "/stats counts half of the commits", load: "client-store", stats: func(_ *liar, _ *http.Response, e *event) { halve(e, "commits") }},
	{name: "syncs", lie: "/stats counts half of the syncs", load: "client", stats: func(_ *liar, _ *http.Response, e *event) { halve(e, "journal_syncs") }},
	{name: "syncs-doubled", lie: "/stats counts every sync twice", load: "client", traced: true, stats: double},
	{name: "topics", lie: "/stats leaves a topic out", stats: func(_ *liar, _ *http.Response, e *event) {
		if topics, err := list(e.values["topics"]); err == nil && len(topics) > 1 {
			e.values["topics"] = appendList(nil, topics[1:])
		}
	}},
	{name: "conflicts", lie: "/stats counts one conflict too many", stats: oneMore("conflicts")},
	{name: "rejects", lie: "one event in 100 is made invalid on its way, and rejected", publish: each(spoil)},
	{name: "rejects-restart", lie: "the same, stopped and started", load: "restart", publish: each(spoil)},
	{name: "rejects-kill", lie: "the same, killed at ack=memory", load: "kill", publish: each(spoil)},
	{name: "rejected", lie: "/stats counts one rejected event too many", stats: oneMore("rejected")},
	{name: "rejected-by-code", lie: "the same, by its code", load: "restart", stats: func(_ *liar, _ *http.Response, e *event) {
		e.values["rejected_by_code"] = jsontext.Value(`{"missing_field":1}`)
	}},
	{name: "rejected-forgotten", lie: "what was rejected is not in /stats after a restart", load: "restart", publish: each(spoil),
		stats: func(l *liar, _ *http.Response, e *event) {
			if l.life > 1 {
				e.values["rejected"] = jsontext.Value("0")
			}
		}},

	{name: "destroyed", lie: "the bytes of all events are zero after SIGTERM", ended: destroy, noResult: "what was left on the disk"},
	everywhere(mutant{name: "seq-shifted", lie: "every seq is higher by 1000 after a restart", load: "restart", noResult: "GET /events: 409"}, func(l *liar, e *event) bool {
		if l.life > 1 {
			e.setSeq(e.seq() + 1000)
		}
		return true
	}),
	everywhere(mutant{name: "seq-reused", lie: "seq is numbered anew after a restart, without gaps", load: "restart"}, renumber()),
	everywhere(mutant{name: "received-1970", lie: "received_at is 1970"}, func(_ *liar, e *event) bool {
		e.setText("received_at", "1970-01-01T00:00:00Z")
		return true
	}),
	{name: "reversed", lie: "the events of a request are stored in reverse order", publish: func(_ *liar, events []event) []event {
		slices.Reverse(events)
		return events
	}},

	{name: "ignores-topic", lie: "the id alone is the identity", load: "mixed", publish: ignoreTopic},
	everywhere(mutant{name: "conflict-stored", lie: "the same id with another payload is stored as new", load: "mixed", publish: storeConflicts},
		func(_ *liar, e *event) bool {
			e.setText("event_id", strings.TrimSuffix(e.text("event_id"), "~"))
			return true
		}),
	everywhere(mutant{name: "lower-case", lie: "ids come back in lower case", load: "mixed"}, func(_ *liar, e *event) bool {
		e.setText("event_id", strings.ToLower(e.text("event_id")))
		return true
	}),
	{name: "ids-folded", lie: "ids are the same whatever their case", load: "mixed", publish: each(func(e *event) {
		e.setText("event_id", strings.ToLower(e.text("event_id")))
	})},
	{name: "utc", lie: "times are stored in UTC", load: "mixed", publish: each(func(e *event) {
		if at, err := time.Parse(time.RFC3339Nano, e.text("timestamp")); err == nil {
			e.setText("timestamp", at.UTC().Format(time.RFC3339Nano))
		}
	})},
	{name: "compacted", lie: "white space in payloads is dropped", load: "mixed", publish: each(func(e *event) {
		if payload := e.values["payload"]; payload != nil && payload.Compact() == nil {
			e.values["payload"] = payload
		}
	})},

	{name: "page-gap", lie: "JSON pages leave an event out", page: gap},
	{name: "topic-gap", lie: "pages of a topic leave an event out", page: gap, asked: "topic"},
	{name: "interval-gap", lie: "pages of an interval leave an event out", page: gap, asked: "since"},
	{name: "until-ignored", lie: "pages of an interval know no end", ask: without("until")},
	{name: "since-ignored", lie: "pages of an interval know no beginning", ask: without("since")},
	{name: "stream-gap", lie: "the stream leaves an event out", stream: gap},
	{name: "topic-stream-gap", lie: "the stream of a topic leaves an event out", stream: gap, asked: "topic"},
	{name: "topic-stream-all", lie: "the stream of a topic is of all", ask: func(l *liar, r *http.Request, query url.Values) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			without("topic")(l, r, query)
		}
	}},
	{name: "backup-gap", lie: "the backup lacks the newest block of events", backup: func(db *sql.DB) error {
		_, err := db.Exec("DELETE FROM blocks WHERE first_seq = (SELECT max(first_seq) FROM blocks)")
		return err
	}},
	{name: "backup-changed", lie: "an event of the backup has another payload", load: "kill", backup: func(db *sql.DB) error {
		_, err := db.Exec("UPDATE events SET payload = '{}' WHERE seq = (SELECT min(seq) FROM events)")
		return err
	}},
	{name: "backup-damaged", lie: "a page of the backup is zero", backupBytes: func(copied []byte) []byte {
		clear(copied[len(copied)/2&^4095:][:4096])
		return copied
	}},
	{name: "export-gap", lie: "the export leaves an event out", export: gap},

	{name: "duplicates", lie: "answers count one duplicate too many", load: "store", acknowledge: func(l *liar, r *http.Response, e *event) {
		number("duplicates", 1)(l, r, e)
		number("stored", -1)(l, r, e)
	}},
	{name: "ack", lie: "answers say ack=store, and it is journal", acknowledge: func(_ *liar, _ *http.Response, e *event) { e.setText("ack", "store") }},
	{name: "status", lie: "200 where 202 is due", acknowledge: func(_ *liar, r *http.Response, _ *event) { r.StatusCode, r.Status = 200, "200 OK" }},

	{name: "refuses", lie: "429 for 1 % of requests", refuse: func(l *liar, w http.ResponseWriter, _ *http.Request) bool {
		if !l.one(100) {
			return false
		}
		l.tell()
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}},
	{name: "resets", lie: "a reset for 1 % of requests", refuse: func(l *liar, _ http.ResponseWriter, _ *http.Request) bool {
		if l.one(100) {
			l.tell()
			panic(http.ErrAbortHandler)
		}
		return false
	}},
	{name: "slow-connections", lie: "the first request of a connection takes 300 ms", refuse: func(l *liar, _ http.ResponseWriter, r *http.Request) bool {
		if l.first(r) {
			l.tell()
			time.Sleep(slow)
		}
		return false
	}},
	{name: "no-sync", lie: "nothing is synced to the disk", environ: []string{"SEKALI_NOSYNC=1"},
		uncaught: "only a power loss shows it: bench faults cuts the power"},
	{name: "no-sync-traced", lie: "the same, and strace looks on", load: "client", traced: true, environ: []string{"SEKALI_NOSYNC=1"}},
}

// spoil takes the topic out of an event in 100: of all that have its id.
func spoil(e *event) {
	h := fnv.New32a()
	h.Write(e.values["event_id"])
	if h.Sum32()%100 == 0 {
		e.setText("topic", "")
	}
}

func allCommitted(_ *liar, _ *http.Response, e *event) {
	depth, _ := strconv.ParseInt(string(e.values["queue_depth"]), 10, 64)
	if depth == 0 {
		return // it is true
	}
	number("unique_processed", depth)(nil, nil, e)
	e.values["queue_depth"], e.values["queue_bytes"], e.values["backlog_bytes"] = jsontext.Value("0"), jsontext.Value("0"), jsontext.Value("0")
}

func allCommittedSeq(l *liar, r *http.Response, e *event) {
	allCommitted(l, r, e)
	e.values["last_seq"] = e.values["received"]
}

func double(l *liar, r *http.Response, e *event) {
	n, _ := strconv.ParseInt(string(e.values["journal_syncs"]), 10, 64)
	number("journal_syncs", n)(l, r, e)
}

func halve(e *event, name string) {
	n, _ := strconv.ParseInt(string(e.values[name]), 10, 64)
	e.values[name] = strconv.AppendInt(nil, n/2, 10)
}

func each(change func(*event)) func(*liar, []event) []event {
	return func(_ *liar, events []event) []event {
		for i := range events {
			change(&events[i])
		}
		return events
	}
}

// renumber lowers the seq of every event that a later life shows by a seventh: each has another one
// than before, and some share one.
func renumber() func(*liar, *event) bool {
	return func(l *liar, e *event) bool {
		if l.life > 1 {
			e.setSeq(e.seq() - e.seq()/7)
		}
		return true
	}
}

// ignoreTopic makes an id that was seen with another topic a repeat of that event.
func ignoreTopic(l *liar, events []event) []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range events {
		id := e.text("event_id")
		if topic, seen := l.seen[id]; seen && topic != e.text("topic") {
			e.setText("topic", topic)
			events[i] = e
		} else {
			l.seen[id] = e.text("topic")
		}
	}
	return events
}

// storeConflicts gives an event that says something else than the first of its name another id,
// which the reading takes off again.
func storeConflicts(l *liar, events []event) []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, e := range events {
		key := e.text("topic") + "\x00" + e.text("event_id")
		payload := string(bytes.TrimSpace(e.values["payload"]))
		if first, seen := l.seen[key]; seen && first != payload {
			e.setText("event_id", e.text("event_id")+"~")
			events[i] = e
		} else {
			l.seen[key] = payload
		}
	}
	return events
}
