//! What a database server knows of its statements, and what it does not.
//!
//! In: a URL. Out: counted statements, and the gaps between them and all that ran. It only reads, and judges nothing.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row};

use crate::analysis::{Dialect, without_literals};
use crate::cli::Failure;
use crate::cli::database::answer;

/// So many of the heaviest and so many of the most frequent statements are looked at: a cheap write that runs all the time decides how
/// long results live.
const MOST: i64 = 5_000;

/// The longest name in a digest, in bytes, with its mark and its length: where less room is left, something may be missing.
const LONGEST_NAME: usize = 64 * 3 + 4;

/// What the server knows of one statement.
#[derive(Debug)]
pub(super) struct Counted {
    /// Its text as the server tells it, which may hold values.
    pub text: String,
    /// The same for people, without values.
    pub sql: String,
    /// Whether the server kept a part of its text only.
    pub is_cut: bool,
    pub calls: f64,
    pub time: Duration,
    pub rows: f64,
}

/// What the server knows of all.
#[derive(Debug)]
pub(super) struct Statistics {
    /// The heaviest first.
    pub statements: Vec<Counted>,
    /// For how long they were counted, or why that is not known.
    pub over: Result<Duration, &'static str>,
    /// What was counted but cannot be looked at.
    pub unseen: Vec<Unseen>,
    /// What the figures do not show, besides.
    pub gaps: Vec<String>,
}

/// Calls that were counted without a text that could be looked at.
#[derive(Debug)]
pub(super) struct Unseen {
    pub calls: f64,
    pub time: Duration,
    /// What they are, and what can be done about it.
    pub why: String,
}

impl Statistics {
    /// Asks the server behind the URL.
    pub async fn of(url: &str) -> Result<Self, Failure> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => of_postgres(url).await,
            Some("mysql" | "mariadb") => of_mysql(url).await,
            Some("sqlite") => {
                Err(Failure::Usage("SQLite keeps no statistics of its statements: use `larder explain`".into()))
            }
            _ => Err(Failure::Usage("--database-url must begin with postgres://, mysql:// or mariadb://".into())),
        }
    }

    fn unseen(&mut self, (calls, time): (f64, Duration), why: impl Into<String>) {
        if calls > 0.0 {
            self.unseen.push(Unseen { calls, time, why: why.into() });
        }
    }
}

async fn of_postgres(url: &str) -> Result<Statistics, Failure> {
    let mut connection = answer(PgConnection::connect(url)).await?;
    let place = "SELECT n.nspname::text, \
        EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'pg_stat_statements_info'), \
        current_setting('server_version_num')::int >= 130000, quote_ident(current_user), \
        coalesce(current_setting('pg_stat_statements.track', true) = 'all', false) \
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";
    let Some(place) = answer(sqlx::query(place).fetch_optional(&mut connection)).await? else {
        return Err(Failure::failed(
            "this database has no pg_stat_statements: put it into shared_preload_libraries, restart the server, run \
             CREATE EXTENSION pg_stat_statements, and come again after some hours of work",
        ));
    };
    let (schema, tells_reset, is_new): (String, bool, bool) = (place.get(0), place.get(1), place.get(2));
    let user: String = place.get(3);
    let schema = format!("\"{}\"", schema.replace('"', "\"\""));
    let time = if is_new { "total_exec_time" } else { "total_time" };
    // Of other users, somebody without rights sees this text or none. It is not one that can be run.
    let sql = format!(
        "WITH counted AS (SELECT query, sum(calls)::float8 AS calls, sum({time})::float8 AS time, sum(rows)::float8 AS rows, \
           CASE WHEN query = '<insufficient privilege>' THEN 'hidden' WHEN query IS NULL THEN 'lost' ELSE '' END AS gap \
           FROM {schema}.pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
           GROUP BY query), \
         ranked AS (SELECT *, row_number() OVER (PARTITION BY gap ORDER BY time DESC) <= {MOST} \
           OR row_number() OVER (PARTITION BY gap ORDER BY calls DESC) <= {MOST} AS is_looked_at FROM counted) \
         SELECT query, calls, time, rows, gap FROM ranked WHERE is_looked_at AND gap = '' \
         UNION ALL SELECT NULL, sum(calls), sum(time), sum(rows), CASE gap WHEN '' THEN 'rest' ELSE gap END FROM ranked \
         WHERE NOT (is_looked_at AND gap = '') GROUP BY 5 ORDER BY 3 DESC"
    );
    let rows = answer(sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection)).await?;
    let figures = |row: &PgRow| (row.get::<f64, _>(1), milliseconds(row.get(2)));
    let over = Err("PostgreSQL before 14 does not tell since when it counts");
    let mut statistics = Statistics { statements: Vec::new(), over, unseen: Vec::new(), gaps: Vec::new() };
    for row in &rows {
        let (calls, time) = figures(row);
        match row.get::<&str, _>(4) {
            "" => {
                let (text, rows): (String, f64) = (row.get(0), row.get(3));
                let sql = without_literals(&text, Dialect::Postgres);
                statistics.statements.push(Counted { text, sql, is_cut: false, calls, time, rows });
            }
            "hidden" => statistics.unseen(
                (calls, time),
                format!(
                    "statements of other users, whose text this user may not see: GRANT pg_read_all_stats TO {user}"
                ),
            ),
            "lost" => statistics.unseen((calls, time), "statements whose text the server lost"),
            _ => statistics.unseen((calls, time), beyond()),
        }
    }
    if tells_reset {
        let sql = format!(
            "SELECT date_part('epoch', now() - stats_reset)::float8, dealloc FROM {schema}.pg_stat_statements_info"
        );
        let row = answer(sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut connection)).await?;
        let over = row.get::<Option<f64>, _>(0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        statistics.over = over.ok_or("the server does not tell since when it counts");
        let evicted: i64 = row.get(1);
        if evicted > 0 {
            statistics.gaps.push(format!(
                "The server forgot its rarest statements {evicted} times to make room, with their calls and writes: raise \
                 pg_stat_statements.max."
            ));
        }
    } else {
        statistics.gaps.push(
            "PostgreSQL before 14 does not tell whether it forgot rare statements, with their calls and writes.".into(),
        );
    }
    if place.get(4) {
        let twice = "Statements in functions are counted twice, by themselves and in their callers: pg_stat_statements.track is all.";
        statistics.gaps.push(twice.into());
    }
    Ok(statistics)
}

async fn of_mysql(url: &str) -> Result<Statistics, Failure> {
    let mut connection = answer(MySqlConnection::connect(url)).await?;
    let server = "SELECT @@performance_schema = 1, VERSION(), CAST(@@max_digest_length AS SIGNED), \
        CAST(@@performance_schema_max_digest_length AS SIGNED), CURRENT_USER(), DATABASE() IS NOT NULL";
    let server = answer(sqlx::query(server).fetch_one(&mut connection)).await?;
    if !server.get::<bool, _>(0) {
        return Err(Failure::failed(
            "this server keeps no statistics of its statements: start it with performance_schema=ON, and come again after some hours \
             of work",
        ));
    }
    if !server.get::<bool, _>(5) {
        return Err(Failure::Usage("--database-url must name a database: mysql://user@host/database".into()));
    }
    let (is_mariadb, user) = (server.get::<String, _>(1).contains("MariaDB"), server.get::<String, _>(4));
    let digest_length = usize::try_from(server.get::<i64, _>(2).min(server.get(3))).unwrap_or_default();
    const FIGURES: &str = "CAST(COUNT_STAR AS DOUBLE) AS calls, CAST(SUM_TIMER_WAIT AS DOUBLE) AS time, \
        CAST(SUM_ROWS_SENT AS DOUBLE) AS sent, CAST(TIMESTAMPDIFF(SECOND, FIRST_SEEN, NOW()) AS DOUBLE) AS since \
        FROM performance_schema.events_statements_summary_by_digest";
    // By calls and by time in two, since old servers have no window functions; a digest in both is taken once.
    let sql = format!(
        "(SELECT DIGEST_TEXT, DIGEST, {FIGURES} WHERE SCHEMA_NAME = DATABASE() AND DIGEST_TEXT IS NOT NULL \
           ORDER BY SUM_TIMER_WAIT DESC LIMIT {MOST}) UNION \
         (SELECT DIGEST_TEXT, DIGEST, {FIGURES} WHERE SCHEMA_NAME = DATABASE() AND DIGEST_TEXT IS NOT NULL \
           ORDER BY COUNT_STAR DESC LIMIT {MOST})"
    );
    let rows = match answer(sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection)).await {
        Err(Failure::Failed(text)) if text.contains("command denied") => {
            let grant = "GRANT SELECT ON performance_schema.* TO";
            let user = user.replace('@', "'@'");
            return Err(Failure::Failed(format!("{text}. {grant} '{user}' lets it read the statistics")));
        }
        rows => rows?,
    };
    let mut over = 0.0_f64;
    let mut statements: HashMap<(String, bool), Counted> = HashMap::new();
    let mut seen: HashMap<String, f64> = HashMap::new();
    for row in &rows {
        // A statement that ran between the two halves is in both, with other figures.
        let calls = row.get::<f64, _>(2);
        if seen.insert(row.get(1), calls).is_some() {
            continue;
        }
        over = over.max(row.get::<Option<f64>, _>(5).unwrap_or_default());
        let digest: String = row.get(0);
        let is_cut = is_cut(&digest, is_mariadb.then_some(digest_length));
        let text = readable(&digest);
        let sql = without_literals(&text, Dialect::MySql);
        let known = statements.entry((sql.clone(), is_cut));
        let counted =
            known.or_insert_with(|| Counted { text, sql, is_cut, calls: 0.0, time: Duration::ZERO, rows: 0.0 });
        counted.calls += calls;
        counted.time += picoseconds(row.get(3));
        counted.rows += row.get::<f64, _>(4);
    }
    let mut statements: Vec<Counted> = statements.into_values().collect();
    statements.sort_by_key(|counted| std::cmp::Reverse(counted.time));
    let over = Duration::try_from_secs_f64(over).ok().filter(|over| !over.is_zero());
    let mut statistics = Statistics {
        statements,
        over: over.ok_or("the server has counted for less than a second"),
        unseen: Vec::new(),
        gaps: Vec::new(),
    };
    let sums = "SELECT CASE WHEN DIGEST_TEXT IS NULL THEN 'lost' WHEN SCHEMA_NAME IS NULL THEN 'none' ELSE '' END, \
        CAST(SUM(COUNT_STAR) AS DOUBLE), CAST(SUM(SUM_TIMER_WAIT) AS DOUBLE) \
        FROM performance_schema.events_statements_summary_by_digest \
        WHERE DIGEST_TEXT IS NULL OR SCHEMA_NAME IS NULL OR SCHEMA_NAME = DATABASE() GROUP BY 1";
    let sums = answer(sqlx::query(sums).fetch_all(&mut connection)).await?;
    let figures = |row: &MySqlRow| (row.get::<f64, _>(1), picoseconds(row.get(2)));
    for row in &sums {
        let (calls, time) = figures(row);
        match row.get::<&str, _>(0) {
            "lost" => statistics.unseen(
                (calls, time),
                "statements of any database that the server does not tell apart: raise performance_schema_digests_size",
            ),
            "none" => statistics.unseen((calls, time), "statements of connections without a default database"),
            _ => {
                let all = |of: fn(&Counted) -> f64| statistics.statements.iter().map(of).sum::<f64>();
                let seen = (all(|one| one.calls), all(|one| one.time.as_secs_f64()));
                // What ran since does not make a gap.
                if i64::try_from(rows.len()).is_ok_and(|rows| rows >= MOST) {
                    let time = Duration::try_from_secs_f64(time.as_secs_f64() - seen.1).unwrap_or_default();
                    statistics.unseen((calls - seen.0, time), beyond());
                }
            }
        }
    }
    if is_mariadb {
        statistics.gaps.push(
            "MariaDB counts by text only what is sent as text. Prepared statements, as sqlx sends all but raw_sql, are missing.".into(),
        );
    }
    statistics
        .gaps
        .push("What is run with another database as the default one is missing, also where it writes here.".into());
    Ok(statistics)
}

fn beyond() -> String {
    format!("statements that are neither among the {MOST} heaviest nor the {MOST} most frequent")
}

fn milliseconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time.max(0.0) / 1e3).unwrap_or_default()
}

fn picoseconds(time: f64) -> Duration {
    Duration::try_from_secs_f64(time.max(0.0) / 1e12).unwrap_or_default()
}

/// A digest of MySQL as SQL that can be read: lists of values are written as `(...)` and `?, ...` there.
fn readable(digest: &str) -> String {
    let mut sql = String::new();
    // What stands between backticks is a name.
    for (at, part) in digest.split('`').enumerate() {
        if at > 0 {
            sql.push('`');
        }
        match at % 2 {
            0 => {
                let part = part.replace("/* , ... */", "").replace("(...)", "(?)").replace("?, ...", "?");
                sql += &part.replace("SQL_TSI_", "");
            }
            _ => sql += part,
        }
    }
    sql
}

/// Whether the end of a digest may be missing. MySQL ends such a text with `...`, MariaDB just ends it, at so many bytes.
///
/// A digest is kept as two bytes for each token and, for a name, two for its length and its bytes. Once one does not fit, the rest is
/// left out. A text that may just have fitted is taken for one that was cut: what is missing could be anything.
fn is_cut(digest: &str, unmarked_from: Option<usize>) -> bool {
    let digest = digest.trim_end();
    let is_marked = digest.strip_suffix("...").is_some_and(|rest| !rest.ends_with("?, "));
    let bytes: usize = digest
        .split('`')
        .enumerate()
        .map(|(at, part)| match at % 2 {
            0 => 2 * part.split_whitespace().count(),
            _ => 4 + part.len(),
        })
        .sum();
    is_marked || unmarked_from.is_some_and(|length| bytes + LONGEST_NAME > length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_become_sql() {
        assert_eq!(readable("INSERT INTO `t` VALUES (...) /* , ... */ "), "INSERT INTO `t` VALUES (?)  ");
        assert_eq!(readable("SELECT `a(...)` FROM `t` WHERE ID IN (...)"), "SELECT `a(...)` FROM `t` WHERE ID IN (?)");
        assert_eq!(readable("SELECT ?, ... FROM `t` LIMIT ?, ..."), "SELECT ? FROM `t` LIMIT ?");
    }

    #[test]
    fn a_digest_without_its_end_is_told() {
        for (digest, cut) in [
            ("SELECT `n` FROM `t` WHERE `n` = ? AND ...", true),
            ("SELECT `n` FROM `t` LIMIT ?, ...", false),
            ("SELECT `n` FROM `t` LIMIT ?, ... ...", true),
            ("SELECT `n` FROM `t`", false),
        ] {
            assert_eq!(is_cut(digest, Some(1024)), cut, "{digest}");
        }
        let long = format!("SELECT `n` FROM `t` WHERE {}", "`n` = ? OR ".repeat(150));
        assert!(is_cut(&long, Some(1024)) && !is_cut(&long, Some(4096)) && !is_cut(&long, None));
    }
}
