-- The tables that a replica of a cluster has beside the others. They are changed in the
-- transactions that apply the log, or not at all.

-- One row: which log was applied, and how far.
CREATE TABLE cluster (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  cluster  TEXT    NOT NULL, -- the log is known by these three
  epoch    INTEGER NOT NULL,
  created  INTEGER NOT NULL, -- Unix, nanoseconds
  position INTEGER NOT NULL, -- the log is applied up to here
  hash     TEXT    NOT NULL, -- of all that was decided up to here
  apply    INTEGER NOT NULL  -- version of what frames lead to from here on
) STRICT;

-- How far each sender has come: its latest frame that counted.
CREATE TABLE cluster_sessions (
  session  TEXT    PRIMARY KEY,
  number   INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The messages that were passed over, as an operator has told all replicas.
CREATE TABLE cluster_skipped (
  position INTEGER PRIMARY KEY
) STRICT;

-- The hash as it was at some positions, for comparison with other replicas.
CREATE TABLE cluster_checkpoints (
  position INTEGER PRIMARY KEY,
  hash     TEXT    NOT NULL
) STRICT;
