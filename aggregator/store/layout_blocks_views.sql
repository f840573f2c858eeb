-- What the blocks hold, a row an event. seq rises without reuse; a duplicate uses up a number.
-- timestamp is as the publisher wrote it, source '' if none, payload JSON, byte for byte as
-- published, or NULL if none; received_at is UTC and never falls as seq rises.
--
-- A block is unpacked once: its events are made a JSON array first, and LIMIT keeps SQLite from
-- unpacking for each text anew.
CREATE VIEW block_events AS
SELECT
  first_seq AS block,
  json_extract(event.value, '$[0]') AS seq,
  json_extract(event.value, '$[1]') AS topic,
  json_extract(event.value, '$[2]') AS event_id,
  json_extract(event.value, '$[3]') AS timestamp,
  json_extract(event.value, '$[4]') AS source,
  json_extract(event.value, '$[5]') AS payload,
  json_extract(event.value, '$[6]') AS received_at
FROM blocks, json_each((
  SELECT json_group_array(json_array(
    first_seq + number,
    CAST(substr(plain, at, topic) AS TEXT),
    CAST(substr(plain, at + topic, id) AS TEXT),
    CAST(substr(plain, at + topic + id, timestamp) AS TEXT),
    CAST(substr(plain, at + topic + id + timestamp, source) AS TEXT),
    CASE WHEN payload > 0 THEN CAST(substr(plain, at + topic + id + timestamp + source, payload) AS TEXT) END,
    CAST(substr(plain, received, 30) AS TEXT)
  )) FROM (
    SELECT
      plain,
      json_extract(value, '$[0]') AS number,
      directory_bytes + json_extract(value, '$[1]') AS at,
      json_extract(value, '$[2]') AS topic,
      json_extract(value, '$[3]') AS id,
      json_extract(value, '$[4]') AS timestamp,
      json_extract(value, '$[5]') AS source,
      json_extract(value, '$[6]') AS payload,
      directory_bytes + json_extract(value, '$[7]') AS received
    FROM
      (SELECT CASE packed WHEN 0 THEN data ELSE sqlar_uncompress(data, packed) END AS plain LIMIT -1),
      json_each(CASE packed WHEN 0 THEN directory ELSE CAST(substr(plain, 1, directory_bytes) AS TEXT) END)
    LIMIT -1
  )
)) AS event;

-- The events, a row each, but for those whose content has expired.
CREATE VIEW events AS SELECT seq, topic, event_id, timestamp, source, payload, received_at
FROM block_events WHERE block > (SELECT expired_seq FROM state);

-- Of every event that was ever stored.
CREATE VIEW identities AS SELECT seq, topic, event_id FROM block_events;
