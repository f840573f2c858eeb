// Package store keeps the events in SQLite, each once.
//
// One connection writes; Apply puts a batch of events, the counters and the
// journal position into one transaction, so a batch is applied wholly or not at
// all. A pool of read-only connections serves the readers.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the readers' driver
	sqlite3 "modernc.org/sqlite/lib"

	"sekali/aggregator/crash"
)

//go:embed schema.sql
var schema string

const (
	// File is the database's name in the data folder.
	File = "events.db"
	// tableCacheKiB is the writer's page cache where dedup_store is a table: random ids touch a page
	// of it each, and what fits here is not read again. runsCacheKiB is that of a database that is
	// only appended to: with 64 MiB it was no faster (four pairs of the scenario throughput) and took
	// 75 MB more.
	tableCacheKiB = 64 << 10
	runsCacheKiB  = 16 << 10
	// PageBytes is SQLite's page: at 8 KiB an event cost 10 to 12 µs, at 4 KiB 11.5 to 15
	// (batches of 50 000; 0.6 M and 2 M events), at 16 KiB about the same.
	PageBytes = 8 << 10
	// busyTimeoutMS is how long a statement waits for a lock somebody else holds
	// (a shell's BEGIN IMMEDIATE) before the batch fails and is retried.
	busyTimeoutMS = 2000
	// readers bounds the connections that serve /events at one time.
	readers = 8
)

// Store is the open database. Apply, Reopen, WAL and Checkpoint have one caller, the
// writer; everything else may be called beside it.
type Store struct {
	path   string
	asked  Design       // "" is any; of a new database, the default
	newest int          // keys in memory, of the runs; 0 is their default, tests take less
	writer *conn        // owned by the writer, like dedup
	dedup  deduper      // nil while the writer is
	memory atomic.Int64 // what dedup takes
	layout layout
	Pool   *sql.DB
	Info   Info

	keeper           *conn        // see keep; owned by the writer
	checkpointFailed atomic.Bool  // the next must begin at the WAL's beginning
	shut             bool         // the writer holds reading
	reading          sync.RWMutex // held by those who use Pool
}

// Info is what the database says about itself, read back after opening.
type Info struct {
	Design
	SQLiteVersion string `json:"sqlite_version"`
	JournalMode   string `json:"journal_mode"`
	Synchronous   string `json:"synchronous"`
	PageSize      int64  `json:"page_size"`
}

// Open opens or creates the database in dir and returns its state. An existing one has to be of the
// design that is asked for; "" is any, and for a new one runs and blocks.
func Open(dir string, asked Design) (*Store, State, error) {
	return open(&Store{path: filepath.Join(dir, File), asked: asked})
}

func open(s *Store) (_ *Store, _ State, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: %s: %w", s.path, errors.Join(err, s.Close()))
		}
	}()
	if err := belongs(s.path); err != nil {
		return nil, State{}, err
	}
	if err := touch(s.path); err != nil {
		return nil, State{}, err
	}
	state, err := s.Reopen()
	if err != nil {
		return nil, State{}, err
	}
	if s.Pool, err = sql.Open("sqlite", dsn(s.path, "mode=ro", "_pragma=query_only(1)", "_pragma=temp_store(2)", fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeoutMS))); err != nil {
		return nil, State{}, err
	}
	s.Pool.SetMaxOpenConns(readers)
	s.Pool.SetMaxIdleConns(readers)
	return s, state, nil
}

// dsn is a file: URI; a plain path would drop mode=ro. A path given by a person may
// hold any character.
func dsn(path string, query ...string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(query, "&")
}

// Reopen closes the writing connection and opens a new one. The state it returns
// says which batches are in the database, durably; after a COMMIT that failed, it is the
// only thing that does. No CheckpointBeside may be under way.
func (s *Store) Reopen() (State, error) {
	if s.checkpointFailed.Load() {
		if err := s.forget(); err != nil {
			return State{}, err
		}
	}
	_ = s.closeWriter() // its error is the one that brought us here
	c, err := openConn(dsn(s.path, "mode=rw"))
	if err != nil {
		return State{}, err
	}
	state, err := s.openWriter(c)
	if err != nil {
		return State{}, errors.Join(err, c.close())
	}
	s.remember()
	return state, nil
}

// openWriter makes c the writer's connection.
func (s *Store) openWriter(c *conn) (State, error) {
	if c.readOnly() {
		return State{}, errReadOnly
	}
	if err := c.leaveWAL(true); err != nil { // until Close: a checkpoint at the end of a failed life would not be settled
		return State{}, err
	}
	info := Info{}
	if err := setPragmas(c, &info); err != nil {
		return State{}, err
	}
	if err := s.settle(c); err != nil {
		return State{}, err
	}
	state, err := prepare(c, s.asked, &info)
	if err != nil {
		return State{}, err
	}
	if s.layout == nil { // read by others later, like Info
		s.layout = newLayout(info.Layout)
	}
	var d deduper = &tableDedup{}
	if info.Dedup == DedupRuns {
		if d, err = openRuns(c, s.layout, filepath.Dir(s.path), state.LastSeq, s.newest); err != nil {
			return State{}, err
		}
	}
	if err := s.keep(); err != nil {
		return State{}, errors.Join(err, d.close())
	}
	s.writer, s.dedup = c, d
	s.memory.Store(d.memoryBytes())
	if s.Info == (Info{}) { // read by others later, so it is set before there are any
		s.Info = info
	}
	return state, nil
}

// closeWriter closes what Reopen opened.
func (s *Store) closeWriter() error {
	if s.writer == nil {
		return nil
	}
	err := errors.Join(s.dedup.close(), s.writer.close())
	s.writer, s.dedup = nil, nil
	return err
}

// setPragmas sets the pragmas and reads back what durability rests on.
func setPragmas(c *conn, info *Info) error {
	for _, pragma := range []string{
		fmt.Sprintf("busy_timeout=%d", busyTimeoutMS),
		fmt.Sprintf("page_size=%d", PageBytes), // takes effect in an empty database only
		"journal_mode=WAL",
		"synchronous=" + synchronousPragma(),
		"wal_autocheckpoint=0", // the writer checkpoints, after the answers went out
		"temp_store=MEMORY",
		"foreign_keys=OFF",
	} {
		if err := c.exec("PRAGMA " + pragma); err != nil {
			return fmt.Errorf("PRAGMA %s: %w", pragma, err)
		}
	}
	var synchronous int64
	for sql, to := range map[string]any{
		"PRAGMA journal_mode":     &info.JournalMode,
		"PRAGMA synchronous":      &synchronous,
		"PRAGMA page_size":        &info.PageSize,
		"SELECT sqlite_version()": &info.SQLiteVersion,
	} {
		if err := c.row(sql, to); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	if info.JournalMode != "wal" || synchronous != 2 && !crash.NoSync {
		return fmt.Errorf("journal_mode=%s synchronous=%d, want wal and 2 (FULL): commits would not be durable", info.JournalMode, synchronous)
	}
	info.Synchronous = "full"
	return nil
}

// prepare creates the schema in an empty database and takes an older one forward.
func prepare(c *conn, asked Design, info *Info) (State, error) {
	var version int64
	if err := c.row("PRAGMA user_version", &version); err != nil {
		return State{}, fmt.Errorf("PRAGMA user_version: %w", err)
	}
	switch {
	case version == 0:
		if err := c.transaction(func() error {
			return c.exec(schemaOf(asked) + userVersion)
		}); err != nil {
			return State{}, fmt.Errorf("create the schema: %w", err)
		}
	case version > 0 && version <= schemaVersion:
		if err := migrate(c, version); err != nil {
			return State{}, fmt.Errorf("take the schema from version %d to %d: %w", version, schemaVersion, err)
		}
	default:
		return State{}, fmt.Errorf("schema version %d, this program knows %d", version, schemaVersion)
	}
	if err := readDesign(c, &info.Design); err != nil {
		return State{}, fmt.Errorf("read the schema: %w", err)
	}
	if err := checkColumns(c, info.Design); err != nil {
		return State{}, err
	}
	cacheKiB := tableCacheKiB
	if info.Dedup == DedupRuns {
		cacheKiB = runsCacheKiB
	}
	if err := c.exec(fmt.Sprintf("PRAGMA cache_size=-%d", cacheKiB)); err != nil {
		return State{}, fmt.Errorf("PRAGMA cache_size: %w", err)
	}
	if asked.Dedup != "" && asked.Dedup != info.Dedup {
		return State{}, fmt.Errorf("%w: it was made with -dedup %s, which cannot be changed", ErrDesign, info.Dedup)
	}
	if asked.Layout != "" && asked.Layout != info.Layout {
		return State{}, fmt.Errorf("%w: it was made with -layout %s, which cannot be changed", ErrDesign, info.Layout)
	}
	return readState(c)
}

var userVersion = fmt.Sprintf("\nPRAGMA user_version=%d;", schemaVersion)

// migrate takes the schema from an older version to this one.
func migrate(c *conn, version int64) error {
	if version == schemaVersion {
		return nil
	}
	return c.transaction(func() error {
		sql := ""
		if version < 2 { // without dead letters
			sql += "ALTER TABLE state ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;" + deadLettersSchema
		}
		var d Design
		if err := readDesign(c, &d); err != nil {
			return err
		}
		// Without expiry and conflicts: events and dedup_store showed what there was.
		if d.Layout == LayoutBlocks {
			sql += "DROP VIEW events;"
		}
		if d.Dedup == DedupRuns {
			sql += "DROP VIEW dedup_store;"
		} else {
			sql += "ALTER TABLE dedup_store ADD COLUMN content INTEGER;"
		}
		err := c.exec(sql + `ALTER TABLE state ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE state ADD COLUMN expired_seq INTEGER NOT NULL DEFAULT 0;
			ALTER TABLE state ADD COLUMN conflicts INTEGER NOT NULL DEFAULT 0;` + views(d) + userVersion)
		crash.Here(crash.StoreMigrating)
		return err
	})
}

// views are what a person reads in the sqlite3 shell where the tables have another shape.
func views(d Design) string {
	sql := blocksViews
	if d.Layout == LayoutRows {
		sql = rowsViews
	}
	if d.Dedup != DedupTable {
		sql += runsViews
	}
	return sql
}

func synchronousPragma() string {
	if crash.NoSync {
		return "OFF"
	}
	return "FULL"
}

// readDesign finds out how the database was made.
func readDesign(c *conn, d *Design) error {
	*d = Design{DedupTable, LayoutRows}
	return c.rows("SELECT name FROM sqlite_schema WHERE type = 'table'", func(s *statement) error {
		switch s.columnText(0) {
		case "dedup_runs":
			d.Dedup = DedupRuns
		case "blocks":
			d.Layout = LayoutBlocks
		}
		return nil
	})
}

// WAL is the state of the write-ahead log, in pages.
type WAL struct {
	Pages        int64 // in the log
	Checkpointed int64 // of them, those the database has too
}

// WAL returns the state of the write-ahead log.
func (s *Store) WAL() (WAL, error) { return s.writer.checkpoint("NOOP") }

// Checkpoint writes the WAL into the database as far as no reader holds it back.
// When all of it is there, the next commit begins the WAL anew.
func (s *Store) Checkpoint() (WAL, error) {
	wal, err := s.writer.checkpoint("PASSIVE")
	return wal, s.noteCheckpoint(err)
}

// TruncateWAL is Checkpoint, and takes the WAL's file from the disk, unless somebody reads from it
// just now.
func (s *Store) TruncateWAL() (WAL, error) {
	// Nobody is waited for: the writer has others to serve.
	if err := s.writer.exec("PRAGMA busy_timeout=0"); err != nil {
		return WAL{}, fmt.Errorf("store: checkpoint: %w", err)
	}
	wal, err := s.writer.checkpoint("TRUNCATE")
	if again := s.writer.exec(fmt.Sprintf("PRAGMA busy_timeout=%d", busyTimeoutMS)); again != nil {
		err = errors.Join(err, fmt.Errorf("store: checkpoint: %w", again))
	}
	return wal, s.noteCheckpoint(err)
}

// CheckpointBeside checkpoints what is committed when it begins, on a connection of its own, and
// may be called beside the writer.
func (s *Store) CheckpointBeside() (err error) {
	c, err := openConn(dsn(s.path, "mode=rw"))
	if err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	defer func() { err = s.noteCheckpoint(errors.Join(err, c.close())) }()
	if err := c.exec("PRAGMA synchronous=" + synchronousPragma()); err != nil {
		return fmt.Errorf("store: checkpoint: %w", err)
	}
	_, err = c.checkpoint("PASSIVE")
	return err
}

func (c *conn) checkpoint(mode string) (WAL, error) {
	var busy int64
	var w WAL
	if err := c.row("PRAGMA wal_checkpoint("+mode+")", &busy, &w.Pages, &w.Checkpointed); err != nil {
		return WAL{}, fmt.Errorf("store: checkpoint: %w", err)
	}
	return w, nil
}

// Sizes returns the bytes of the database file and of its WAL.
func (s *Store) Sizes() (database, wal int64) {
	if info, err := os.Stat(s.path); err == nil {
		database = info.Size()
	}
	if info, err := os.Stat(s.path + "-wal"); err == nil {
		wal = info.Size()
	}
	return database, wal
}

// Topic is one line of /stats.
type Topic struct {
	Name   string `json:"name"`
	Events int64  `json:"events"`
}

// Topics returns up to limit topics by name.
func (s *Store) Topics(ctx context.Context, limit int) ([]Topic, error) {
	topics := []Topic{}
	err := s.read(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, "SELECT name, events FROM topics ORDER BY name LIMIT ?", limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t Topic
			if err := rows.Scan(&t.Name, &t.Events); err != nil {
				return err
			}
			topics = append(topics, t)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("store: topics: %w", err)
	}
	return topics, nil
}

// DedupBytes is what deduplication takes of the memory in the long run.
func (s *Store) DedupBytes() int64 { return s.memory.Load() }

// Abandon makes Close leave the WAL as it is, and its file: the folder is no longer the store's.
func (s *Store) Abandon() { s.checkpointFailed.Store(true) }

// Close closes all connections; the last one checkpoints the WAL, unless a checkpoint has failed.
func (s *Store) Close() error {
	var errs []error
	if s.Pool != nil {
		errs = append(errs, s.Pool.Close())
	}
	if s.keeper != nil {
		errs = append(errs, s.keeper.close())
		s.keeper = nil
	}
	if s.writer != nil && !s.checkpointFailed.Load() {
		errs = append(errs, s.writer.leaveWAL(false))
	}
	return errors.Join(append(errs, s.closeWriter())...)
}

// ErrLocked means that another process holds the database's write lock. Nothing was begun: the same
// may be tried again as it is.
var ErrLocked = errors.New("another process holds the database's write lock")

// IsFull reports an error that means no room on the disk.
func IsFull(err error) bool {
	var e *sqliteError
	return errors.As(err, &e) && e.code&0xff == sqlite3.SQLITE_FULL
}
