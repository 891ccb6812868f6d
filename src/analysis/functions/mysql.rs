//! Functions of MySQL 8 and MariaDB, from their manuals and from `information_schema.SQL_FUNCTIONS` of MariaDB. A function
//! that somebody stored under a name that only the other server has is known to the catalog; one that he loaded from a
//! library is shown to few, so that the catalog is told those names.

use super::Lists;
use crate::analysis::word_set::WordSet;

/// Depend on their arguments and on settings of the session.
static CACHEABLE: WordSet = WordSet::new(
    "
    row abs acos addtime aes_decrypt any_value ascii asin atan atan2 avg bin bin_to_uuid bit_and bit_count bit_length
    bit_or bit_xor ceil ceiling char char_length character_length charset chr coalesce coercibility collation column_check column_exists column_json
    column_list crc32c lengthb natural_sort_key nvl nvl2 sformat
    compress concat concat_ws conv cos cot count crc32 cume_dist degrees dense_rank elt exp export_set extract field
    find_in_set first_value floor format format_bytes from_base64 from_days from_unixtime geometrycollection
    get_format greatest group_concat grouping gtid_subset gtid_subtract hex hour if ifnull inet6_aton inet6_ntoa
    inet_aton inet_ntoa insert instr interval is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_uuid isnull
    json_array json_array_append json_array_insert json_arrayagg json_compact json_contains json_contains_path
    json_depth json_detailed json_equals json_exists json_extract json_insert json_keys json_length json_loose
    json_merge json_merge_patch json_merge_preserve json_normalize json_object json_objectagg json_overlaps
    json_pretty json_query json_quote json_remove json_replace json_schema_valid json_search json_set
    json_storage_size json_table json_type json_unquote json_valid json_value lag last_value lcase lead least left
    length linestring ln locate log log10 log2 lower lpad ltrim make_set makedate maketime match max mbrcontains
    mbrintersects mbrwithin md5 median microsecond mid min minute mod multilinestring multipoint multipolygon
    name_const nth_value ntile nullif oct octet_length ord percent_rank percentile_cont percentile_disc period_add
    period_diff pi point polygon position pow power quote radians rank regexp_instr regexp_like regexp_replace
    regexp_substr repeat replace reverse right round row_number rpad rtrim sec_to_time second sha sha1 sha2 sign sin
    soundex space sqrt st_area st_asbinary st_asgeojson st_astext st_aswkb st_aswkt st_buffer st_centroid
    st_contains st_convexhull st_crosses st_difference st_dimension st_disjoint st_distance st_distance_sphere
    st_endpoint st_envelope st_equals st_exteriorring st_geohash st_geometryn st_geometrytype st_geomfromgeojson
    st_geomfromtext st_geomfromwkb st_interiorringn st_intersection st_intersects st_isclosed st_isempty st_issimple
    st_isvalid st_latfromgeohash st_latitude st_length st_longfromgeohash st_longitude st_makeenvelope
    st_numgeometries st_numinteriorrings st_numpoints st_overlaps st_pointfromgeohash st_pointfromtext st_pointn
    st_simplify st_srid st_startpoint st_swapxy st_symdifference st_touches st_transform st_union st_validate
    st_within st_x st_y std stddev stddev_pop stddev_samp str_to_date strcmp substr substring substring_index
    subtime sum tan time time_format time_to_sec timediff to_base64 trim truncate ucase uncompress
    uncompressed_length unhex upper uuid_to_bin var_pop var_samp variance weight_string
",
);

/// The XPath of `extractvalue` and `updatexml` may hold variables of the session: `$@x`.
static HARMLESS: WordSet = WordSet::new(
    "
    binlog_gtid_pos des_decrypt des_encrypt master_gtid_wait old_password wsrep_last_seen_gtid wsrep_last_written_gtid
    wsrep_sync_wait_upto_gtid aes_encrypt benchmark connection_id curdate current_date current_role current_time current_timestamp
    current_user curtime database default encrypt extractvalue format_pico_time found_rows get_lock icu_version is_free_lock
    is_used_lock json_storage_free last_insert_id lastval load_file localtime localtimestamp master_pos_wait nextval
    now password ps_current_thread_id ps_thread_id rand random_bytes release_all_locks release_lock roles_graphml
    row_count schema session_user setval sleep source_pos_wait sys_guid sysdate system_user user utc_date utc_time
    updatexml utc_timestamp uuid uuid_short value values version wait_for_executed_gtid_set
",
);

/// A value of type TIME becomes a date by taking today's.
static DATES: WordSet = WordSet::new(
    "
    add_months adddate convert_tz date date_add date_format date_sub datediff day dayname dayofmonth dayofweek dayofyear last_day
    month monthname quarter subdate time timestamp timestampadd timestampdiff to_char to_days to_seconds unix_timestamp week
    weekday weekofyear year yearweek
",
);

/// Of those that may be kept, those that MariaDB 10.11 does not have, and those that MySQL 8 does not have.
#[cfg(feature = "mysql")]
const ONLY_MYSQL: &str = "
    any_value bin_to_uuid format_bytes grouping gtid_subset gtid_subtract is_uuid json_schema_valid json_storage_size
    regexp_like st_geohash st_isvalid st_latfromgeohash st_latitude st_longfromgeohash st_longitude st_makeenvelope
    st_pointfromgeohash st_simplify st_swapxy st_transform st_validate uuid_to_bin
";
#[cfg(feature = "mysql")]
const ONLY_MARIADB: &str = "
    add_months chr column_check column_exists column_json column_list crc32c json_compact json_detailed json_equals
    json_exists json_loose json_normalize json_query lengthb median natural_sort_key nvl nvl2 percentile_cont
    percentile_disc sformat to_char
";

/// The known functions that a server of a version does not have, so that one of that name is somebody's own.
#[cfg(feature = "mysql")]
pub(super) fn not_built_in(version: &str) -> impl Iterator<Item = &'static str> {
    let names = if version.to_ascii_lowercase().contains("mariadb") { ONLY_MYSQL } else { ONLY_MARIADB };
    names.split_ascii_whitespace()
}

pub(super) static LISTS: Lists = Lists { cacheable: &CACHEABLE, harmless: &HARMLESS, dates: &DATES, session: None };
