-- Each statement that writes {table} announces it, also where replication or a restore has triggers turned off.
DROP TRIGGER IF EXISTS larder_announce ON {table};
CREATE TRIGGER larder_announce AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION larder.announce();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER larder_announce;
