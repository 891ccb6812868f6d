-- Each row that is written in {table} announces it.
INSERT IGNORE INTO larder_versions
WITH RECURSIVE slots (slot) AS (SELECT 0 UNION ALL SELECT slot + 1 FROM slots WHERE slot < 63)
SELECT {name}, slot, 0 FROM slots;
DROP TRIGGER IF EXISTS larder_insert_{id};
DROP TRIGGER IF EXISTS larder_update_{id};
DROP TRIGGER IF EXISTS larder_delete_{id};
CREATE TRIGGER larder_insert_{id} AFTER INSERT ON {table} FOR EACH ROW {announce};
CREATE TRIGGER larder_update_{id} AFTER UPDATE ON {table} FOR EACH ROW {announce};
CREATE TRIGGER larder_delete_{id} AFTER DELETE ON {table} FOR EACH ROW {announce};
