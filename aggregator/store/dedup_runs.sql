-- What has been seen lies in files beside the database, in sorted runs. They can be made again from
-- the events.
CREATE TABLE dedup_runs (
  file      TEXT    PRIMARY KEY,
  first_seq INTEGER NOT NULL, -- it holds the identities of the events from here
  last_seq  INTEGER NOT NULL, -- to here
  keys      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The key of the runs' hash: no publisher can choose ids whose hashes agree.
CREATE TABLE dedup_secret (secret TEXT NOT NULL) STRICT;
INSERT INTO dedup_secret VALUES (lower(hex(randomblob(16))));
