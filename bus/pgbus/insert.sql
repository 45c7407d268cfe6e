-- The lock is taken before the id is: a default is computed for a row that is
-- there, and the row is what the lock returns. The lock outlives the commit, so
-- that ids are committed in their order. A notice holds at most 7999 bytes.
WITH stored AS (
	INSERT INTO message_bus (channel, value)
	SELECT $1::text, $2::text FROM pg_advisory_xact_lock(7882833662140642675)
	RETURNING id
), notice AS (
	SELECT id, id || '|' || id || '|' || replace($1::text, '|', '$$123$$') || '|' || $2::text AS encoded FROM stored
)
SELECT id, CASE
	WHEN octet_length(encoded) < 8000 THEN pg_notify($3::text, encoded)
	ELSE pg_notify($3::text || '_id', id::text)
END FROM notice
