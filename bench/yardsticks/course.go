package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"

	_ "modernc.org/sqlite"

	"sekali/bench/record"
	"sekali/loadgen/stream"
)

// courseYardstick is the course report's design in Go: for each event, look whether it is there,
// insert it, commit.
func courseYardstick() yardstick {
	return yardstick{
		Yardstick: record.Yardstick{ID: "course-report", Name: "the course report's design in Go", Durable: "SIGKILL, power loss", Dedup: "exact, for ever",
			Includes: inProcess, Settings: []string{"one event a transaction", "journal_mode=DELETE", "synchronous=FULL"}},
		connections: 1, events: 3000, version: sqliteVersion,
		make: func() system { return &courseReport{} },
	}
}

type courseReport struct{ db *sql.DB }

func (c *courseReport) start(ctx context.Context, dir string) (err error) {
	path := filepath.Join(dir, "events.db")
	if c.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)"); err != nil {
		return err
	}
	c.db.SetMaxOpenConns(1)
	if _, err := c.db.ExecContext(ctx, sqliteEvents); err != nil {
		return err
	}
	_, err = c.db.ExecContext(ctx, "CREATE TABLE dedup_store (topic TEXT NOT NULL, event_id TEXT NOT NULL, PRIMARY KEY (topic, event_id))")
	return err
}

func (c *courseReport) encode(events []stream.Event) any { return events }

func (c *courseReport) append(ctx context.Context, _ int, request any) error {
	for _, e := range request.([]stream.Event) {
		var one int
		err := c.db.QueryRowContext(ctx, "SELECT 1 FROM dedup_store WHERE topic = ? AND event_id = ?", e.Topic, e.EventID).Scan(&one)
		if errors.Is(err, sql.ErrNoRows) {
			err = c.insert(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *courseReport) insert(ctx context.Context, e stream.Event) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO dedup_store (topic, event_id) VALUES (?, ?)", e.Topic, e.EventID); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, insertEvent, e.Topic, e.EventID, e.Timestamp, e.Source, e.Payload, receivedAt); err != nil {
		return err
	}
	return tx.Commit()
}

func (c *courseReport) settle(context.Context) error { return nil }

func (c *courseReport) stored(ctx context.Context) (n int, err error) {
	return n, c.db.QueryRowContext(ctx, "SELECT count(*) FROM events").Scan(&n)
}

func (c *courseReport) stop() error {
	if c.db == nil {
		return nil
	}
	return c.db.Close()
}

func (c *courseReport) process() *server { return nil }
