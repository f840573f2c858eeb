-- Events that were accepted and that the database itself refused, once each: neither stored nor
-- duplicates. One that is published again is tried again; what became of it then, events and
-- dead_letters.failed_at say. Where topic is '' and attempts 0: what an endpoint refused, source is
-- its path and payload the text of the body.
CREATE TABLE dead_letters (
  id          INTEGER PRIMARY KEY,
  topic       TEXT    NOT NULL,
  event_id    TEXT    NOT NULL,
  timestamp   TEXT    NOT NULL,
  source      TEXT    NOT NULL,
  payload     TEXT,             -- NULL: none, or too large to be kept even here, which error says
  received_at TEXT    NOT NULL, -- of the first attempt
  failed_at   TEXT    NOT NULL, -- received_at of the latest
  attempts    INTEGER NOT NULL,
  error       TEXT    NOT NULL, -- of the latest
  UNIQUE (topic, event_id)
) STRICT;
