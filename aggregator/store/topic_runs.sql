-- Runs: the blocks of a batch with many topics, from the first to the last, in the place of rows of
-- topic_blocks. Those that have expired go with the last of their run.
CREATE TABLE topic_runs (
  first_seq INTEGER PRIMARY KEY, -- of its first block
  last_seq  INTEGER NOT NULL     -- first_seq of its last block
) STRICT;

-- A topic's bucket is the highest byte of its CRC-32C. An entry, in the order of the blocks, has by
-- how much its block's first_seq lies behind the entry's before it (of the first, the run's), as a
-- base 128 varint, and the other three bytes of the CRC, which another topic may have too.
CREATE TABLE topic_buckets (
  bucket    INTEGER NOT NULL,
  first_seq INTEGER NOT NULL, -- of the run
  entries   BLOB    NOT NULL,
  PRIMARY KEY (bucket, first_seq)
) STRICT, WITHOUT ROWID;
