//! Functions of SQLite, from `pragma_function_list` and the manual.

use super::Lists;
use crate::analysis::word_set::WordSet;

/// Deterministic, aggregates and window functions included.
static CACHEABLE: WordSet = WordSet::new(
    "
    abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling char coalesce concat concat_ws cos cosh count
    cume_dist degrees dense_rank exp first_value floor format generate_series glob group_concat hex highlight if
    ifnull iif instr json json_array json_array_length json_each json_error_position json_extract json_group_array
    json_group_object json_insert json_object json_patch json_pretty json_quote json_remove json_replace json_set
    json_tree json_type json_valid jsonb jsonb_array jsonb_each jsonb_extract jsonb_group_array jsonb_group_object
    jsonb_insert jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set jsonb_tree lag last_value lead length
    like likelihood likely ln log log10 log2 lower ltrim matchinfo max median min mod nth_value ntile nullif
    octet_length offsets percent_rank percentile percentile_cont percentile_disc pi pow power printf quote radians
    rank replace round row_number rtrim sign sin sinh snippet soundex sqrt string_agg substr substring subtype sum
    tan tanh total trim trunc typeof unhex unicode unistr unistr_quote unlikely upper zeroblob
",
);

static HARMLESS: WordSet = WordSet::new(
    "
    changes current_date current_time current_timestamp last_insert_rowid random randomblob sqlite_compileoption_get
    sqlite_compileoption_used sqlite_offset sqlite_source_id sqlite_version total_changes
",
);

/// Read the clock when their time value is missing, or is the text `now`.
static DATES: WordSet = WordSet::new("date datetime julianday strftime time timediff unixepoch");

pub(super) static LISTS: Lists = Lists { cacheable: &CACHEABLE, harmless: &HARMLESS, dates: &DATES, session: None };
