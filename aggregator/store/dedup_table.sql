-- What has been seen: the reference of deduplication. INSERT OR IGNORE decides.
CREATE TABLE dedup_store (
  topic    TEXT    NOT NULL,
  event_id TEXT    NOT NULL,
  seq      INTEGER NOT NULL, -- of the stored event
  content  INTEGER,          -- a checksum of its timestamp, source and payload; NULL: not known
  PRIMARY KEY (topic, event_id)
) STRICT, WITHOUT ROWID;
