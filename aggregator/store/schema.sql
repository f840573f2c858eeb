-- The database of one aggregator. The writer is its only writer; look at it with
-- the sqlite3 shell as you like, also while the aggregator runs.

-- dedup_store, what has been seen, is a table or a view: dedup_table.sql, dedup_runs.sql.

-- events, what is stored, is a table or a view: layout_rows.sql, layout_blocks.sql.

-- Stored events by topic, for /stats, but for those that topic_counts has; expired ones are taken
-- off, so that a number may be less than 0.
CREATE TABLE topics (
  name   TEXT    PRIMARY KEY,
  events INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row, rewritten by every commit together with the events it tells of.
CREATE TABLE state (
  id                INTEGER PRIMARY KEY CHECK (id = 1),
  commits           INTEGER NOT NULL,
  unique_processed  INTEGER NOT NULL,
  duplicate_dropped INTEGER NOT NULL,
  rejected          INTEGER NOT NULL,
  last_seq          INTEGER NOT NULL, -- the highest number used, stored or not
  last_received_at  TEXT    NOT NULL,
  journal_segment   INTEGER NOT NULL, -- the journal up to here is applied:
  journal_offset    INTEGER NOT NULL, -- the frame that starts here is the next,
  journal_applied   INTEGER NOT NULL, -- but for this many of its events
  failed            INTEGER NOT NULL DEFAULT 0, -- dead letters, every attempt counted
  expired           INTEGER NOT NULL DEFAULT 0, -- events whose content is gone, by -retention: of unique_processed
  expired_seq       INTEGER NOT NULL DEFAULT 0, -- all up to here
  conflicts         INTEGER NOT NULL DEFAULT 0  -- of duplicate_dropped, those that say something else than what is stored
) STRICT;

INSERT INTO state VALUES (1, 0, 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, 0);
