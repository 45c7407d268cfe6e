SELECT n.nspname::text,
	(
		SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum)
		FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	),
	ARRAY(
		SELECT pg_get_indexdef(i.indexrelid, 0, true) FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisvalid
		ORDER BY 1 LIMIT 50
	)::text[],
	has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'DELETE'),
	s.oid IS NOT NULL AND has_sequence_privilege(s.oid, 'USAGE'),
	c.relpersistence = 'u', c.relrowsecurity AND NOT (pg_has_role(c.relowner, 'USAGE') AND NOT c.relforcerowsecurity), c.relkind = 'p',
	EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND t.tgname = 'message_bus_take_turn' AND t.tgenabled <> 'D'),
	ARRAY(
		SELECT t.tgname::text FROM pg_trigger AS t
		WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgname <> 'message_bus_take_turn' ORDER BY 1 LIMIT 20
	),
	CASE WHEN s.oid IS NOT NULL AND has_sequence_privilege(s.oid, 'SELECT,USAGE') THEN coalesce(pg_sequence_last_value(s.oid), 0) ELSE -1 END,
	c.reltuples::bigint,
	coalesce((SELECT n_dead_tup FROM pg_stat_user_tables AS u WHERE u.relid = c.oid), 0),
	(SELECT greatest(last_vacuum, last_autovacuum) FROM pg_stat_user_tables AS u WHERE u.relid = c.oid)
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS s ON s.oid = to_regclass('message_bus_id_seq')
WHERE c.oid = to_regclass('message_bus')
