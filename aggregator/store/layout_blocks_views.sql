-- What the blocks hold, a row an event. seq rises without reuse; a duplicate uses up a number. timestamp is as the publisher wrote it, source ''
-- if none, payload JSON, byte for byte as published, or NULL if none; received_at is UTC and never falls as seq rises.
CREATE VIEW block_events AS
SELECT
  block,
  seq,
  CAST(substr(data, at, topic) AS TEXT) AS topic,
  CAST(substr(data, at + topic, id) AS TEXT) AS event_id,
  CAST(substr(data, at + topic + id, timestamp) AS TEXT) AS timestamp,
  CAST(substr(data, at + topic + id + timestamp, source) AS TEXT) AS source,
  CASE WHEN payload > 0 THEN CAST(substr(data, at + topic + id + timestamp + source, payload) AS TEXT) END AS payload,
  CAST(substr(data, received, 30) AS TEXT) AS received_at
FROM (
  SELECT
    first_seq AS block, first_seq + json_extract(value, '$[0]') AS seq, data,
    json_extract(value, '$[1]') AS at,
    json_extract(value, '$[2]') AS topic,
    json_extract(value, '$[3]') AS id,
    json_extract(value, '$[4]') AS timestamp,
    json_extract(value, '$[5]') AS source,
    json_extract(value, '$[6]') AS payload,
    json_extract(value, '$[7]') AS received
  FROM blocks, json_each(directory)
);

-- The events, a row each, but for those whose content has expired.
CREATE VIEW events AS SELECT seq, topic, event_id, timestamp, source, payload, received_at
FROM block_events WHERE block > (SELECT expired_seq FROM state);

-- Of every event that was ever stored.
CREATE VIEW identities AS SELECT seq, topic, event_id FROM block_events;
