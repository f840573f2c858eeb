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
INSERT INTO state VALUES(1,1,2,1,0,3,'2026-11-24T00:33:46.753814205Z',0,0,0,0);
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
CREATE TABLE blocks (
  first_seq INTEGER PRIMARY KEY,
  last_seq  INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  directory TEXT    NOT NULL,
  data      BLOB    NOT NULL,
  checksum  INTEGER NOT NULL -- CRC-32C of first_seq (8 bytes, little-endian), directory and data
) STRICT;
INSERT INTO blocks VALUES(1,2,2,'[[0,31,1,1,20,0,7,1],[1,60,1,1,20,1,0,1]]',X'323032362d31312d32345430303a33333a34362e3735333831343230355a6131323032362d31312d32335430363a34313a31305a7b226e223a317d6232323032362d31312d32335430363a34313a31315a73',4288885091);
CREATE TABLE topic_blocks (
  topic     TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (topic, first_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO topic_blocks VALUES('a',1);
INSERT INTO topic_blocks VALUES('b',1);
CREATE TABLE dedup_runs (
  file      TEXT    PRIMARY KEY,
  first_seq INTEGER NOT NULL, -- it holds the identities of the events from here
  last_seq  INTEGER NOT NULL, -- to here
  keys      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dedup_secret (secret TEXT NOT NULL) STRICT;
INSERT INTO dedup_secret VALUES('8bda6237ee9ad613aad559097fab5e3f');
CREATE VIEW events AS
SELECT
  seq,
  CAST(substr(data, at, topic) AS TEXT) AS topic,
  CAST(substr(data, at + topic, id) AS TEXT) AS event_id,
  CAST(substr(data, at + topic + id, timestamp) AS TEXT) AS timestamp,
  CAST(substr(data, at + topic + id + timestamp, source) AS TEXT) AS source,
  CASE WHEN payload > 0 THEN CAST(substr(data, at + topic + id + timestamp + source, payload) AS TEXT) END AS payload,
  CAST(substr(data, received, 30) AS TEXT) AS received_at
FROM (
  SELECT
    first_seq + json_extract(value, '$[0]') AS seq, data,
    json_extract(value, '$[1]') AS at,
    json_extract(value, '$[2]') AS topic,
    json_extract(value, '$[3]') AS id,
    json_extract(value, '$[4]') AS timestamp,
    json_extract(value, '$[5]') AS source,
    json_extract(value, '$[6]') AS payload,
    json_extract(value, '$[7]') AS received
  FROM blocks, json_each(directory)
);
CREATE VIEW dedup_store AS SELECT topic, event_id, seq FROM events;
COMMIT;
