-- Each row that is written in {table} announces it.
INSERT OR IGNORE INTO larder_versions VALUES ({name}, 0);
DROP TRIGGER IF EXISTS "larder_insert_{id}";
DROP TRIGGER IF EXISTS "larder_update_{id}";
DROP TRIGGER IF EXISTS "larder_delete_{id}";
CREATE TRIGGER "larder_insert_{id}" AFTER INSERT ON {table} BEGIN {announce}; END;
CREATE TRIGGER "larder_update_{id}" AFTER UPDATE ON {table} BEGIN {announce}; END;
CREATE TRIGGER "larder_delete_{id}" AFTER DELETE ON {table} BEGIN {announce}; END;
