-- $1 rows, $2 channels, $3 characters of a message.
--
-- added_at is local time of the session that stored the row. Where it goes back by a
-- quarter of an hour and more between two ids, two sessions were in two time zones.
WITH newest AS (
	SELECT id, channel, octet_length(value) AS size, added_at,
		octet_length(channel) + 6 * (length(channel) - length(replace(channel, '|', ''))) + 2 * length(id::text) + 3 + octet_length(value) >= 8000 AS too_long,
		lead(added_at) OVER (ORDER BY id) < added_at - interval '14 minutes' AS backwards
	FROM (SELECT * FROM message_bus ORDER BY id DESC LIMIT $1::bigint) AS rows
), grouped AS (
	SELECT channel, count(*) AS messages, min(id) AS first, max(id) AS last, max(size) AS largest,
		count(*) FILTER (WHERE too_long) AS too_long,
		extract(epoch FROM localtimestamp - max(added_at)) AS young,
		extract(epoch FROM localtimestamp - min(added_at)) AS old,
		count(*) FILTER (WHERE backwards) AS backwards,
		count(*) FILTER (WHERE added_at > localtimestamp + interval '1 minute') AS future
	FROM newest GROUP BY channel ORDER BY messages DESC, channel LIMIT $2::bigint
)
SELECT g.channel, g.messages, g.first, g.last, g.largest::bigint, g.too_long, left(m.value, $3::int), octet_length(m.value)::bigint,
	g.young::float8, g.old::float8, g.backwards, g.future, (SELECT count(*) FROM newest)
FROM grouped AS g JOIN message_bus AS m ON m.id = g.last
