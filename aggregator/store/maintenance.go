package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sekali/aggregator/disk"
)

// ErrReadOnlyWAL means a folder that cannot be written, whose WAL holds commits: SQLite reads a WAL
// only where it may write beside it.
var ErrReadOnlyWAL = errors.New("holds commits, and its folder cannot be written: copy the folder to where it can be, and use the copy")

// Stopped reports whether the database in dir has to be opened as a file that nobody writes: its
// folder cannot be written, and no aggregator has left anything beside it. The caller has to see to
// it that none starts meanwhile.
func Stopped(dir string) (bool, error) {
	if unix.Access(dir, unix.W_OK) == nil {
		return false, nil
	}
	wal, empty := filepath.Join(dir, File+"-wal"), false
	switch info, err := os.Stat(wal); {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	default:
		empty = info.Size() == 0 // as beside an aggregator that has copied all of it
	}
	switch _, err := os.Stat(filepath.Join(dir, File+"-shm")); {
	case errors.Is(err, fs.ErrNotExist) && !empty:
		return false, fmt.Errorf("%s %w", wal, ErrReadOnlyWAL)
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	default: // SQLite reads a WAL by it
		return false, err
	}
}

// readOnly is the URI of the database in dir for those who change nothing; an aggregator may be
// running on it.
func readOnly(dir string, query ...string) (string, error) {
	path := filepath.Join(dir, File)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	if err := belongs(path); err != nil {
		return "", err
	}
	stopped, err := Stopped(dir)
	if err != nil {
		return "", err
	}
	query = append(query, "mode=ro")
	if stopped { // SQLite makes no files beside it then, and takes no locks
		query = append(query, "immutable=1")
	}
	return dsn(path, query...), nil
}

// openReadOnly opens the database in dir as it is. What does not fit where it is sorted stays in
// memory: an image has no /tmp.
func openReadOnly(dir string) (*sql.DB, error) {
	uri, err := readOnly(dir, "_pragma=temp_store(2)", fmt.Sprintf("_pragma=busy_timeout(%d)", busyTimeoutMS))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db, err := sql.Open("sqlite", uri)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// openConnReadOnly is openReadOnly on SQLite's own interface.
func openConnReadOnly(dir string) (*conn, error) {
	uri, err := readOnly(dir)
	if err != nil {
		return nil, err
	}
	c, err := openConn(uri)
	if err != nil {
		return nil, err
	}
	if err := c.exec("PRAGMA temp_store=MEMORY"); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// Backup writes a copy of what is committed in dir's database to the new file to, also
// while an aggregator runs there. What only its journal holds is not in the copy. While it
// runs, the WAL cannot be given back.
func Backup(ctx context.Context, dir, to string) (err error) {
	db, err := openReadOnly(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) // VACUUM INTO takes an empty file
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return errors.Join(fmt.Errorf("store: backup: %w", err), os.Remove(to))
	}
	if err := makeDurable(to); err != nil {
		return errors.Join(fmt.Errorf("store: backup: %w", err), os.Remove(to))
	}
	return nil
}

// makeDurable makes a file and its name durable: a copy counts once it would survive a power loss.
func makeDurable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), disk.SyncDir(filepath.Dir(path)))
}

// check is a query that counts what must not be.
type check struct{ what, query string }

// checks are what must hold in every database.
var checks = []check{
	{"events that unique_processed does not count", "SELECT abs((SELECT count(*) FROM identities) - (SELECT unique_processed FROM state))"},
	{"events that expired does not count", "SELECT abs((SELECT count(*) FROM identities) - (SELECT count(*) FROM events) - (SELECT expired FROM state))"},
	{"events that topics does not count", "SELECT abs((SELECT count(*) FROM events) - (SELECT coalesce(sum(events), 0) FROM topics))"},
	{"numbers used that are neither stored nor a duplicate's nor a dead letter's", "SELECT abs(last_seq - unique_processed - duplicate_dropped - failed) FROM state"},
	{"dead letters that failed does not count", "SELECT abs((SELECT coalesce(sum(attempts), 0) FROM dead_letters) - (SELECT failed FROM state))"},
	{"conflicts beyond the duplicates", "SELECT max(0, conflicts - duplicate_dropped) FROM state"},
	{"events beyond last_seq", "SELECT count(*) FROM events WHERE seq > (SELECT last_seq FROM state)"},
}

// tableChecks are what must hold of dedup_store where it is a table.
var tableChecks = []check{
	{"events that dedup_store does not know by their seq", `SELECT count(*) FROM identities e LEFT JOIN dedup_store d
		ON d.topic = e.topic AND d.event_id = e.event_id WHERE d.seq IS NOT e.seq`},
	{"entries of dedup_store beyond the events", "SELECT abs((SELECT count(*) FROM dedup_store) - (SELECT count(*) FROM identities))"},
}

// Check examines the database in dir and returns its state and every fault it finds.
func Check(ctx context.Context, dir string) (state State, faults []string, err error) {
	db, err := openReadOnly(dir)
	if err != nil {
		return State{}, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if faults, err = integrity(ctx, db); err != nil {
		return State{}, nil, fmt.Errorf("store: check: %w", err)
	}
	design, err := designOf(dir)
	if err != nil {
		return State{}, nil, fmt.Errorf("store: check: %w", err)
	}
	events := newLayout(design.Layout)
	all := slices.Concat(checks, events.checks())
	if design.Dedup == DedupTable {
		all = append(all, tableChecks...)
	}
	for _, c := range all {
		var n int64
		if err := db.QueryRowContext(ctx, c.query).Scan(&n); err != nil {
			return State{}, nil, fmt.Errorf("store: check: %s: %w", c.what, err)
		}
		if n != 0 {
			faults = append(faults, fmt.Sprintf("%d %s", n, c.what))
		}
	}
	if err := db.QueryRowContext(ctx, selectState).Scan(state.fields()...); err != nil {
		return State{}, nil, fmt.Errorf("store: check: state: %w", err)
	}
	if fault := AheadOf(state.LastReceivedAt, time.Now()); fault != "" {
		faults = append(faults, fault)
	}
	for _, read := range []func() (string, error){
		func() (string, error) { return checkTimes(ctx, db, events) },
		func() (string, error) { return checkIdentities(dir, events, state.UniqueProcessed) },
	} {
		fault, err := read()
		if errors.Is(err, ErrDamaged) {
			fault, err = err.Error(), nil
		}
		if err != nil {
			return State{}, nil, fmt.Errorf("store: check: %w", err)
		}
		if fault != "" && !slices.Contains(faults, fault) {
			faults = append(faults, fault)
		}
	}
	if design.Dedup == DedupRuns {
		more, err := checkRuns(events, dir, state.LastSeq)
		if err != nil {
			return State{}, nil, fmt.Errorf("store: check: %w", err)
		}
		faults = append(faults, more...)
	}
	return state, faults, nil
}

// integrity is what SQLite itself finds wrong.
func integrity(ctx context.Context, db *sql.DB) (faults []string, err error) {
	rows, err := db.QueryContext(ctx, "PRAGMA integrity_check")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		if line != "ok" {
			faults = append(faults, "integrity_check: "+line)
		}
	}
	return faults, errors.Join(rows.Err(), rows.Close())
}

// designOf reads how the database in dir was made.
func designOf(dir string) (d Design, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return d, err
	}
	return d, errors.Join(readDesign(c, &d), c.close())
}
