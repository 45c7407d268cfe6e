-- For each range one row about it, with a null id, and one for each message.
--
-- A range is complete if a message of its channel survives that is not newer
-- than where it begins, or if every id that was given since is stored.
--
-- The arrays are those of subqueries so that the planner does not count them: with
-- some hundred ranges it would compile the statement (jit_above_cost), which takes
-- far longer than to execute it.
WITH asked AS (
	SELECT channel, after, newest, most, number::int - 1 AS page
	FROM unnest((SELECT $1::text[]), (SELECT $2::bigint[]), (SELECT $3::bigint[]), (SELECT $4::bigint[]))
		WITH ORDINALITY AS ranges (channel, after, newest, most, number)
)
SELECT page, NULL::bigint AS id,
	(SELECT value FROM message_bus AS m WHERE m.id = after AND m.channel = asked.channel) AS value,
	coalesce((SELECT m.id FROM message_bus AS m WHERE m.channel = asked.channel ORDER BY m.id DESC LIMIT 1), 0) AS last_id,
	newest > 0
		OR (SELECT m.id FROM message_bus AS m WHERE m.channel = asked.channel AND m.id <= after ORDER BY m.id DESC LIMIT 1) IS NOT NULL
		OR after >= (/*missing*/) AS complete
FROM asked
UNION ALL
SELECT page, m.id, m.value, 0, true
FROM asked CROSS JOIN LATERAL (
	(
		SELECT id, value FROM message_bus WHERE newest <= 0 AND message_bus.channel = asked.channel AND id > after
		ORDER BY id LIMIT nullif(greatest(most, 0), 0)
	) UNION ALL (
		SELECT id, value FROM message_bus WHERE newest > 0 AND message_bus.channel = asked.channel
		ORDER BY id DESC LIMIT greatest(newest, 0)
	)
) AS m
