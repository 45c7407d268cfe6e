-- The highest id that was given and is not stored, or is not yet; 0 if there is none.
SELECT coalesce(CASE
	WHEN last.given > last.stored THEN last.given
	ELSE (
		SELECT m.id - 1 FROM message_bus AS m
		WHERE NOT EXISTS (SELECT FROM message_bus AS before WHERE before.id = m.id - 1)
		ORDER BY m.id DESC LIMIT 1
	)
END, 0)
FROM (
	SELECT coalesce(pg_sequence_last_value('message_bus_id_seq'), 0) AS given,
		coalesce((SELECT max(id) FROM message_bus), 0) AS stored
) AS last
