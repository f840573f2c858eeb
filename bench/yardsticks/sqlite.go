package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"sekali/bench/record"
	"sekali/internal/sqlite"
	"sekali/loadgen/stream"
)

// sqliteTransaction is how many events the designs on SQLite take into one transaction.
const sqliteTransaction = 50_000

// sqlitePragmas are what both designs run with: durable at COMMIT, the WAL copied back every 256
// MB.
var sqlitePragmas = []string{"page_size=16384", "journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=16384", "cache_size=-262144",
	"temp_store=MEMORY", "locking_mode=EXCLUSIVE"}

// sqliteEvents is the table of both designs, without an index; a row has the received_at that
// Sekali stores, too.
const sqliteEvents = `CREATE TABLE events (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, event_id TEXT NOT NULL, timestamp TEXT NOT NULL,
	source TEXT NOT NULL, payload TEXT, received_at TEXT NOT NULL) STRICT`

const insertEvent = "INSERT INTO events (topic, event_id, timestamp, source, payload, received_at) VALUES (?, ?, ?, ?, ?, ?)"

// receivedAt stands for a clock that costs nothing.
const receivedAt = "2026-01-01T00:00:00.000000000Z"

func sqliteAppendYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: record.AppendAlone, Name: "SQLite, append alone", Durable: "SIGKILL, power loss", Dedup: "none: repeats are stored",
			Includes: inProcess, Settings: sqliteSettings()},
		connections: 1, appendOnly: true, version: sqliteVersion,
		make: func() system { return &sqliteStore{} },
	}
}

func sqliteDedupYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "sqlite-btree", Name: "SQLite with a B-tree of keys", Durable: "SIGKILL, power loss", Dedup: "exact, for ever",
			Includes: inProcess, Settings: append(sqliteSettings(), "INSERT OR IGNORE of the keys in their order")},
		connections: 1, version: sqliteVersion,
		make: func() system { return &sqliteStore{dedup: true} },
	}
}

func sqliteSettings() []string {
	return append([]string{fmt.Sprintf("%d events a transaction", sqliteTransaction), "prepared statements on SQLite's own interface"}, sqlitePragmas...)
}

func sqliteVersion(context.Context) (string, error) {
	return "SQLite " + sqlite.Version + " (modernc.org/sqlite)", nil
}

// openSQLite makes a database, on SQLite's own interface. Through database/sql a row costs 2
// to 3 µs
// more, which would flatter what is compared with it.
func openSQLite(path string, pragmas ...string) (*sqlite.Conn, error) {
	if err := os.WriteFile(path, nil, 0o600); err != nil { // sqlite.Open makes none
		return nil, err
	}
	c, err := sqlite.Open("file:" + (&url.URL{Path: path}).EscapedPath() + "?mode=rw")
	if err != nil {
		return nil, err
	}
	for _, pragma := range pragmas {
		if err := c.Exec("PRAGMA " + pragma); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

// sqliteStore gathers requests into large transactions and appends the events as rows; with dedup,
// those whose key is new to a table of keys.
type sqliteStore struct {
	dedup               bool
	conn                *sqlite.Conn
	insert, insertDedup *sqlite.Statement
	waiting             []stream.Event
	order               []int32
	isNew               []bool
}

func (s *sqliteStore) start(_ context.Context, dir string) (err error) {
	if s.conn, err = openSQLite(filepath.Join(dir, "events.db"), sqlitePragmas...); err != nil {
		return err
	}
	if err := s.conn.Exec(sqliteEvents); err != nil {
		return err
	}
	if s.insert, err = s.conn.Prepare(insertEvent); err != nil || !s.dedup {
		return err
	}
	if err := s.conn.Exec("CREATE TABLE dedup_store (topic TEXT NOT NULL, event_id TEXT NOT NULL, PRIMARY KEY (topic, event_id)) STRICT, WITHOUT ROWID"); err != nil {
		return err
	}
	s.insertDedup, err = s.conn.Prepare("INSERT OR IGNORE INTO dedup_store (topic, event_id) VALUES (?, ?)")
	return err
}

func (s *sqliteStore) encode(events []stream.Event) any { return events }

func (s *sqliteStore) append(_ context.Context, _ int, request any) error {
	s.waiting = append(s.waiting, request.([]stream.Event)...)
	if len(s.waiting) < sqliteTransaction {
		return nil
	}
	return s.commit()
}

func (s *sqliteStore) settle(context.Context) error { return s.commit() }

// commit stores what waits in one transaction.
func (s *sqliteStore) commit() error {
	if err := s.conn.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if s.dedup {
		if err := s.decide(); err != nil {
			return err
		}
	}
	for i := range s.waiting {
		if s.dedup && !s.isNew[i] {
			continue
		}
		e := &s.waiting[i]
		if _, err := s.insert.RunTexts(e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload, receivedAt); err != nil {
			return err
		}
	}
	s.waiting = s.waiting[:0]
	return s.conn.Exec("COMMIT")
}

// decide inserts the keys in their order, so that neighbours on a page of the index are written
// together. Of two equal ones the earlier event is new: the order is stable.
func (s *sqliteStore) decide() error {
	s.order, s.isNew = s.order[:0], append(s.isNew[:0], make([]bool, len(s.waiting))...)
	for i := range s.waiting {
		s.order = append(s.order, int32(i))
	}
	slices.SortFunc(s.order, func(x, y int32) int {
		a, b := &s.waiting[x], &s.waiting[y]
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.EventID, b.EventID), cmp.Compare(x, y))
	})
	for _, i := range s.order {
		inserted, err := s.insertDedup.RunTexts(s.waiting[i].Topic, s.waiting[i].EventID)
		if err != nil {
			return err
		}
		s.isNew[i] = inserted > 0
	}
	return nil
}

func (s *sqliteStore) stored(context.Context) (events int, err error) {
	if err := s.conn.Row("SELECT count(*) FROM events", &events); err != nil || !s.dedup {
		return events, err
	}
	var keys int
	err = s.conn.Row("SELECT count(*) FROM dedup_store", &keys)
	if err == nil && keys != events {
		err = errors.New(fmt.Sprint(keys, " keys, ", events, " events"))
	}
	return events, err
}

func (s *sqliteStore) stop() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

func (s *sqliteStore) process() *server { return nil }
