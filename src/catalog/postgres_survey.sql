-- Everything behind the names of a database, as of one snapshot. Rows of (kind of row, outer name, name, details).
-- The search path is pg_catalog alone.
WITH RECURSIVE
-- Extensions whose immutable functions are what they claim to be, and whose functions in C write no tables.
known_extension (name) AS (VALUES
    ('btree_gin'), ('btree_gist'), ('citext'), ('cube'), ('earthdistance'), ('fuzzystrmatch'), ('hstore'), ('intarray'),
    ('isn'), ('ltree'), ('pg_trgm'), ('pgcrypto'), ('plpgsql'), ('seg'), ('tcn'), ('unaccent'), ('uuid-ossp'),
    ('pg_stat_statements'), ('pg_uuidv7'), ('postgis'), ('vector')
),
function AS (
    SELECT p.oid, p.proname, p.provolatile, p.pronargs, p.pronargdefaults, p.proargtypes,
        p.prolang, p.prolang IN (12, 13) AS in_c,
        p.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema') AS built_in,
        p.oid IN (
            SELECT d.objid FROM pg_depend d
            JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
            AND e.extname IN (SELECT name FROM known_extension)
        ) AS known
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
),
-- Whoever declares a function stable or immutable promises that it does not write.
writer AS (SELECT oid FROM function WHERE provolatile = 'v' AND NOT built_in AND NOT (known AND in_c)),
-- What calls a writer: an expression, a domain, another function such as an aggregate.
caller AS (
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM writer)
    UNION
    SELECT d.classid, d.objid FROM pg_depend d
    WHERE d.refclassid = 'pg_operator'::regclass
    AND d.refobjid IN (SELECT o.oid FROM pg_operator o WHERE o.oprcode IN (SELECT oid FROM writer))
),
running AS (
    SELECT a.adrelid AS oid FROM pg_attrdef a
    JOIN caller c ON c.classid = 'pg_attrdef'::regclass AND c.objid = a.oid
    UNION
    SELECT k.conrelid FROM pg_constraint k JOIN caller c ON c.classid = 'pg_constraint'::regclass AND c.objid = k.oid
    UNION
    SELECT p.polrelid FROM pg_policy p JOIN caller c ON c.classid = 'pg_policy'::regclass AND c.objid = p.oid
    UNION
    SELECT i.indrelid FROM pg_index i JOIN caller c ON c.classid = 'pg_class'::regclass AND c.objid = i.indexrelid
),
-- What runs a writer when it is read: a view that calls it, itself or through an aggregate or an operator, a table whose
-- policy does, and each view on one of those.
read_caller AS (
    SELECT classid, objid FROM caller
    UNION
    SELECT d.classid, d.objid FROM pg_depend d
    JOIN caller c ON c.classid = 'pg_proc'::regclass AND c.objid = d.refobjid
    WHERE d.refclassid = 'pg_proc'::regclass
),
reading_runs (oid) AS (
    SELECT r.ev_class FROM pg_rewrite r
    JOIN read_caller c ON c.classid = 'pg_rewrite'::regclass AND c.objid = r.oid
    UNION
    SELECT p.polrelid FROM pg_policy p JOIN read_caller c ON c.classid = 'pg_policy'::regclass AND c.objid = p.oid
    UNION
    SELECT r.ev_class FROM reading_runs
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reading_runs.oid
        AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid
),
related AS (SELECT inhrelid AS oid FROM pg_inherits UNION SELECT inhparent FROM pg_inherits),
-- Columns of a time of day: time, time with time zone, arrays of them.
daily AS (
    SELECT attrelid AS oid, bool_or(atttypid IN (1266, 1270)) AS zoned FROM pg_attribute
    WHERE atttypid IN (1083, 1183, 1266, 1270) AND NOT attisdropped GROUP BY attrelid
),
triggered AS (SELECT DISTINCT tgrelid AS oid FROM pg_trigger WHERE NOT tgisinternal),
ruled AS (SELECT DISTINCT ev_class AS oid FROM pg_rewrite),
cascading AS (
    SELECT DISTINCT confrelid AS oid FROM pg_constraint
    WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
),
named_function AS (
    SELECT f.oid, f.proname,
        CASE
            -- These run a text, or the views and tables of a schema.
            WHEN f.built_in AND (f.proname LIKE '%to!_xml%' ESCAPE '!' OR f.proname IN ('ts_stat', 'ts_rewrite')) THEN 'w'
            WHEN f.built_in OR (f.known AND f.provolatile = 'i') THEN 'b'
            WHEN f.oid IN (SELECT oid FROM writer)
                OR f.oid IN (SELECT objid FROM caller WHERE classid = 'pg_proc'::regclass) THEN 'w'
            ELSE 'd'
        END AS routine
    FROM function f
)
SELECT 'database', '', (SELECT oid::text FROM pg_database WHERE datname = current_database()), ''
UNION ALL
SELECT 'relation',
    CASE n.oid WHEN pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname::text END,
    c.relname::text,
    concat(
        c.relkind,
        CASE WHEN c.relpersistence = 't' THEN 't' END,
        CASE WHEN c.relkind = 'r' AND c.relam NOT IN (0, 2) THEN 'a' END,
        CASE WHEN c.relispartition OR related.oid IS NOT NULL THEN 'i' END,
        CASE WHEN c.relrowsecurity THEN 's' END,
        CASE WHEN ruled.oid IS NOT NULL THEN 'r' END,
        CASE WHEN triggered.oid IS NOT NULL THEN 'g' END,
        CASE WHEN cascading.oid IS NOT NULL THEN 'c' END,
        CASE WHEN running.oid IS NOT NULL THEN 'x' END,
        CASE WHEN reading_runs.oid IS NOT NULL AND c.relkind <> 'm' THEN 'w' END,
        CASE WHEN daily.oid IS NOT NULL THEN 'd' END,
        CASE WHEN daily.zoned THEN 'z' END
    )
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN related ON related.oid = c.oid
LEFT JOIN triggered ON triggered.oid = c.oid
LEFT JOIN ruled ON ruled.oid = c.oid
LEFT JOIN cascading ON cascading.oid = c.oid
LEFT JOIN running ON running.oid = c.oid
LEFT JOIN reading_runs ON reading_runs.oid = c.oid
LEFT JOIN daily ON daily.oid = c.oid
-- Indexes and composite types take a name from those behind them in the search path, but a query of one fails. The
-- temporary tables of other sessions cannot be reached.
WHERE c.relkind NOT IN ('i', 'I', 't', 'c') AND (c.relpersistence <> 't' OR n.oid = pg_my_temp_schema())
UNION ALL
SELECT 'function', '', proname::text, max(routine) FROM named_function GROUP BY proname
UNION ALL
-- Functions that a row can be given to and nothing else must be: `t.f` means `f(t)`.
SELECT DISTINCT 'row_function', '', f.proname::text, ''
FROM function f
JOIN named_function USING (oid)
JOIN pg_type t ON t.oid = f.proargtypes[0]
LEFT JOIN pg_type base ON base.oid = t.typbasetype
WHERE named_function.routine <> 'b' AND NOT f.built_in
AND f.pronargs >= 1 AND f.pronargs - f.pronargdefaults <= 1
AND (
    t.typtype = 'c' OR t.typtype = 'd' AND base.typtype IN ('c', 'd')
    OR t.typname IN ('record', 'any', 'anyelement', 'anynonarray', 'anycompatible', 'anycompatiblenonarray')
)
UNION ALL
SELECT 'operator', '', o.oprname::text, max(f.routine)
FROM pg_operator o
JOIN pg_namespace n ON n.oid = o.oprnamespace
JOIN named_function f ON f.oid = o.oprcode
WHERE (o.oid >= 16384 OR n.nspname <> 'pg_catalog')
AND f.oid NOT IN (SELECT oid FROM function WHERE known AND provolatile = 'i')
GROUP BY o.oprname
UNION ALL
SELECT 'cast', format_type(k.castsource, NULL), format_type(k.casttarget, NULL), f.provolatile::text
FROM pg_cast k
JOIN function f ON f.oid = k.castfunc
JOIN pg_type source ON source.oid = k.castsource
WHERE k.oid >= 16384 AND (f.provolatile <> 'i' OR source.typtype = 'c')
UNION ALL
SELECT 'domain', '', t.typname::text, ''
FROM pg_type t
WHERE t.oid IN (SELECT objid FROM caller WHERE classid = 'pg_type'::regclass)
OR t.oid IN (
    SELECT k.contypid FROM pg_constraint k JOIN caller c ON c.classid = 'pg_constraint'::regclass AND c.objid = k.oid
)
UNION ALL
-- Code that may write through a session of its own (dblink, foreign tables, languages that can open connections).
SELECT 'elsewhere', '', '', ''
WHERE EXISTS (
    SELECT FROM function f JOIN pg_language l ON l.oid = f.prolang
    WHERE NOT (f.in_c AND (f.built_in OR f.known)) AND l.lanname NOT IN ('sql', 'plpgsql')
)
