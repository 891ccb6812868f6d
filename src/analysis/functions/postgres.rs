//! Functions of Postgres 13 to 18, sorted by hand from `pg_proc`.

use super::Lists;
use crate::analysis::word_set::WordSet;

/// Immutable by `pg_proc`, or stable because they depend on settings of the session or on the schema alone.
static CACHEABLE: WordSet = WordSet::new(
    "
    row abbrev abs acos acosd acosh any_value area array_agg array_append array_cat array_dims array_fill array_length
    array_lower array_ndims array_position array_positions array_prepend array_remove array_replace array_reverse
    array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin asind asinh atan atan2 atan2d
    atand atanh avg bit bit_and bit_count bit_length bit_or bit_xor bool bool_and bool_or box bpchar broadcast
    cardinality casefold cash_words cbrt ceil ceiling center char char_length character_length chr cidr circle
    coalesce concat concat_ws convert convert_from convert_to corr cos cosd cosh cot cotd count covar_pop covar_samp
    crc32 crc32c cume_dist date_add date_bin date_part date_subtract date_trunc datemultirange daterange decode
    degrees dense_rank dexp diagonal diameter div dlog1 dlog10 dround dtrunc encode erf erfc every exp extract
    factorial family first_value floor format gamma gcd generate_series generate_subscripts get_bit get_byte
    greatest grouping hashtext hashtextextended height host hostmask inet_merge inet_same_family initcap int2 int4
    int4multirange int4range int8 int8multirange int8range interval is_normalized isclosed isempty isfinite
    ishorizontal isopen isparallel isperp isvertical json_agg json_agg_strict json_array json_array_elements
    json_array_elements_text json_array_length json_arrayagg json_build_array json_build_object json_each
    json_each_text json_exists json_extract_path json_extract_path_text json_object json_object_agg
    json_object_agg_strict json_object_agg_unique json_object_keys json_objectagg json_query json_scalar
    json_serialize json_strip_nulls json_to_tsvector json_typeof json_value jsonb_agg jsonb_agg_strict
    jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object
    jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg
    jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz
    jsonb_path_match jsonb_path_match_tz jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz
    jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_pretty jsonb_set jsonb_set_lax
    jsonb_strip_nulls jsonb_to_tsvector jsonb_typeof justify_days justify_hours justify_interval lag last_value lcm
    lead least left length lgamma like like_escape line ln log log10 lower lower_inc lower_inf lpad lseg ltrim
    macaddr macaddr8 macaddr8_set7bit make_date make_interval make_time make_timestamp make_timestamptz masklen max
    md5 min min_scale mod mode money multirange name netmask network normalize notlike npoints nth_value ntile
    nullif num_nonnulls num_nulls numeric numeric_div_trunc numeric_exp numeric_ln numeric_log numeric_sqrt
    nummultirange numnode numrange octet_length oid overlaps overlay parse_ident path pclose percent_rank
    percentile_cont percentile_disc pg_size_bytes pg_size_pretty pg_typeof phraseto_tsquery pi plainto_tsquery point
    polygon popen position pow power querytree quote_ident quote_literal quote_nullable radians radius range_agg
    range_intersect_agg range_merge rank regexp_count regexp_instr regexp_like regexp_match regexp_matches
    regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number
    row_to_json rpad rtrim scale set_bit set_byte set_masklen setweight sha224 sha256 sha384 sha512 sign
    similar_escape similar_to_escape sin sind sinh slope split_part sqrt starts_with stddev stddev_pop stddev_samp
    string_agg string_to_array string_to_table strip strpos substr substring sum tan tand tanh text textlen timezone
    to_ascii to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct to_timestamp to_tsquery to_tsvector
    translate trim trim_array trim_scale trunc ts_delete ts_filter ts_headline ts_lexize ts_rank ts_rank_cd
    tsmultirange tsquery_phrase tsrange tstzmultirange tstzrange tsvector_to_array unistr unnest upper upper_inc
    upper_inf uuid_extract_timestamp uuid_extract_version var_pop var_samp varbit varchar variance
    websearch_to_tsquery width width_bucket xml_is_well_formed xml_is_well_formed_content
    xml_is_well_formed_document xmlagg xmlcomment xmlconcat xmlelement xmlexists xmlforest xmlparse xmlpi xmlroot
    xmlserialize xmltext xmlvalidate xpath xpath_exists
",
);

/// Built in and without effect on any table, but not to be cached: clocks, chance, sequences, locks, catalogs, sizes,
/// and functions that turn texts inside a document into dates.
static HARMLESS: WordSet = WordSet::new("
    aclexplode current_date current_time current_timestamp localtime localtimestamp array_sample array_shuffle clock_timestamp col_description current_catalog current_database
    current_query current_role current_schema current_schemas current_setting current_user currval date_in
    enum_first enum_last enum_range format_type gen_random_uuid get_current_ts_config getdatabaseencoding
    getpgusername has_any_column_privilege has_column_privilege has_database_privilege
    has_foreign_data_wrapper_privilege has_function_privilege has_language_privilege has_parameter_privilege
    has_schema_privilege has_sequence_privilege has_server_privilege has_table_privilege has_tablespace_privilege
    has_type_privilege inet_client_addr inet_client_port inet_server_addr inet_server_port json_populate_record
    json_populate_recordset json_to_record json_to_recordset jsonb_populate_record jsonb_populate_record_valid
    jsonb_populate_recordset jsonb_to_record jsonb_to_recordset lastval merge_action mxid_age nextval now
    obj_description oidvectortypes pg_advisory_lock pg_advisory_lock_shared pg_advisory_unlock
    pg_advisory_unlock_all pg_advisory_unlock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
    pg_backend_pid pg_blocking_pids pg_cancel_backend pg_char_to_encoding pg_client_encoding pg_collation_for
    pg_column_compression pg_column_size pg_conf_load_time pg_create_restore_point pg_current_snapshot
    pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn pg_current_xact_id
    pg_current_xact_id_if_assigned pg_database_size pg_describe_object pg_encoding_to_char pg_export_snapshot
    pg_filenode_relation pg_function_is_visible pg_get_constraintdef pg_get_expr pg_get_function_arguments
    pg_get_function_identity_arguments pg_get_function_result pg_get_functiondef pg_get_indexdef pg_get_keywords
    pg_get_object_address pg_get_partition_constraintdef pg_get_partkeydef pg_get_ruledef pg_get_serial_sequence
    pg_get_statisticsobjdef pg_get_triggerdef pg_get_userbyid pg_get_viewdef pg_has_role pg_identify_object
    pg_indexes_size pg_input_error_info pg_input_is_valid pg_is_in_recovery pg_is_other_temp_schema
    pg_is_wal_replay_paused pg_jit_available pg_last_committed_xact pg_last_wal_receive_lsn pg_last_wal_replay_lsn
    pg_last_xact_replay_timestamp pg_listening_channels pg_lock_status pg_my_temp_schema pg_notification_queue_usage
    pg_notify pg_operator_is_visible pg_options_to_table pg_partition_ancestors pg_partition_root pg_partition_tree
    pg_postmaster_start_time pg_promote pg_relation_filenode pg_relation_filepath pg_relation_size pg_reload_conf
    pg_rotate_logfile pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_sequence_parameters
    pg_show_all_settings pg_sleep pg_sleep_for pg_sleep_until pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin
    pg_stat_clear_snapshot pg_stat_get_activity pg_stat_get_backend_pid pg_stat_get_dead_tuples
    pg_stat_get_live_tuples pg_stat_get_numscans pg_stat_get_tuples_deleted pg_stat_get_tuples_inserted
    pg_stat_get_tuples_updated pg_stat_reset pg_switch_wal pg_table_is_visible pg_table_size pg_tablespace_size
    pg_terminate_backend pg_timezone_abbrevs pg_timezone_names pg_total_relation_size pg_trigger_depth
    pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock pg_try_advisory_xact_lock_shared
    pg_type_is_visible pg_visible_in_snapshot pg_wal_lsn_diff pg_walfile_name pg_xact_commit_timestamp
    pg_xact_status random random_normal regclass row_security_active session_user setseed setval shobj_description
    statement_timestamp system_user time_in timeofday timestamp_in timestamptz_in timetz_in to_regclass
    to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure to_regrole to_regtype
    transaction_timestamp ts_debug ts_parse ts_token_type txid_current txid_current_if_assigned
    txid_current_snapshot txid_snapshot_xip txid_snapshot_xmax txid_snapshot_xmin txid_status
    txid_visible_in_snapshot user uuidv4 uuidv7 version
");

/// Cast their argument to a type that reads the clock when it is given the text `now`.
static DATE_CASTS: WordSet = WordSet::new("date time timetz timestamp timestamptz");

pub(super) static LISTS: Lists =
    Lists { cacheable: &CACHEABLE, harmless: &HARMLESS, dates: &DATE_CASTS, session: Some("set_config") };
