//! Reserved words: an identifier without quotes never is one of them. A parser that takes one for a name has understood
//! something else than the server will.

use super::facts::Dialect;
use super::word_set::WordSet;

/// Postgres: `pg_get_keywords()`, category R.
static POSTGRES: WordSet = WordSet::new(
    "
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_catalog current_date current_role current_time current_timestamp current_user default deferrable desc
    distinct do else end except false fetch for foreign from grant group having in initially intersect into lateral
    leading limit localtime localtimestamp not null offset on only or order placing primary references returning
    select session_user some symmetric system_user table then to trailing true union unique user using variadic when
    where window with
",
);

/// Postgres: `pg_get_keywords()`, category T; these may name functions and types.
static POSTGRES_FUNCTIONS: WordSet = WordSet::new(
    "
    authorization binary collation concurrently cross current_schema freeze full ilike inner is isnull join left
    like natural notnull outer overlaps right similar tablesample verbose
",
);

/// MySQL 8, without PRIMARY, which is the name of an index in `USE INDEX (PRIMARY)`.
static MYSQL: WordSet = WordSet::new(
    "
    accessible add all alter analyze and as asc asensitive before between bigint binary blob both by call cascade
    case change char character check collate column condition constraint continue convert create cross cube
    cume_dist current_date current_time current_timestamp current_user cursor database databases day_hour
    day_microsecond day_minute day_second dec decimal declare default delayed delete dense_rank desc describe
    deterministic distinct distinctrow div double drop dual each else elseif empty enclosed escaped except exists
    exit explain false fetch first_value float for force foreign from fulltext function generated get grant group
    grouping groups having high_priority hour_microsecond hour_minute hour_second if ignore in index infile inner
    inout insensitive insert int integer intersect interval into io_after_gtids io_before_gtids is iterate join
    json_table key keys kill lag last_value lateral lead leading leave left like limit linear lines load localtime
    localtimestamp lock long longblob longtext loop low_priority master_bind match maxvalue mediumblob mediumint
    mediumtext middleint minute_microsecond minute_second mod modifies natural no_write_to_binlog not nth_value
    ntile null numeric of on optimize optimizer_costs option optionally or order out outer outfile over partition
    percent_rank precision procedure purge range rank read read_write reads real recursive references regexp
    release rename repeat replace require resignal restrict return revoke right rlike row_number schema schemas
    second_microsecond select sensitive separator set show signal smallint spatial specific sql sql_big_result
    sql_calc_found_rows sql_small_result sqlexception sqlstate sqlwarning ssl starting stored straight_join system
    table terminated then tinyblob tinyint tinytext to trailing trigger true undo union unique unlock unsigned
    update usage use using utc_date utc_time utc_timestamp values varbinary varchar varcharacter varying virtual
    when where while window with write xor year_month zerofill
",
);

/// SQLite: those that it does not accept as the name of a table, and those of joins.
static SQLITE: WordSet = WordSet::new(
    "
    add all alter and as autoincrement between case check collate commit constraint create cross default deferrable
    delete distinct drop else escape except exists foreign from full group having if in index inner insert intersect
    into is isnull join left limit natural not nothing notnull null on or order outer primary references returning
    right select set table then to transaction union unique update using values when where
",
);

/// Whether an unquoted `word` cannot be the name of a table, a column or an alias.
pub(super) fn is_reserved(word: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Postgres => POSTGRES.contains_lowered(word) || POSTGRES_FUNCTIONS.contains_lowered(word),
        Dialect::MySql => MYSQL.contains_lowered(word),
        Dialect::Sqlite => SQLITE.contains_lowered(word),
    }
}

/// Whether an unquoted `word` cannot be the name of a function that is called with parentheses.
pub(super) fn is_reserved_for_functions(word: &str, dialect: Dialect) -> bool {
    dialect == Dialect::Postgres && POSTGRES.contains_lowered(word)
}

/// Words that ask for the time or the session without parentheses.
const NILADIC_POSTGRES: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "session_user",
    "system_user",
    "user",
];
const NILADIC_MYSQL: &[&str] = &[
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "localtime",
    "localtimestamp",
    "utc_date",
    "utc_time",
    "utc_timestamp",
];
const NILADIC_SQLITE: &[&str] = &["current_date", "current_time", "current_timestamp"];

/// The words that call a volatile function without parentheses.
pub(super) fn niladic(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Postgres => NILADIC_POSTGRES,
        Dialect::MySql => NILADIC_MYSQL,
        Dialect::Sqlite => NILADIC_SQLITE,
    }
}
