// Package store keeps the events in SQLite, each once.
//
// One connection writes; Apply puts a batch of events, the counters and the
// journal position into one transaction, so a batch is applied wholly or not at
// all. A pool of read-only connections serves the readers.
package store

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"sync"
	"sync/atomic"

	"sekali/internal/sqlite"
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

// Store is the open database. NewBatch, Apply, Change, Expire, Reopen, WAL, Checkpoint and
// TruncateWAL have one caller, the writer; Close comes after it. Everything else may be called
// beside it.
type Store struct {
	// Set by Open, and only read.
	path         string
	asked        Design // "" is any; of a new database, the default
	memtableKeys int    // of the runs; 0 is their default, tests take less
	countsFrom   int    // 0: countsFrom, tests take less
	layout       layout
	Pool         *Pool
	Info         Info

	// Owned by the writer.
	writer   *sqlite.Conn
	dedup    deduper      // nil while the writer's connection is
	keeper   *sqlite.Conn // see keep
	shut     bool         // the writer holds reading
	progress Progress     // of Open; nil: nobody wants to hear it, or it has opened

	marks            marks
	memory           atomic.Int64                       // what dedup takes
	checkpointFailed atomic.Bool                        // the next must begin at the WAL's beginning
	turns            chan struct{}                      // has one of each who uses Pool, readers at most
	reading          sync.RWMutex                       // held by those who use Pool, or copy
	copying          atomic.Pointer[context.CancelFunc] // ends a Copy; nil: none is under way
}

// Info is what the database says about itself, read back after opening.
type Info struct {
	Design
	SQLiteVersion string `json:"sqlite_version"`
	JournalMode   string `json:"journal_mode"`
	Synchronous   string `json:"synchronous"`
	PageSize      int64  `json:"page_size"`
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
		errs = append(errs, s.keeper.Close())
		s.keeper = nil
	}
	if s.writer != nil && !s.checkpointFailed.Load() {
		errs = append(errs, s.writer.LeaveWAL(false))
	}
	return errors.Join(append(errs, s.closeWriter())...)
}

// ErrLocked means that another process holds the write lock; see sqlite.
var ErrLocked = sqlite.ErrLocked

// IsFull reports an error that means no room on the disk.
func IsFull(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Full()
}
