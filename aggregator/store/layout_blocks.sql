-- What is stored, once an event, in commit order; a row holds a few neighbours: a directory, and
-- behind it data, their texts, one behind the other. Both together are packed by zlib, or as they
-- are where that is no longer.
-- The directory is a JSON array, an event each, of what is needed to cut an event out of data:
-- [seq - first_seq, where its texts begin (1 is data's first byte), bytes of topic, of event_id, of
-- timestamp, of source, of payload (0: none), where received_at begins (30 bytes, which neighbours
-- share)].
-- Of the blocks up to state.expired_seq, topic, event_id and received_at are left.
CREATE TABLE blocks (
  first_seq INTEGER PRIMARY KEY,
  last_seq  INTEGER NOT NULL,
  events    INTEGER NOT NULL,
  directory TEXT    NOT NULL, -- '', but where packed is 0
  data      BLOB    NOT NULL,
  checksum  INTEGER NOT NULL, -- CRC-32C of first_seq (8 bytes, little-endian), directory and data, unpacked
  packed    INTEGER NOT NULL DEFAULT 0, -- bytes of data once sqlar_uncompress has unpacked it; 0: written before version 4
  directory_bytes INTEGER NOT NULL DEFAULT 0 -- of the directory, with which unpacked data begins
) STRICT;

-- Which blocks that have not expired have events of a topic, but for those of runs.
CREATE TABLE topic_blocks (
  topic     TEXT    NOT NULL,
  first_seq INTEGER NOT NULL,
  PRIMARY KEY (topic, first_seq)
) STRICT, WITHOUT ROWID;
