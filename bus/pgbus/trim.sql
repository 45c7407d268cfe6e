-- A statement of its own: it sees what was committed while the insert waited for
-- the lock. Every trim takes the oldest of what it is about, in the order of ids;
-- readers conclude from an old message that none after it is gone. Rows with low
-- ids go first, as in the gem, so that the two never wait for each other.
--
-- Scans begin at $7, which was swept before, or above what the global limit
-- removes: below there may be any number of dead rows that a long transaction
-- elsewhere keeps from being cleaned up. One publish in 1024 begins at the bottom.
--
-- Whether any channel has messages that are too old is looked up where the oldest
-- message of all is, and at one publish in 64 whatever that one's age is.
--
-- Channel and id are compared as one, since that leaves the planner the index on
-- both only: it knows too little of these parameters to choose well.
WITH published AS (
	SELECT id, id - greatest($4::bigint, $6::bigint) AS floor, id - $6::bigint AS top,
		CASE id % 1024 WHEN 0 THEN 0 ELSE $7::bigint END AS swept
	FROM (SELECT currval('message_bus_id_seq') AS id) AS given
	WHERE id % $2::bigint = 0
), swept AS (
	DELETE FROM message_bus
	WHERE id > (SELECT swept FROM published) AND id <= (SELECT floor FROM published)
	RETURNING 1
), dated AS (
	SELECT published.*, clock_timestamp()::timestamp - make_interval(secs => $8::float8) AS oldest
	FROM published
), aged AS (
	DELETE FROM message_bus AS old
	WHERE (SELECT count(*) FROM swept) >= 0 -- that comes first
	AND (SELECT id % 64 = 0 OR coalesce((
		SELECT added_at FROM message_bus AS first
		WHERE first.id > greatest(dated.swept, dated.floor) ORDER BY first.id LIMIT 1
	) < dated.oldest, false) FROM dated)
	AND id > (SELECT floor FROM dated) AND id <= (SELECT top FROM dated)
	AND added_at < (SELECT oldest FROM dated)
	AND NOT EXISTS (
		SELECT FROM message_bus AS young
		WHERE young.channel = old.channel AND young.id < old.id AND young.added_at >= (SELECT oldest FROM dated)
	)
	RETURNING 1
)
DELETE FROM message_bus
WHERE (SELECT count(*) FROM aged) >= 0 -- that comes before
AND EXISTS (SELECT FROM published) -- else the whole channel would be compared with null
AND (channel, id) > ($1::text, (SELECT floor FROM published))
AND (channel, id) <= ($1::text, (
	SELECT least(top, greatest(
		coalesce((
			SELECT young.id - 1 FROM message_bus AS young
			WHERE (channel, young.id) > ($1::text, published.floor) AND (channel, young.id) <= ($1::text, published.id)
			AND added_at > clock_timestamp()::timestamp - make_interval(secs => $5::float8)
			ORDER BY channel, young.id LIMIT 1
		), top),
		(
			SELECT extra.id FROM message_bus AS extra
			WHERE (channel, extra.id) > ($1::text, published.floor) AND (channel, extra.id) <= ($1::text, published.id)
			ORDER BY channel DESC, extra.id DESC OFFSET $3::bigint LIMIT 1
		)
	)) FROM published
))
