-- The sequence's last value is unknown (null) before the first message. Ids are
-- committed in order, so that nothing up to the highest one stored is to come.
SELECT last.given, least(last.stored, last.given),
	concat_ws('.',
		(SELECT system_identifier FROM pg_control_system()),
		(SELECT oid FROM pg_database WHERE datname = current_database()),
		'message_bus'::regclass::oid,
		pg_relation_filenode('message_bus_id_seq')),
	CASE
		WHEN pg_is_in_recovery() THEN (SELECT lpad(to_hex(timeline_id), 8, '0') FROM pg_control_checkpoint())
		ELSE lower(left(pg_walfile_name(pg_current_wal_lsn()), 8))
	END,
	current_setting('transaction_read_only')::bool,
	pg_notification_queue_usage()
FROM (
	SELECT coalesce(pg_sequence_last_value('message_bus_id_seq'), m.stored) AS given, m.stored
	FROM (SELECT coalesce(max(id), 0) AS stored FROM message_bus) AS m
) AS last
