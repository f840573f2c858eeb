package store

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sekali/aggregator/dedup"
	"sekali/aggregator/event"
	"sekali/internal/sqlite"
)

// Dedup is how duplicates are recognised; a database keeps the way it was made with.
type Dedup string

// The ways: INSERT OR IGNORE into a table, and sorted runs of keys beside the database.
const (
	DedupTable Dedup = "table"
	DedupRuns  Dedup = "runs"
)

// ParseDedup returns the way of this name.
func ParseDedup(name string) (Dedup, error) {
	switch d := Dedup(name); d {
	case DedupTable, DedupRuns:
		return d, nil
	}
	return "", fmt.Errorf("%q, want table or runs", name)
}

// deduper decides which events of a batch are new. It belongs to the writer.
type deduper interface {
	// newKeys returns what fillKeys fills for decide; nil: nothing can be prepared.
	newKeys() *dedup.Batch
	// decide is called inside the transaction. It returns the seqs under which the rows' events are
	// stored, by row: a row's own, firstSeq and its place, if it is new, and of a duplicate the stored
	// one's, or 0; the rows that are conflicts; and those that SQLite refused. All are valid until the
	// next call.
	decide(c *sqlite.Conn, b *bound, firstSeq int64) (seqs []int64, conflicts []int, refused []refusal, err error)
	// committed is called once the transaction is durable: which rows are stored, and the highest seq
	// used. It returns how long what runs beside the writer has held it up.
	committed(stored []bool, last int64) (held time.Duration)
	// forget is called inside the transaction for a row that was refused.
	forget(c *sqlite.Conn, r *Row) error
	// memoryBytes is what it takes of the memory in the long run.
	memoryBytes() int64
	close() error
}

// waySchema is the part of the schema that the ways differ in.
func waySchema(d Dedup) string {
	if d == DedupTable {
		return tableSchema
	}
	return runsSchema
}

// dedupDir is the folder of the runs, in the data folder.
const dedupDir = "dedup"

//go:embed dedup_runs.sql
var runsSchema string

const runsViews = "CREATE VIEW dedup_store AS SELECT topic, event_id, seq FROM identities;"

// runsDedup decides with an index of runs; the list of runs is in the transaction.
type runsDedup struct {
	index   *dedup.Index
	keys    *dedup.Batch   // of batches that nobody prepared
	changes []dedup.Change // that the transaction recorded
}

// runsConfig reads what the index of the database that c is connected to is opened with. The events
// end at last.
func runsConfig(c *sqlite.Conn, l layout, dir string, last int64) (config dedup.Config, err error) {
	var secret string
	if err := c.Row("SELECT secret FROM dedup_secret", &secret); err != nil {
		return config, fmt.Errorf("dedup_secret: %w", err)
	}
	if config.Secret, err = hex.DecodeString(secret); err != nil {
		return config, fmt.Errorf("dedup_secret: %w", err)
	}
	config.Dir, config.Last = filepath.Join(dir, dedupDir), last
	err = c.Rows("SELECT file, first_seq, last_seq, keys FROM dedup_runs ORDER BY first_seq", func(s *sqlite.Statement) error {
		config.Runs = append(config.Runs, dedup.Run{File: s.ColumnText(0), First: s.ColumnInt(1), Last: s.ColumnInt(2), Keys: s.ColumnInt(3)})
		return nil
	})
	if err != nil {
		return config, fmt.Errorf("dedup_runs: %w", err)
	}
	config.Events = func(from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error {
		return l.identities(c, from, to, each)
	}
	return config, nil
}

// progressEvery is how many events are read until it is told how far it is: some thousand times a
// second.
const progressEvery = 1 << 10

// openRuns opens the index of the database that c is connected to, whose events end at last.
func (s *Store) openRuns(c *sqlite.Conn, last int64) (*runsDedup, error) {
	config, err := runsConfig(c, s.layout, filepath.Dir(s.path), last)
	if err != nil {
		return nil, err
	}
	config.MemtableKeys = s.memtableKeys
	if events, read := config.Events, 0; s.progress != nil {
		config.Events = func(from, to int64, each func(seq int64, topic, id string, content dedup.Content) error) error {
			return events(from, to, func(seq int64, topic, id string, content dedup.Content) error {
				if read++; read%progressEvery == 0 {
					if err := s.progress(seq, last); err != nil {
						return err
					}
				}
				return each(seq, topic, id, content)
			})
		}
	}
	index, err := dedup.Open(config)
	if err != nil {
		return nil, err
	}
	return &runsDedup{index: index, keys: index.NewBatch()}, nil
}

func (d *runsDedup) newKeys() *dedup.Batch { return d.index.NewBatch() }

// fillKeys makes the keys of the rows.
func fillKeys(keys *dedup.Batch, rows []Row) {
	keys.Reset()
	for i := range rows {
		keys.Add(rows[i].Topic, rows[i].ID, contentOf(&rows[i].Event))
	}
	keys.Sort()
}

// checkRuns compares the runs of the database in dir with its events.
func checkRuns(l layout, dir string, last int64) (faults []string, err error) {
	c, err := openConnReadOnly(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	config, err := runsConfig(c, l, dir, last)
	if err != nil {
		return nil, err
	}
	return dedup.Check(config)
}

func (d *runsDedup) decide(c *sqlite.Conn, b *bound, firstSeq int64) ([]int64, []int, []refusal, error) {
	d.changes = d.index.Changes()
	for _, change := range d.changes {
		if err := record(c, change); err != nil {
			return nil, nil, nil, fmt.Errorf("dedup_runs: %w", err)
		}
	}
	keys := b.keys
	if keys == nil {
		keys = d.keys
		fillKeys(keys, b.rows)
	}
	if keys.Len() != len(b.rows) {
		return nil, nil, nil, fmt.Errorf("a batch of %d rows was prepared with %d", len(b.rows), keys.Len())
	}
	seqs, err := d.index.Decide(keys, firstSeq)
	if err != nil {
		return nil, nil, nil, err
	}
	return seqs, d.index.Conflicts(), nil, nil
}

// contentOf is an event's content. Every event has a timestamp: one without has expired.
func contentOf(e *event.Event) dedup.Content {
	if e.Timestamp == "" {
		return 0
	}
	return dedup.ContentOf(e.Timestamp, e.Source, e.Payload)
}

// record writes a change of the list of runs.
func record(c *sqlite.Conn, change dedup.Change) error {
	remove, err := c.Prepare("DELETE FROM dedup_runs WHERE file = ?")
	if err != nil {
		return err
	}
	insert, err := c.Prepare("INSERT INTO dedup_runs (file, first_seq, last_seq, keys) VALUES (?, ?, ?, ?)")
	if err != nil {
		return err
	}
	run := func(s *sqlite.Statement, file string, more ...int64) error {
		text, free, err := c.Text(file)
		if err != nil {
			return err
		}
		defer free()
		err = s.BindText(1, text)
		for i, n := range more {
			err = errors.Join(err, s.BindInt(int32(i+2), n))
		}
		if err == nil {
			_, err = s.Run()
		}
		return err
	}
	for _, r := range change.Remove {
		if err := run(remove, r.File); err != nil {
			return err
		}
	}
	for _, r := range change.Add {
		if err := run(insert, r.File, r.First, r.Last, r.Keys); err != nil {
			return err
		}
	}
	return nil
}

func (d *runsDedup) committed(stored []bool, last int64) time.Duration {
	held := d.index.Committed(stored, last, d.changes)
	d.changes = nil
	return held
}

// forget: committed is told what is stored.
func (d *runsDedup) forget(*sqlite.Conn, *Row) error { return nil }

func (d *runsDedup) memoryBytes() int64 { return d.index.MemoryBytes() }

func (d *runsDedup) close() error { return d.index.Close() }
