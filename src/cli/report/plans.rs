//! How the server would run the heaviest reads.
//!
//! In: statements that only read. Out: the server's estimate of each, and hints that are drawn from it. It asks by EXPLAIN, in a
//! transaction that only reads, under short limits. It never runs a statement, and never shows a condition, which may hold values.

use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row};

use crate::analysis::{Kind, Outcome};
use crate::cli::Failure;
use crate::cli::database::answer;
use crate::wording::plain;
use crate::{Changes, Explanation, Reason};

/// From so many rows on, a table that is read as a whole, or a sort, is worth a hint.
const MANY: f64 = 10_000.0;
/// The same for a table that is read as a whole again and again.
const MANY_AGAIN: f64 = 1_000.0;

/// Where more of a table is found than this part, no index would be used.
const LARGE_PART: f64 = 0.2;

/// The server's estimate of a statement.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In the server's own unit; MariaDB tells it from version 11 on.
    pub cost: Option<f64>,
    /// PostgreSQL: rows in the answer. MySQL and MariaDB: rows of the table that most are looked at of.
    pub rows: Option<f64>,
    /// Guesses at what would help.
    pub hints: Vec<String>,
}

/// The plan, or why there is none.
pub(super) type Planned = Result<Plan, String>;

/// Whether nothing but the statement's own tables would be read, whatever the server does when it plans.
///
/// MySQL may run a function while it plans, so that there no statement is planned that calls one which is not known to depend on its
/// arguments alone. PostgreSQL runs such functions only if they are declared to write nothing, and in this transaction they cannot.
pub(super) fn is_plain_read(explanation: &Explanation, is_mysql: bool) -> bool {
    let facts = &explanation.facts;
    let objects = |reason: Reason| match reason {
        Reason::VolatileFunction => is_mysql,
        Reason::NoTables | Reason::SpecialDate | Reason::Sample | Reason::NotAPlainTable | Reason::RowSecurity => false,
        _ => true,
    };
    facts.kind == Kind::Read
        && facts.outcome != Outcome::Unknown
        && explanation.writes == Changes::Nothing
        && !facts.refusals.iter().any(|refusal| objects(refusal.reason))
        && !explanation.reads.as_ref().is_err_and(|refusal| objects(refusal.reason))
}

/// Asks for the plan of each statement, with a connection of its own.
pub(super) async fn plan(url: &str, statements: &[&str], bar: &ProgressBar) -> Result<Vec<Planned>, Failure> {
    let mut plans = Vec::new();
    if url.starts_with("postgres") {
        let mut connection = answer(PgConnection::connect(url)).await?;
        for sql in statements {
            let planned = of_postgres(&mut connection, sql).await;
            // A statement that was prepared outlives its transaction. Where there is none, nothing is lost.
            let _ = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await;
            let _ = sqlx::raw_sql("DEALLOCATE larder_plan").execute(&mut connection).await;
            plans.push(planned.map_err(told));
            bar.inc(1);
        }
        let _ = connection.close().await;
    } else {
        let mut connection = answer(MySqlConnection::connect(url)).await?;
        // Each server knows one of the limits. In digests, functions are set apart from their brackets.
        for setting in [
            "SET SESSION max_statement_time = 2",
            "SET SESSION max_execution_time = 2000",
            "SET SESSION lock_wait_timeout = 1, SESSION innodb_lock_wait_timeout = 1",
            "SET SESSION sql_mode = CONCAT(@@sql_mode, ',IGNORE_SPACE')",
        ] {
            let _ = sqlx::raw_sql(setting).execute(&mut connection).await;
        }
        for sql in statements {
            let planned = of_mysql(&mut connection, sql).await;
            let _ = sqlx::raw_sql("ROLLBACK").execute(&mut connection).await;
            plans.push(planned.map_err(told));
            bar.inc(1);
        }
        let _ = connection.close().await;
    }
    Ok(plans)
}

fn told(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => plain(error.message()),
        error => plain(&error.to_string()),
    }
}

/// A long wait ends on this side too, as where the network is gone.
async fn soon<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(Duration::from_secs(5), asked).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Protocol("no answer for five seconds".into())),
    }
}

/// PostgreSQL plans for any values by itself. Through the extended protocol, a text that holds several statements is refused.
async fn of_postgres(connection: &mut PgConnection, sql: &str) -> Result<Plan, sqlx::Error> {
    let settings = "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL lock_timeout = '500ms'; \
        SET LOCAL plan_cache_mode = force_generic_plan";
    soon(sqlx::raw_sql(settings).execute(&mut *connection)).await?;
    let prepare = AssertSqlSafe(format!("PREPARE larder_plan AS {sql}"));
    soon(sqlx::query(prepare).persistent(false).execute(&mut *connection)).await?;
    let parameters = "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'larder_plan'";
    let parameters: i32 = soon(sqlx::query_scalar(parameters).persistent(false).fetch_one(&mut *connection)).await?;
    let nulls = match parameters {
        0 => String::new(),
        some => format!("({})", vec!["NULL"; usize::try_from(some).unwrap_or_default()].join(", ")),
    };
    let explain = AssertSqlSafe(format!("EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE larder_plan{nulls}"));
    let plans: Value = soon(sqlx::query_scalar(explain).persistent(false).fetch_one(&mut *connection)).await?;
    let top = &plans[0]["Plan"];
    let mut nodes = Vec::new();
    postgres_nodes(top, false, &mut nodes);
    let mut plan = Plan { cost: top["Total Cost"].as_f64(), rows: top["Plan Rows"].as_f64(), hints: Vec::new() };
    for node in nodes {
        match node {
            Node::Sort(rows) if rows >= MANY => plan.hint(sort(rows)),
            Node::Sort(_) => {}
            Node::Scan { schema, table, alias, condition, found, again } => {
                // The columns that the condition mentions and that no index begins with.
                let columns = "SELECT quote_ident(a.attname), greatest(c.reltuples, 0)::float8, c.oid::regclass::text, \
                      EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum) \
                    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
                    WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
                let columns = sqlx::query(columns).persistent(false).bind(schema).bind(table);
                let columns = soon(columns.fetch_all(&mut *connection)).await?;
                let Some(first) = columns.first() else { continue };
                let (rows, table): (f64, String) = (first.get(1), first.get(2));
                let candidates = columns.iter().map(|row| (row.get(0), row.get(3))).collect();
                // Of a large part of a table, an index is no faster way.
                if !again && found > rows * LARGE_PART {
                    continue;
                }
                plan.scanned(&table, rows, again, &unindexed(condition, alias, candidates));
            }
        }
    }
    Ok(plan)
}

/// What in a plan may be worth a hint.
enum Node<'p> {
    Sort(f64),
    Scan { schema: &'p str, table: &'p str, alias: &'p str, condition: &'p str, found: f64, again: bool },
}

/// Collects them. A scan is done `again` and again where it is the inner side of a nested loop.
fn postgres_nodes<'p>(node: &'p Value, again: bool, nodes: &mut Vec<Node<'p>>) {
    let text = |key: &str| node[key].as_str().unwrap_or_default();
    let kind = text("Node Type");
    if kind == "Sort" || kind == "Incremental Sort" {
        nodes.push(Node::Sort(node["Plan Rows"].as_f64().unwrap_or_default()));
    }
    if kind == "Seq Scan" {
        let (schema, table, alias) = (text("Schema"), text("Relation Name"), text("Alias"));
        let found = node["Plan Rows"].as_f64().unwrap_or_default();
        nodes.push(Node::Scan { schema, table, alias, condition: text("Filter"), found, again });
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        let is_inner = child["Parent Relationship"] == "Inner";
        let passes_on = matches!(kind, "Materialize" | "Memoize") && again;
        let again = (kind == "Nested Loop" && is_inner) || passes_on;
        postgres_nodes(child, again, nodes);
        // What joins is not part of the scan.
        if let Some(Node::Scan { condition, again: true, .. }) = nodes.last_mut()
            && kind == "Nested Loop"
            && is_inner
            && condition.is_empty()
        {
            *condition = text("Join Filter");
        }
    }
}

/// MySQL plans for values only, and sees at once that nothing equals NULL. So values stand in that fit numbers, texts and dates, and
/// NULL if they do not do.
async fn of_mysql(connection: &mut MySqlConnection, sql: &str) -> Result<Plan, sqlx::Error> {
    let mut last = Err(sqlx::Error::Protocol("no plan that reads a table".into()));
    for value in ["'1'", "'2000-01-01'", "NULL"] {
        soon(sqlx::raw_sql("START TRANSACTION READ ONLY").execute(&mut *connection)).await?;
        last = mysql_plan(connection, &filled(sql, value)).await;
        let _ = soon(sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await;
        if last.as_ref().is_ok_and(|plan| plan.rows.is_some()) {
            break;
        }
    }
    last
}

async fn mysql_plan(connection: &mut MySqlConnection, sql: &str) -> Result<Plan, sqlx::Error> {
    // Prepared, a text that holds several statements is refused.
    let explain = AssertSqlSafe(format!("EXPLAIN FORMAT=JSON {sql}"));
    let text: String = soon(sqlx::query_scalar(explain).persistent(false).fetch_one(&mut *connection)).await?;
    let read: Value = serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let block = &read["query_block"];
    let cost = block["cost_info"]["query_cost"].as_str().and_then(|cost| cost.parse().ok()).or(block["cost"].as_f64());
    let (mut scans, mut sorts, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    mysql_nodes(block, "", false, &mut scans, &mut sorts, &mut rows);
    let most = |all: &[f64]| all.iter().copied().reduce(f64::max);
    let mut plan = Plan { cost, rows: most(&rows), hints: Vec::new() };
    if let Some(rows) = most(&sorts).filter(|rows| *rows >= MANY) {
        plan.hint(sort(rows));
    }
    // As the server understood it: which table is behind which alias. MariaDB tells it for this form only, which MySQL no longer knows.
    let mut understood = String::new();
    if !scans.is_empty() {
        for form in ["EXPLAIN EXTENDED", "EXPLAIN"] {
            let explain = AssertSqlSafe(format!("{form} {sql}"));
            if soon(sqlx::query(explain).persistent(false).fetch_all(&mut *connection)).await.is_ok() {
                let notes = soon(sqlx::raw_sql("SHOW WARNINGS").fetch_all(&mut *connection)).await?;
                understood.extend(notes.iter().filter_map(|row| row.try_get::<String, _>(2).ok()));
                break;
            }
        }
    }
    for scan in scans {
        let table = behind(scan.alias, &understood).unwrap_or(scan.alias);
        let columns = "SELECT CAST(c.COLUMN_NAME AS CHAR), CAST(EXISTS (SELECT 1 FROM information_schema.STATISTICS s \
              WHERE s.TABLE_SCHEMA = c.TABLE_SCHEMA AND s.TABLE_NAME = c.TABLE_NAME AND s.COLUMN_NAME = c.COLUMN_NAME \
              AND s.SEQ_IN_INDEX = 1) AS SIGNED) \
            FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE() AND c.TABLE_NAME = ? ORDER BY c.ORDINAL_POSITION";
        let columns = sqlx::query(columns).persistent(false).bind(table);
        let columns = soon(columns.fetch_all(&mut *connection)).await?;
        let candidates = columns.iter().map(|row| (row.get(0), row.get::<i64, _>(1) != 0)).collect();
        let columns = unindexed(&scan.condition.replace('`', ""), scan.alias, candidates);
        plan.scanned(table, scan.rows, scan.again, &columns);
    }
    Ok(plan)
}

/// A table that is read as a whole.
struct Scan<'p> {
    alias: &'p str,
    rows: f64,
    condition: String,
    again: bool,
}

fn mysql_nodes<'p>(
    node: &'p Value,
    joined: &str,
    again: bool,
    scans: &mut Vec<Scan<'p>>,
    sorts: &mut Vec<f64>,
    rows: &mut Vec<f64>,
) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| mysql_nodes(node, joined, again, scans, sorts, rows)),
        Value::Object(object) => {
            let condition = node["attached_condition"].as_str().unwrap_or_default();
            if let Some(alias) = node["table_name"].as_str()
                && let Some(looked_at) = node["rows"].as_f64().or(node["rows_examined_per_scan"].as_f64())
            {
                rows.push(looked_at);
                if node["access_type"] == "ALL" && node["possible_keys"].is_null() {
                    let condition = format!("{condition} {joined}");
                    let again = again || node["using_join_buffer"].is_string();
                    scans.push(Scan { alias, rows: looked_at, condition, again });
                }
            }
            let start = rows.len();
            for (key, child) in object {
                // MariaDB's joins through a buffer hold the table, and the condition that joins it.
                match key.as_str() {
                    "block-nl-join" => {
                        let joined = child["attached_condition"].as_str().unwrap_or_default();
                        mysql_nodes(&child["table"], joined, true, scans, sorts, rows);
                    }
                    _ => mysql_nodes(child, joined, again, scans, sorts, rows),
                }
            }
            if object.contains_key("filesort") || node["using_filesort"] == true {
                sorts.push(rows[start..].iter().copied().fold(0.0, f64::max));
            }
        }
        _ => {}
    }
}

/// The name of the table that the server writes before its alias.
fn behind<'u>(alias: &str, understood: &'u str) -> Option<&'u str> {
    let before = understood.find(&format!("` `{alias}`"))?;
    understood[..before].rsplit('`').next().filter(|name| !name.is_empty())
}

/// The statement with a value for each placeholder, and a number where only a number may stand.
fn filled(sql: &str, value: &str) -> String {
    let mut text = String::new();
    for (at, part) in sql.split('`').enumerate() {
        if at > 0 {
            text.push('`');
        }
        if at % 2 == 1 {
            text += part;
            continue;
        }
        for (at, piece) in part.split('?').enumerate() {
            if at > 0 {
                let last = text.split_whitespace().next_back().unwrap_or_default();
                let counts = ["limit", "offset"].iter().any(|word| last.eq_ignore_ascii_case(word));
                text += if counts { "100" } else { value };
            }
            text += piece;
        }
    }
    text
}

/// The columns that a condition mentions as `alias.column`, unless an index begins with one of them: then the server had its reasons.
fn unindexed(condition: &str, alias: &str, columns: Vec<(String, bool)>) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || "_$\"".contains(c);
    let mentions = |column: &str| {
        let quoted = format!("\"{}\"", alias.replace('"', "\"\""));
        [alias, &quoted].iter().any(|alias| {
            let name = format!("{alias}.{column}");
            condition.match_indices(&name).any(|(at, _)| {
                !condition[..at].ends_with(is_name) && !condition[at + name.len()..].starts_with(is_name)
            })
        })
    };
    let mentioned: Vec<_> = columns.into_iter().filter(|(column, _)| mentions(column)).collect();
    match mentioned.iter().any(|(_, is_indexed)| *is_indexed) {
        true => Vec::new(),
        false => mentioned.into_iter().map(|(column, _)| column).collect(),
    }
}

fn sort(rows: f64) -> String {
    format!("heuristic: about {rows:.0} rows are sorted; an index in that order, or a LIMIT, may help")
}

impl Plan {
    fn scanned(&mut self, table: &str, rows: f64, again: bool, columns: &[String]) {
        if columns.is_empty() || rows < if again { MANY_AGAIN } else { MANY } {
            return;
        }
        let columns = columns.join(", ");
        let how = if again { "read again for each row that is joined" } else { "read as a whole to find some" };
        self.hint(format!(
            "heuristic: about {rows:.0} rows of {table} are {how}; an index on {table} ({columns}) may help"
        ));
    }

    fn hint(&mut self, hint: String) {
        let hint = plain(&hint);
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_outside_of_names() {
        assert_eq!(
            filled("SELECT `a?` FROM t WHERE b IN (?) LIMIT ?", "'1'"),
            "SELECT `a?` FROM t WHERE b IN ('1') LIMIT 100"
        );
    }

    #[test]
    fn a_column_counts_as_a_whole() {
        let columns = || vec![("n".to_owned(), false), ("nn".to_owned(), true)];
        assert_eq!(unindexed("(t.n = $1)", "t", columns()), ["n"]);
        assert_eq!(unindexed("(t.nn = $1)", "t", columns()), [""; 0]);
        assert_eq!(unindexed("(tt.n = $1)", "t", columns()), [""; 0]);
        assert_eq!(unindexed("(\"T\".n = $1)", "T", columns()), ["n"]);
    }
}
