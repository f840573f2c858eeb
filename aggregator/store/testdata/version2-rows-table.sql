PRAGMA user_version = 2;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE topics (
  name   TEXT    PRIMARY KEY,
  events INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO topics VALUES('a',1);
INSERT INTO topics VALUES('b',1);
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
  failed            INTEGER NOT NULL DEFAULT 0 -- dead letters, every attempt counted
) STRICT;
INSERT INTO state VALUES(1,1,2,1,0,3,'2026-11-24T00:35:15.936088836Z',0,0,0,0);
CREATE TABLE dead_letters (
  id          INTEGER PRIMARY KEY,
  topic       TEXT    NOT NULL,
  event_id    TEXT    NOT NULL,
  timestamp   TEXT    NOT NULL,
  source      TEXT    NOT NULL,
  payload     TEXT,             -- NULL: none, or too large to be kept even here, which error says
  received_at TEXT    NOT NULL, -- of the first attempt
  failed_at   TEXT    NOT NULL, -- received_at of the latest
  attempts    INTEGER NOT NULL,
  error       TEXT    NOT NULL, -- of the latest
  UNIQUE (topic, event_id)
) STRICT;
CREATE TABLE events (
  seq         INTEGER PRIMARY KEY, -- rises without reuse; a duplicate uses up a number
  topic       TEXT NOT NULL,
  event_id    TEXT NOT NULL,
  timestamp   TEXT NOT NULL, -- as the publisher wrote it
  source      TEXT NOT NULL, -- '' if none
  payload     TEXT,          -- JSON, byte for byte as published; NULL if none
  received_at TEXT NOT NULL  -- UTC, RFC 3339 with nanoseconds; never falls as seq rises
) STRICT;
INSERT INTO events VALUES(1,'a','1','2026-11-23T06:41:10Z','','{"n":1}','2026-11-24T00:35:15.936088836Z');
INSERT INTO events VALUES(2,'b','2','2026-11-23T06:41:11Z','s',NULL,'2026-11-24T00:35:15.936088836Z');
CREATE TABLE dedup_store (
  topic    TEXT    NOT NULL,
  event_id TEXT    NOT NULL,
  seq      INTEGER NOT NULL, -- of the stored event
  PRIMARY KEY (topic, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO dedup_store VALUES('a','1',1);
INSERT INTO dedup_store VALUES('b','2',2);
CREATE INDEX events_by_topic ON events (topic, seq);
COMMIT;
