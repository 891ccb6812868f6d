DROP TRIGGER IF EXISTS larder_announce ON {table};
