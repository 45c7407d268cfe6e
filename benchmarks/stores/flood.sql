-- Stores and announces many messages, as so many publishes would, in one transaction.
WITH stored AS (
	INSERT INTO message_bus (channel, value)
	SELECT '/flood/' || number % $2::bigint, $3::text FROM generate_series(0, $1::bigint - 1) AS number
	RETURNING id, channel, value
)
SELECT count(pg_notify($4::text, id || '|' || id || '|' || channel || '|' || value)) FROM stored
