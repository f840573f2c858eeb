-- What has been seen: the reference of deduplication. INSERT OR IGNORE decides.
CREATE TABLE dedup_store (
  topic    TEXT    NOT NULL,
  event_id TEXT    NOT NULL,
  seq      INTEGER NOT NULL, -- of the stored event
  PRIMARY KEY (topic, event_id)
) STRICT, WITHOUT ROWID;
