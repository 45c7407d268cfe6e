-- A statement of its own: it sees what was committed while the insert waited for
-- the lock. Every trim takes the oldest of what it is about, in the order of ids;
-- readers conclude from an old message that none after it is gone. Rows with low
-- ids go first, as in the gem, so that the two never wait for each other.
--
-- Nothing here may cost more the more there is in the backlog, and below it there
-- may be any number of dead rows, which a long transaction elsewhere keeps from being
-- cleaned up. So scans begin where those of the trim before have ended, which the
-- publisher remembers: $7 is where the oldest message of all was found, $9 to $12 are
-- a tally of the channel. One publish in 1024 begins at the bottom. Both are of one
-- sequence, $13; when ids begin again it is another one.
--
-- A tally says that of this channel there were "above" messages above the id "mark",
-- at the time of the message "counted". Messages that came since are counted and added,
-- and what else may stay is counted off downwards from the mark; what others trim
-- meanwhile changes nothing, as that is at the bottom. When there are more messages
-- above the mark than may stay, all are counted once and the mark is placed anew,
-- a little above the last that may stay. That is also when rows are found that were
-- committed late, by those who take no lock.
--
-- Whether any channel has messages that are too old is looked up where the oldest
-- message of all is, and at one publish in 64 whatever that one's age is.
--
-- The planner must not see the parameters: it would plan for them at every execution,
-- which takes far longer than to execute it. And it knows too little of them to choose
-- well. Where channel and id are compared as one, and the first rows of such an order
-- are asked for, it has the index on both only.
WITH published AS MATERIALIZED (
	SELECT $1::text AS channel, id, id - $6::bigint AS top, id - greatest($4::bigint, $6::bigint) AS floor, $3::bigint AS size,
		CASE WHEN id % 1024 > 0 AND id > $7::bigint AND storage = $13::bigint THEN $7::bigint ELSE 0 END AS swept,
		now - make_interval(secs => $5::float8) AS since, now - make_interval(secs => $8::float8) AS since_global,
		$9::bigint AS counted, $10::bigint AS low, $11::bigint AS mark, $12::bigint AS above,
		id > $9::bigint AND storage = $13::bigint AS tallied, storage
	FROM (
		SELECT currval('message_bus_id_seq') AS id, pg_relation_filenode('message_bus_id_seq')::bigint AS storage,
			clock_timestamp()::timestamp AS now
	) AS given
	WHERE id % $2::bigint = 0
), oldest AS MATERIALIZED (
	SELECT first.id, published.id % 64 = 0 OR first.added_at < since_global AS aged
	FROM published CROSS JOIN LATERAL (
		SELECT m.id, m.added_at FROM message_bus AS m WHERE m.id > greatest(swept, floor) ORDER BY m.id LIMIT 1
	) AS first
), counted AS MATERIALIZED (
	SELECT above + (
		SELECT count(*) FROM (
			SELECT FROM message_bus AS m
			WHERE (m.channel, m.id) > (published.channel, counted) AND (m.channel, m.id) <= (published.channel, published.id)
			ORDER BY m.channel, m.id LIMIT greatest(size - above, 0) + 1
		) AS newer
	) AS above
	FROM published WHERE tallied
), tally AS MATERIALIZED (
	SELECT CASE WHEN holds THEN published.mark ELSE coalesce(placed.mark, published.id) END AS mark,
		CASE WHEN holds THEN counted.above ELSE placed.above END AS above,
		CASE WHEN holds THEN greatest(low, floor) ELSE floor END AS low
	FROM published LEFT JOIN counted ON true
	CROSS JOIN LATERAL (SELECT coalesce(counted.above <= size, false) AS holds) AS tallied
	CROSS JOIN LATERAL (
		SELECT min(newest.id) - 1 AS mark, count(*) AS above FROM (
			SELECT m.id FROM message_bus AS m
			WHERE NOT holds
			AND (m.channel, m.id) > (published.channel, floor) AND (m.channel, m.id) <= (published.channel, published.id)
			ORDER BY m.channel DESC, m.id DESC LIMIT size - sqrt(size)::bigint -- so both counts are short
		) AS newest
	) AS placed
), bound AS MATERIALIZED (
	SELECT least(top, greatest(
		coalesce((
			SELECT young.id - 1 FROM message_bus AS young
			WHERE (young.channel, young.id) > (published.channel, tally.low) AND (young.channel, young.id) <= (published.channel, published.id)
			AND added_at > since
			ORDER BY channel, young.id LIMIT 1
		), top),
		(
			SELECT extra.id FROM message_bus AS extra
			WHERE (channel, extra.id) > (published.channel, tally.low) AND (channel, extra.id) <= (published.channel, tally.mark)
			ORDER BY channel DESC, extra.id DESC OFFSET size - tally.above LIMIT 1
		)
	)) AS id
	FROM published, tally
), swept AS (
	DELETE FROM message_bus
	WHERE id > (SELECT swept FROM published) AND id <= (SELECT floor FROM published)
	RETURNING 1
), aged AS (
	DELETE FROM message_bus AS old
	WHERE (SELECT count(*) FROM swept) >= 0 -- that comes first
	AND (SELECT aged FROM oldest)
	AND id > (SELECT floor FROM published) AND id <= (SELECT top FROM published)
	AND added_at < (SELECT since_global FROM published)
	AND NOT EXISTS (
		SELECT FROM message_bus AS young
		WHERE young.channel = old.channel AND young.id < old.id AND young.added_at >= (SELECT since_global FROM published)
	)
	RETURNING 1
), trimmed AS (
	DELETE FROM message_bus
	WHERE (SELECT count(*) FROM aged) >= 0 -- that comes before
	AND channel = (SELECT channel FROM published)
	AND id > (SELECT low FROM tally) AND id <= (SELECT id FROM bound)
	RETURNING 1
)
SELECT oldest.id - 1, published.id, greatest(bound.id, tally.low), tally.mark, tally.above, storage
FROM published, oldest, tally, bound
WHERE (SELECT count(*) FROM trimmed) >= 0
