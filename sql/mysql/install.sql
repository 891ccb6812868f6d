-- What other programs write, for Larder to see: rows per watched table, whose numbers grow with each write.
-- A table is watched from `table.sql` on. Safe to repeat. `larder watch install` runs both.
-- Names are kept as bytes, so that no character set or collation has a say. MySQL 8.0 or MariaDB 10.6 and later.
CREATE TABLE IF NOT EXISTS larder_versions (
    table_name VARBINARY(256) NOT NULL,
    -- Of no meaning: writers at the same time take different ones, so that none waits for another.
    slot INT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (table_name, slot)
) ENGINE = InnoDB;

-- Tells this table from one that is installed after it was removed.
INSERT IGNORE INTO larder_versions VALUES ('', 0, FLOOR(RAND() * 1000000000000000));
