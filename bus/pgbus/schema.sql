CREATE TABLE IF NOT EXISTS message_bus (
	id bigserial PRIMARY KEY,
	channel text NOT NULL,
	value text NOT NULL CHECK (octet_length(value) >= 2),
	added_at timestamp DEFAULT CURRENT_TIMESTAMP NOT NULL
);
CREATE INDEX IF NOT EXISTS table_channel_id_index ON message_bus (channel, id);
CREATE INDEX IF NOT EXISTS table_added_at_index ON message_bus (added_at);
