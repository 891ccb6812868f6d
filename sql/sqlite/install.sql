-- What other programs write, for Larder to see: one row per watched table, whose number grows with each write.
-- A table is watched from `table.sql` on. Safe to repeat. `larder watch install` runs both.
CREATE TABLE IF NOT EXISTS larder_versions (table_name TEXT PRIMARY KEY, version INTEGER NOT NULL);

-- Tells this table from one that is installed after it was removed.
INSERT OR IGNORE INTO larder_versions VALUES ('', abs(random() % 1000000000000000));
