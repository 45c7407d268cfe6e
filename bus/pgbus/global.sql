-- As in pages.sql, for all channels together.
SELECT NULL::bigint AS id, NULL::text AS channel, NULL::text AS value, $1::bigint >= (/*missing*/) AS complete
UNION ALL (
	SELECT id, channel, value, true FROM message_bus
	WHERE id > $1::bigint ORDER BY id LIMIT nullif(greatest($2::bigint, 0), 0)
)
