package store

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the readers' driver

	"sekali/aggregator/crash"
	"sekali/internal/sqlite"
)

var errReadOnly = errors.New("the file is read-only")

// Open opens or creates the database in dir and returns its state. An existing one has to be of the
// design that is asked for; "" is any, and for a new one runs and blocks.
func Open(dir string, asked Design) (*Store, State, error) {
	return OpenAndTell(dir, asked, nil)
}

// Progress is told now and then up to which seq the keys of the events are read, and which is the
// last. Its error ends the opening, which leaves what one leaves that fails.
type Progress func(seq, last int64) error

// OpenAndTell is Open for who wants to hear how far it is: where runs are missing, as after a
// restore, it reads all events. tell is nil, or called until it returns.
func OpenAndTell(dir string, asked Design, tell Progress) (*Store, State, error) {
	return open(&Store{path: filepath.Join(dir, File), asked: asked, progress: tell})
}

func open(s *Store) (_ *Store, _ State, err error) {
	wal, err := recognised(s.path)
	if err == nil {
		err = whole(s.path, wal)
	}
	if err == nil {
		err = forgetUnwritten(s.path, wal)
	}
	if err != nil {
		return nil, State{}, fmt.Errorf("store: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: %w", explained(s.path, errors.Join(err, s.Close())))
		}
	}()
	if err := touch(s.path); err != nil {
		return nil, State{}, err
	}
	state, err := s.Reopen()
	if err != nil {
		return nil, State{}, err
	}
	db, err := sql.Open("sqlite", dsn(s.path, "mode=ro", "_pragma=query_only(1)", "_pragma=temp_store(2)", fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeoutMS)))
	if err != nil {
		return nil, State{}, err
	}
	s.Pool, s.turns = &Pool{DB: db, prepared: map[string]*sql.Stmt{}}, make(chan struct{}, readers)
	s.Pool.SetMaxOpenConns(readers)
	s.Pool.SetMaxIdleConns(readers)
	s.progress = nil
	return s, state, nil
}

// dsn is a file: URI; a plain path would drop mode=ro. A path given by a person may
// hold any character.
func dsn(path string, query ...string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + strings.Join(query, "&")
}

// openConn opens a connection that writes.
func (s *Store) openConn() (*sqlite.Conn, error) {
	query := []string{"mode=rw"}
	if crash.Fsync {
		query = append(query, "vfs=unix")
	}
	return sqlite.Open(dsn(s.path, query...))
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
	c, err := s.openConn()
	if err != nil {
		return State{}, err
	}
	state, err := s.openWriter(c)
	if err != nil {
		return State{}, errors.Join(err, c.Close())
	}
	s.remember()
	return state, nil
}

// openWriter makes c the writer's connection.
func (s *Store) openWriter(c *sqlite.Conn) (State, error) {
	if c.ReadOnly() {
		return State{}, errReadOnly
	}
	if err := c.LeaveWAL(true); err != nil { // until Close: a checkpoint at the end of a failed life would not be settled
		return State{}, err
	}
	if err := notForeign(c); err != nil {
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
		if d, err = s.openRuns(c, state.LastSeq); err != nil {
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
	err := errors.Join(s.dedup.close(), s.writer.Close())
	s.writer, s.dedup = nil, nil
	return err
}

// setPragmas sets the pragmas and reads back what durability rests on.
func setPragmas(c *sqlite.Conn, info *Info) error {
	for _, pragma := range []string{
		fmt.Sprintf("busy_timeout=%d", busyTimeoutMS),
		fmt.Sprintf("page_size=%d", PageBytes), // takes effect in an empty database only
		"journal_mode=WAL",
		"synchronous=" + synchronousPragma(),
		"wal_autocheckpoint=0", // the writer checkpoints, after the answers went out
		"temp_store=MEMORY",
		"foreign_keys=OFF",
	} {
		if err := c.Exec("PRAGMA " + pragma); err != nil {
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
		if err := c.Row(sql, to); err != nil {
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
func prepare(c *sqlite.Conn, asked Design, info *Info) (State, error) {
	var version int64
	if err := c.Row("PRAGMA user_version", &version); err != nil {
		return State{}, fmt.Errorf("PRAGMA user_version: %w", err)
	}
	switch {
	case version == 0:
		if err := c.Transaction(func() error {
			return c.Exec(schemaOf(asked) + userVersion)
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
	if err := c.Exec(fmt.Sprintf("PRAGMA cache_size=-%d", cacheKiB)); err != nil {
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

func synchronousPragma() string {
	if crash.NoSync {
		return "OFF"
	}
	return "FULL"
}

// readDesign finds out how the database was made.
func readDesign(c *sqlite.Conn, d *Design) error {
	*d = Design{DedupTable, LayoutRows}
	return c.Rows("SELECT name FROM sqlite_schema WHERE type = 'table'", func(s *sqlite.Statement) error {
		switch s.ColumnText(0) {
		case "dedup_runs":
			d.Dedup = DedupRuns
		case "blocks":
			d.Layout = LayoutBlocks
		}
		return nil
	})
}
