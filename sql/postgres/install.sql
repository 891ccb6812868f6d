-- What other programs write, for Larder to see: one row or a few per watched table, whose numbers grow with each write.
-- A table is watched from `table.sql` on. Safe to repeat. `larder watch install` runs both.
CREATE SCHEMA IF NOT EXISTS larder;

CREATE TABLE IF NOT EXISTS larder.versions (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    -- Of no meaning: writers at the same time take different ones, so that none waits for another.
    slot bigint NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (schema_name, table_name, slot)
);

-- Tells this table from one that is installed after it was removed.
INSERT INTO larder.versions
SELECT '', '', 0, (random() * 1000000000000000)::bigint
WHERE NOT EXISTS (SELECT FROM larder.versions WHERE schema_name = '');

CREATE OR REPLACE FUNCTION larder.announce() RETURNS trigger LANGUAGE plpgsql
-- Writers need no rights of their own on the table above.
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $larder$
DECLARE
    free bigint;
BEGIN
    -- Whoever sees the database as it was when his transaction began must not touch what others changed since.
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        SELECT slot INTO free FROM larder.versions
        WHERE schema_name = TG_TABLE_SCHEMA AND table_name = TG_TABLE_NAME
        LIMIT 1 FOR UPDATE SKIP LOCKED;
        UPDATE larder.versions SET version = version + 1
        WHERE schema_name = TG_TABLE_SCHEMA AND table_name = TG_TABLE_NAME AND slot = free;
    END IF;
    IF free IS NULL THEN
        INSERT INTO larder.versions VALUES
            (TG_TABLE_SCHEMA, TG_TABLE_NAME, (random() * 9000000000000000000)::bigint, 1);
    END IF;
    -- Sooner than the next look at the table above. What was announced cannot be prepared for a commit in two phases.
    IF current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('larder', '');
    END IF;
    RETURN NULL;
END
$larder$;

-- What writers left that see an old state: merged, so that the sums stay what they are.
WITH free AS (SELECT * FROM larder.versions FOR UPDATE SKIP LOCKED),
first AS (SELECT schema_name, table_name, min(slot) AS slot FROM free GROUP BY schema_name, table_name),
gone AS (
    DELETE FROM larder.versions v USING free JOIN first USING (schema_name, table_name)
    WHERE v.schema_name = free.schema_name AND v.table_name = free.table_name AND v.slot = free.slot
    AND free.slot <> first.slot
    RETURNING v.schema_name, v.table_name, v.version
)
UPDATE larder.versions v SET version = v.version + left_over.version
FROM (SELECT schema_name, table_name, sum(version)::bigint AS version FROM gone GROUP BY schema_name, table_name) left_over
JOIN first USING (schema_name, table_name)
WHERE v.schema_name = first.schema_name AND v.table_name = first.table_name AND v.slot = first.slot;

REVOKE ALL ON FUNCTION larder.announce() FROM PUBLIC;
GRANT USAGE ON SCHEMA larder TO PUBLIC;
GRANT SELECT ON larder.versions TO PUBLIC;
