-- What topics does not count of a topic's events, of batches with many topics: runs, of which a few
-- become one from time to time. A run is in pieces, each of neighbours in the order of their names.
-- A topic in a piece is three numbers and the rest of its name: how many bytes the name begins with
-- of the one before (of the first, 0), how many follow, how many events, as base 128 varints.
-- Expired events are taken off: 2^64 less as many.
CREATE TABLE topic_counts (
  name   TEXT    NOT NULL, -- of the piece's first topic
  run    INTEGER NOT NULL, -- less than 0: of a damaged piece, which becomes part of no other run
  topics INTEGER NOT NULL, -- of the piece
  counts BLOB    NOT NULL,
  PRIMARY KEY (name, run)
) STRICT, WITHOUT ROWID;
