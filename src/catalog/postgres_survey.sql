-- Everything behind the names of a database, as of one snapshot. Rows of (kind of row, schema, name, details, flags, other schema,
-- other name).
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
        p.prolang, p.prolang IN (12, 13) AS in_c, n.nspname, p.prosrc, pg_get_expr(p.proargdefaults, 0) AS defaults,
        -- Whether its body is read here.
        p.prokind IN ('f', 'p') AND l.lanname IN ('sql', 'plpgsql') AS is_read, l.lanname,
        p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_called,
        p.oid < 16384 AND n.nspname IN ('pg_catalog', 'information_schema') AS built_in,
        p.oid IN (
            SELECT d.objid FROM pg_depend d
            JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
            AND e.extname IN (SELECT name FROM known_extension)
        ) AS known
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
),
-- Whoever declares a function stable or immutable promises that it does not write.
writer AS (SELECT oid FROM function WHERE provolatile = 'v' AND NOT built_in AND NOT (known AND in_c)),
-- What calls a writer: an expression, a domain, another function such as an aggregate.
caller (classid, objid, function) AS (
    SELECT d.classid, d.objid, d.refobjid FROM pg_depend d
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM writer)
    UNION
    SELECT d.classid, d.objid, o.oprcode::oid FROM pg_depend d
    JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
    WHERE o.oprcode IN (SELECT oid FROM writer)
),
-- The functions that a table runs when it is written.
running (oid, objid, function) AS (
    SELECT a.adrelid, c.objid, c.function FROM pg_attrdef a
    JOIN caller c ON c.classid = 'pg_attrdef'::regclass AND c.objid = a.oid
    UNION
    SELECT k.conrelid, c.objid, c.function FROM pg_constraint k
    JOIN caller c ON c.classid = 'pg_constraint'::regclass AND c.objid = k.oid
    UNION
    SELECT p.polrelid, c.objid, c.function FROM pg_policy p
    JOIN caller c ON c.classid = 'pg_policy'::regclass AND c.objid = p.oid
    UNION
    SELECT i.indrelid, c.objid, c.function FROM pg_index i
    JOIN caller c ON c.classid = 'pg_class'::regclass AND c.objid = i.indexrelid
    UNION
    SELECT t.tgrelid, c.objid, c.function FROM pg_trigger t
    JOIN caller c ON c.classid = 'pg_trigger'::regclass AND c.objid = t.oid AND c.function <> t.tgfoid
),
-- What runs a writer when it is read: a view that calls it, itself or through an aggregate or an operator, a table whose
-- policy does, and each view on one of those.
-- Those whose bodies are read are found by their names in the text of a view, except in a cast.
read_caller AS (
    SELECT classid, objid FROM caller
    WHERE function NOT IN (SELECT oid FROM function WHERE is_read) OR function IN (SELECT castfunc FROM pg_cast)
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
-- Columns of a time of day: time, time with time zone, arrays of them.
daily AS (
    SELECT attrelid AS oid, bool_or(atttypid IN (1266, 1270)) AS zoned FROM pg_attribute
    WHERE atttypid IN (1083, 1183, 1266, 1270) AND NOT attisdropped GROUP BY attrelid
),
named_function AS (
    SELECT f.oid, f.proname, f.is_read AND NOT f.built_in AND NOT f.known AS is_read,
        CASE
            -- These run a text, or the views and tables of a schema.
            WHEN f.built_in AND (f.proname LIKE '%to!_xml%' ESCAPE '!' OR f.proname IN ('ts_stat', 'ts_rewrite')) THEN 'w'
            WHEN f.built_in THEN 'b'
            WHEN f.known AND f.provolatile = 'i' THEN 'i'
            WHEN f.oid IN (SELECT oid FROM writer)
                OR f.oid IN (SELECT objid FROM caller WHERE classid = 'pg_proc'::regclass) THEN 'w'
            ELSE 'd'
        END AS routine
    FROM function f
)
SELECT 'database', '', (SELECT oid::text FROM pg_database WHERE datname = current_database()), '', '', '', ''
UNION ALL
-- What else decides what is seen: columns, and the rights of this user. Told by sums of hashes, in whatever order.
SELECT 'rights', '',
    concat((SELECT sum(hashtextextended(concat_ws('/', attrelid, attnum, attname, atttypid, attisdropped, attacl), 0))
        FROM pg_attribute WHERE attrelid >= 16384)),
    concat((SELECT sum(hashtextextended(concat_ws('/', oid, relowner, relacl, relforcerowsecurity, reloptions), 0))
        FROM pg_class WHERE oid >= 16384 AND relpersistence <> 't' AND relkind NOT IN ('i', 'I', 't'))),
    concat((SELECT sum(hashtextextended(concat_ws('/', oid, nspacl), 0))
        FROM pg_namespace WHERE nspname NOT LIKE 'pg!_%' ESCAPE '!')),
    concat((SELECT sum(hashtextextended(concat_ws('/', oid, rolsuper, rolbypassrls, rolinherit), 0))
        FROM pg_roles WHERE pg_has_role(oid, 'MEMBER'))),
    concat((SELECT string_agg(concat_ws('/', polname, polroles::text, polpermissive), ',' ORDER BY oid) FROM pg_policy))
UNION ALL
SELECT 'relation',
    CASE n.oid WHEN pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname::text END,
    c.relname::text,
    concat(
        c.relkind,
        CASE WHEN c.relpersistence = 't' THEN 't' END,
        CASE WHEN c.relkind IN ('r', 'm') AND c.relam NOT IN (0, 2) THEN 'a' END,
        CASE WHEN c.relrowsecurity THEN 's' END,
        CASE WHEN reading_runs.oid IS NOT NULL AND c.relkind <> 'm' THEN 'w' END,
        CASE WHEN daily.oid IS NOT NULL THEN 'd' END,
        CASE WHEN daily.zoned THEN 'z' END
    ),
    '', '', ''
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN reading_runs ON reading_runs.oid = c.oid
LEFT JOIN daily ON daily.oid = c.oid
-- Indexes and composite types take a name from those behind them in the search path, but a query of one fails. The
-- temporary tables of other sessions cannot be reached.
WHERE c.relkind NOT IN ('i', 'I', 't', 'c') AND (c.relpersistence <> 't' OR n.oid = pg_my_temp_schema())
UNION ALL
SELECT 'function', '', proname::text, max(routine), '', '', '' FROM named_function WHERE NOT is_read GROUP BY proname
UNION ALL
SELECT 'source', f.nspname::text, f.proname::text, concat(coalesce(/* sql body */ NULL, f.prosrc), ' ' || f.defaults), n.routine,
    -- What is compared with a time of day with a zone takes today's offset.
    -- Nor is what a parameter is by default read as a part of the body.
    CASE WHEN f.proargtypes::oid[] && '{1266, 1270}' OR f.pronargdefaults > 0 THEN '' ELSE f.lanname::text END,
    CASE WHEN f.is_called THEN 'called' ELSE '' END
FROM function f JOIN named_function n USING (oid) WHERE n.is_read
UNION ALL
SELECT 'definition', n.nspname::text, c.relname::text, concat(pg_get_viewdef(c.oid)), '', '', ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('v', 'm') AND c.oid >= 16384
UNION ALL
SELECT 'child', cn.nspname::text, c.relname::text, c.relpersistence::text, '', pn.nspname::text, p.relname::text
FROM pg_inherits i
JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE p.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'cascade', pn.nspname::text, p.relname::text, k.conname::text, concat(k.confdeltype, k.confupdtype), cn.nspname::text,
    c.relname::text
FROM pg_constraint k
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'trigger', n.nspname::text, c.relname::text, t.tgname::text, t.tgtype::text, f.nspname::text, f.proname::text
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN function f ON f.oid = t.tgfoid
WHERE NOT t.tgisinternal
UNION ALL
SELECT 'rule', n.nspname::text, c.relname::text,
    -- What follows its name.
    concat(substr(pg_get_ruledef(r.oid), length('CREATE RULE ' || quote_ident(r.rulename) || ' AS') + 1)), r.ev_type::text, '',
    r.rulename::text
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.ev_type <> '1' AND c.oid >= 16384
UNION ALL
SELECT 'runs', n.nspname::text, c.relname::text, quote_ident(f.proname), '', '', f.proname::text
FROM running r
JOIN pg_class c ON c.oid = r.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc f ON f.oid = r.function
UNION ALL
SELECT 'policy', n.nspname::text, c.relname::text,
    format('SELECT 1 FROM %I.%I WHERE %s', n.nspname, c.relname, coalesce(pg_get_expr(p.polqual, p.polrelid), 'true')), '', '',
    p.polname::text
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.polcmd IN ('*', 'r')
UNION ALL
-- Functions that a row can be given to and nothing else must be: `t.f` means `f(t)`.
SELECT DISTINCT 'row_function', '', f.proname::text, '', '', '', ''
FROM function f
JOIN named_function USING (oid)
JOIN pg_type t ON t.oid = f.proargtypes[0]
LEFT JOIN pg_type base ON base.oid = t.typbasetype
WHERE named_function.routine NOT IN ('b', 'i') AND NOT f.built_in
AND f.pronargs >= 1 AND f.pronargs - f.pronargdefaults <= 1
AND (
    t.typtype = 'c' OR t.typtype = 'd' AND base.typtype IN ('c', 'd')
    OR t.typname IN ('record', 'any', 'anyelement', 'anynonarray', 'anycompatible', 'anycompatiblenonarray')
)
UNION ALL
SELECT 'operator', '', o.oprname::text, f.routine, '', '', f.proname::text
FROM pg_operator o
JOIN pg_namespace n ON n.oid = o.oprnamespace
JOIN named_function f ON f.oid = o.oprcode
WHERE (o.oid >= 16384 OR n.nspname <> 'pg_catalog')
AND f.oid NOT IN (SELECT oid FROM function WHERE known AND provolatile = 'i')
UNION ALL
SELECT 'cast', format_type(k.castsource, NULL), format_type(k.casttarget, NULL), f.provolatile::text, '', '', ''
FROM pg_cast k
JOIN function f ON f.oid = k.castfunc
JOIN pg_type source ON source.oid = k.castsource
WHERE k.oid >= 16384 AND (f.provolatile <> 'i' OR source.typtype = 'c')
UNION ALL
SELECT 'domain', '', t.typname::text, '', '', '', ''
FROM pg_type t
WHERE t.oid IN (SELECT objid FROM caller WHERE classid = 'pg_type'::regclass)
OR t.oid IN (
    SELECT k.contypid FROM pg_constraint k JOIN caller c ON c.classid = 'pg_constraint'::regclass AND c.objid = k.oid
)
UNION ALL
-- Code that may write through a session of its own (dblink, foreign tables, languages that can open connections).
SELECT 'elsewhere', '', '', '', '', '', ''
WHERE EXISTS (
    SELECT FROM function f JOIN pg_language l ON l.oid = f.prolang
    WHERE NOT (f.in_c AND (f.built_in OR f.known)) AND l.lanname NOT IN ('sql', 'plpgsql')
)
