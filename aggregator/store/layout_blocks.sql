-- What is stored, once an event, in commit order; a row holds a few neighbours. data is their texts, one behind the
-- other. directory is a JSON array, an event each, of what is needed to cut them out:
-- [seq - first_seq, where its texts begin (1 is the first byte), bytes of topic, of event_id, of timestamp, of source,
-- of payload (0: none), where received_at begins (30 bytes, which neighbours share)].
CREATE TABLE blocks (
  first_seq INTEGER PRIMARY KEY,
  last_seq  INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  directory TEXT    NOT NULL,
  data      BLOB    NOT NULL,
  checksum  INTEGER NOT NULL -- CRC-32C of first_seq (8 bytes, little-endian), directory and data
) STRICT;

-- Which blocks have events of a topic.
CREATE TABLE topic_blocks (
  topic     TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (topic, first_seq)
) STRICT, WITHOUT ROWID;

-- The events, a row each. seq rises without reuse; a duplicate uses up a number. timestamp is as the publisher wrote it, source ''
-- if none, payload JSON, byte for byte as published, or NULL if none; received_at is UTC and never falls as seq rises.
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
