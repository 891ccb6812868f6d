-- What a session's answers depend on besides the data. Rows of (what, value).
-- The session's own search_path is in force, so that every name is qualified and no operator is used.
SELECT setting, pg_catalog.current_setting(setting, true)
FROM pg_catalog.unnest(CAST('{
    search_path, role, is_superuser, row_security, session_replication_role,
    server_version_num, server_encoding, client_encoding, max_identifier_length,
    TimeZone, timezone_abbreviations, DateStyle, IntervalStyle, integer_datetimes,
    lc_collate, lc_ctype, lc_messages, lc_monetary, lc_numeric, lc_time,
    bytea_output, extra_float_digits, xmlbinary, xmloption, array_nulls,
    transform_null_equals, standard_conforming_strings, backslash_quote, quote_all_identifiers,
    default_text_search_config, gin_fuzzy_search_limit,
    default_transaction_isolation, default_transaction_read_only, default_transaction_deferrable
}' AS pg_catalog.text[])) AS settings (setting)
UNION ALL SELECT 'database', CAST(pg_catalog.current_database() AS pg_catalog.text)
UNION ALL SELECT 'user', CAST(CURRENT_USER AS pg_catalog.text)
UNION ALL SELECT 'session_user', CAST(SESSION_USER AS pg_catalog.text)
UNION ALL SELECT 'recovery', CAST(pg_catalog.pg_is_in_recovery() AS pg_catalog.text)
-- Outside a transaction, a statement begins its own.
UNION ALL SELECT 'transaction', CAST(
    pg_catalog.timestamptz_ne(pg_catalog.now(), pg_catalog.statement_timestamp()) AS pg_catalog.text)
UNION ALL SELECT 'temporary', CAST(
    pg_catalog.oidne(pg_catalog.pg_my_temp_schema(), CAST(0 AS pg_catalog.oid)) AS pg_catalog.text)
-- What marks a transaction must not be there outside of one.
UNION ALL SELECT 'mark', coalesce(pg_catalog.current_setting('larder.transaction', true), '')
-- They take their names from tables that others see.
UNION ALL SELECT 'temporary tables', (
    SELECT pg_catalog.string_agg(CAST(c.relname AS pg_catalog.text), '/' ORDER BY c.relname) FROM pg_catalog.pg_class c
    WHERE pg_catalog.oidne(pg_catalog.pg_my_temp_schema(), CAST(0 AS pg_catalog.oid))
    AND pg_catalog.oideq(c.relnamespace, pg_catalog.pg_my_temp_schema()))
-- Not by the name of the current user, since all users must find the same answer.
UNION ALL SELECT 'identifiable', CAST(
    pg_catalog.has_function_privilege('public', 'pg_catalog.pg_control_system()', 'EXECUTE') AS pg_catalog.text)
UNION ALL SELECT 'schema', CAST(schema AS pg_catalog.text)
FROM pg_catalog.unnest(pg_catalog.current_schemas(true)) AS schemas (schema)
