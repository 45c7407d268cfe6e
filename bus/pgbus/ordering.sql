CREATE OR REPLACE FUNCTION message_bus_take_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_advisory_xact_lock(7882833662140642675);
	RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS message_bus_take_turn ON message_bus;
CREATE TRIGGER message_bus_take_turn BEFORE INSERT ON message_bus
	FOR EACH STATEMENT EXECUTE FUNCTION message_bus_take_turn();
