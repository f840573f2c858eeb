PRAGMA user_version = 1;
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
  journal_applied   INTEGER NOT NULL  -- but for this many of its events
) STRICT;
INSERT INTO state VALUES(1,1,2,1,0,3,'2026-11-24T00:34:19.001902019Z',0,0,0);
CREATE TABLE blocks (
  first_seq INTEGER PRIMARY KEY,
  last_seq  INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  directory TEXT    NOT NULL,
  data      BLOB    NOT NULL,
  checksum  INTEGER NOT NULL -- CRC-32C of first_seq (8 bytes, little-endian), directory and data
) STRICT;
INSERT INTO blocks VALUES(1,2,2,'[[0,31,1,1,20,0,7,1],[1,60,1,1,20,1,0,1]]',X'323032362d31312d32345430303a33343a31392e3030313930323031395a6131323032362d31312d32335430363a34313a31305a7b226e223a317d6232323032362d31312d32335430363a34313a31315a73',793436904);
CREATE TABLE topic_blocks (
  topic     TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (topic, first_seq)
) STRICT, WITHOUT ROWID;
INSERT INTO topic_blocks VALUES('a',1);
INSERT INTO topic_blocks VALUES('b',1);
CREATE TABLE dedup_store (
  topic    TEXT    NOT NULL,
  event_id TEXT    NOT NULL,
  seq      INTEGER NOT NULL, -- of the stored event
  PRIMARY KEY (topic, event_id)
) STRICT, WITHOUT ROWID;
INSERT INTO dedup_store VALUES('a','1',1);
INSERT INTO dedup_store VALUES('b','2',2);
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
COMMIT;
