-- A session that only listens shows LISTEN as its last statement; one of another role
-- shows nothing.
SELECT name, count(*) FROM (
	SELECT CASE WHEN query IS NULL OR query = '<insufficient privilege>' THEN NULL ELSE substring(query FROM '(?i)LISTEN "?(_message_bus_[^";]*)"?') END AS name
	FROM pg_stat_activity
	WHERE datname = current_database() AND pid <> pg_backend_pid()
	AND (query IS NULL OR query = '<insufficient privilege>' OR query ~* '^\s*LISTEN\s+"?_message_bus_')
	LIMIT $1::bigint
) AS sessions
GROUP BY name
