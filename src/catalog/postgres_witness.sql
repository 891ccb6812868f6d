-- What the open transaction wrote, as far as the server knows. Rows of (what, schema or value, name).
-- The search path is pg_catalog, and the temporary schema behind it.
WITH held AS MATERIALIZED (
    -- Fast-path locks included. Reading a table, locking its rows and watching it for conflicts write nothing.
    SELECT l.relation AS oid, l.mode, c.relkind, n.nspname, c.relname,
        c.relkind IN ('i', 'I', 't', 'S') OR c.relpersistence = 't' AS nobody_elses
    FROM pg_catalog.pg_locks l
    LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
    AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'SIReadLock')
)
SELECT 'transaction', current_setting('larder.transaction', true), NULL
UNION ALL
-- TRUNCATE, REFRESH and most of DDL; a relation that was dropped since, or that an old snapshot does not show.
SELECT 'unseen', NULL, NULL WHERE EXISTS (SELECT FROM held WHERE mode <> 'RowExclusiveLock' OR relkind IS NULL)
UNION ALL
-- The rest of DDL: it writes system catalogs, whose locks it does not keep.
SELECT 'unseen', NULL, NULL
WHERE current_setting('track_counts') <> 'on' OR EXISTS (
    SELECT FROM pg_catalog.pg_class c
    WHERE c.oid < 16384 AND c.relkind = 'r' AND c.relnamespace = 11
    AND coalesce(
        pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
            + pg_stat_get_xact_tuples_deleted(c.oid),
        1) > 0
)
UNION ALL
-- What is still to come, at the commit: triggers that were put off, and cursors that outlive it, which are run to their end.
SELECT 'deferred', NULL, NULL
WHERE EXISTS (SELECT FROM pg_catalog.pg_trigger t JOIN held ON held.oid = t.tgrelid WHERE t.tgdeferrable)
UNION ALL
SELECT 'unseen', NULL, NULL WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)
UNION ALL
-- An old snapshot shows old names.
SELECT 'unseen', NULL, NULL
WHERE EXISTS (
    SELECT FROM held
    WHERE NOT nobody_elses AND to_regclass(format('%I.%I', nspname, relname)) IS DISTINCT FROM CAST(oid AS regclass)
)
UNION ALL
SELECT 'table', nspname, relname FROM held WHERE NOT nobody_elses