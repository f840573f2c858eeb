-- What is stored, once an event, in commit order.
CREATE TABLE events (
  seq         INTEGER PRIMARY KEY, -- rises without reuse; a duplicate uses up a number
  topic       TEXT NOT NULL,
  event_id    TEXT NOT NULL,
  timestamp   TEXT NOT NULL, -- as the publisher wrote it
  source      TEXT NOT NULL, -- '' if none
  payload     TEXT,          -- JSON, byte for byte as published; NULL if none
  received_at TEXT NOT NULL  -- UTC, RFC 3339 with nanoseconds; never falls as seq rises
) STRICT;

CREATE INDEX events_by_topic ON events (topic, seq);
