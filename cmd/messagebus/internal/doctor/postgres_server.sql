SELECT current_setting('server_version'), current_setting('server_version_num')::int,
	current_database()::text, current_user::text,
	current_setting('default_transaction_read_only')::bool,
	pg_is_in_recovery(),
	(SELECT count(*) FROM pg_stat_replication),
	current_setting('default_transaction_isolation'),
	current_setting('server_encoding'),
	current_setting('TimeZone'),
	(SELECT source FROM pg_settings WHERE name = 'TimeZone'),
	ARRAY(
		SELECT DISTINCT setting FROM pg_db_role_setting, unnest(setconfig) AS setting
		WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
		AND lower(setting) LIKE 'timezone=%'
		ORDER BY setting LIMIT 20
	)::text[],
	pg_notification_queue_usage(),
	coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
	clock_timestamp(),
	pg_backend_pid()::bigint
