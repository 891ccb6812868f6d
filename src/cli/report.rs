//! `larder report`: what Larder would do for an application that does not use it yet.
//!
//! In: the statistics that a database server keeps of its statements. Out: the heaviest of them, which would be kept and which not and
//! why, and the database time that could save. It only reads, and runs none of the statements.

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, presets};
use serde_json::json;
use sqlx::{Connection, MySqlConnection, PgConnection, Row};

use super::Failure;
use super::database::{Database, answer};
use crate::analysis::{Dialect, Kind, without_literals};
use crate::{Changes, Explanation, Reason};

/// Tells which of a database's heaviest statements Larder would keep, which not and why, and how much database time that could save.
///
/// The statistics are the server's own: pg_stat_statements of PostgreSQL, the performance schema of MySQL and MariaDB. Nothing is
/// changed there, no statement is run, and no value is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Report {
    /// The database: postgres://user@host/database, mysql://.. or mariadb://..
    #[arg(long, value_name = "URL")]
    database_url: String,
    /// Statements that are shown, the heaviest first. All of them count in the sums.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// For how long a result would be kept at most.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Terminal,
    Json,
    Csv,
    Markdown,
}

const EXAMPLES: &str = "\
Examples:
  larder report --database-url postgres://app@localhost/shop
  larder report --database-url mysql://app@localhost/shop --top 50 --ttl 1m
  larder report --database-url postgres://app@localhost/shop --format json | jq '.statements[] | select(.kept | not)'";

/// More than these are not looked at: what is behind them takes next to no time.
const MOST: usize = 5_000;
/// Columns where there is no terminal.
const PAPER: u16 = 140;

/// What the server knows of one statement.
#[derive(Debug)]
struct Counted {
    sql: String,
    calls: f64,
    time: Duration,
    rows: f64,
}

/// What the server knows of all.
struct Statistics {
    statements: Vec<Counted>,
    /// For how long they were counted, if that is known.
    over: Option<Duration>,
}

impl Report {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let statistics = statistics(&self.database_url).await?;
        let database = Database::open(&self.database_url).await?;
        let mut statements = Vec::new();
        for mut counted in statistics.statements {
            let explanation = database.explain(&counted.sql).await?;
            // What asks the server about itself is not the application's, and some of it is Larder's.
            if explanation.facts.refusals.iter().any(|refusal| refusal.reason == Reason::System) {
                continue;
            }
            // Not all that a server has as text is without values.
            counted.sql = without_literals(&counted.sql, database.dialect());
            statements.push((counted, explanation));
        }
        let profile = Profile::of(&statements, statistics.over, self.ttl);
        let printed = match self.format {
            Format::Terminal => profile.people(&mut anstream::stdout().lock(), self.top),
            Format::Json => writeln!(io::stdout().lock(), "{:#}", profile.json()),
            Format::Csv => profile.csv(&mut io::stdout().lock()),
            Format::Markdown => profile.markdown(&mut io::stdout().lock(), self.top),
        };
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error.to_string())),
            _ => Ok(()),
        }
    }
}

async fn statistics(url: &str) -> Result<Statistics, Failure> {
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => of_postgres(url).await,
        Some("mysql" | "mariadb") => of_mysql(url).await,
        Some("sqlite") => {
            Err(Failure::Usage("SQLite keeps no statistics of its statements: use `larder explain`".into()))
        }
        _ => Err(Failure::Usage("--database-url must begin with postgres://, mysql:// or mariadb://".into())),
    }
}

async fn of_postgres(url: &str) -> Result<Statistics, Failure> {
    let mut connection = answer(PgConnection::connect(url)).await?;
    let place = "SELECT n.nspname::text, \
        EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'pg_stat_statements_info'), \
        current_setting('server_version_num')::int >= 130000 \
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'";
    let Some(place) = answer(sqlx::query(place).fetch_optional(&mut connection)).await? else {
        return Err(Failure::failed(
            "this database has no pg_stat_statements: put it into shared_preload_libraries, restart the server, run \
             CREATE EXTENSION pg_stat_statements, and come again after some hours of work",
        ));
    };
    let (schema, tells_reset, is_new): (String, bool, bool) = (place.get(0), place.get(1), place.get(2));
    let schema = format!("\"{}\"", schema.replace('"', "\"\""));
    let time = if is_new { "total_exec_time" } else { "total_time" };
    // Of other users, somebody without rights sees no text.
    let sql = format!(
        "SELECT query, sum(calls)::float8, sum({time})::float8, sum(rows)::float8 FROM {schema}.pg_stat_statements \
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query IS NOT NULL \
         GROUP BY query ORDER BY 3 DESC LIMIT {MOST}"
    );
    let rows = answer(sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut connection)).await?;
    let statements = rows.iter().map(|row| Counted {
        sql: row.get(0),
        calls: row.get(1),
        time: Duration::from_secs_f64(row.get::<f64, _>(2).max(0.0) / 1e3),
        rows: row.get(3),
    });
    let statements = statements.collect();
    let mut over = None;
    if tells_reset {
        let sql =
            format!("SELECT extract(epoch FROM now() - stats_reset)::float8 FROM {schema}.pg_stat_statements_info");
        let seconds: Option<f64> =
            answer(sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut connection)).await?;
        over = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    }
    Ok(Statistics { statements, over })
}

async fn of_mysql(url: &str) -> Result<Statistics, Failure> {
    let mut connection = answer(MySqlConnection::connect(url)).await?;
    let is_on: bool = answer(sqlx::query_scalar("SELECT @@performance_schema = 1").fetch_one(&mut connection)).await?;
    if !is_on {
        return Err(Failure::failed(
            "this server keeps no statistics of its statements: start it with performance_schema=ON, and come again after some hours \
             of work",
        ));
    }
    let digests = "SELECT DIGEST_TEXT, CAST(COUNT_STAR AS DOUBLE), CAST(SUM_TIMER_WAIT AS DOUBLE), CAST(SUM_ROWS_SENT AS DOUBLE), \
        CAST(TIMESTAMPDIFF(SECOND, FIRST_SEEN, NOW()) AS DOUBLE) FROM performance_schema.events_statements_summary_by_digest \
        WHERE SCHEMA_NAME = DATABASE() AND DIGEST_TEXT IS NOT NULL ORDER BY 3 DESC LIMIT 5000";
    let rows = answer(sqlx::query(digests).fetch_all(&mut connection)).await?;
    let version: String = answer(sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection)).await?;
    if version.contains("MariaDB") {
        anstream::eprintln!(
            "MariaDB counts statements that are sent as text. Prepared ones, as sqlx sends them unless they go through raw_sql, it does not \
             tell apart, and they are missing here."
        );
    }
    let mut over = 0.0_f64;
    let mut statements: HashMap<String, Counted> = HashMap::new();
    for row in &rows {
        over = over.max(row.get::<Option<f64>, _>(4).unwrap_or_default());
        let sql: String = row.get(0);
        let known = statements.entry(without_literals(&sql, Dialect::MySql));
        let counted = known.or_insert_with(|| Counted { sql, calls: 0.0, time: Duration::ZERO, rows: 0.0 });
        counted.calls += row.get::<f64, _>(1);
        // In picoseconds.
        counted.time += Duration::from_secs_f64(row.get::<f64, _>(2).max(0.0) / 1e12);
        counted.rows += row.get::<f64, _>(3);
    }
    let mut statements: Vec<Counted> = statements.into_values().collect();
    statements.sort_by_key(|counted| std::cmp::Reverse(counted.time));
    Ok(Statistics { statements, over: Duration::try_from_secs_f64(over).ok().filter(|over| !over.is_zero()) })
}

/// What Larder would do with a statement.
enum Verdict {
    Kept { saved: Duration, writes: Option<f64> },
    Not { why: String, reason: &'static str },
    Write,
}

/// All of it.
struct Profile<'s> {
    statements: Vec<(&'s Counted, Verdict)>,
    all: Duration,
    kept: Duration,
    saved: Duration,
    writes: Duration,
    over: Option<Duration>,
    ttl: Duration,
}

impl<'s> Profile<'s> {
    /// A result lives until its time is over or one of its tables is written. With calls at a rate of c and such ends at a rate of e,
    /// one call of (c + e) / c loads it: the renewal of a cache by time to live, for calls and writes that come at random. That is for
    /// one set of parameters; each further one is loaded for itself, so that this is the most that can be saved.
    fn of(statements: &'s [(Counted, Explanation)], over: Option<Duration>, ttl: Duration) -> Self {
        let seconds = over.map_or(0.0, |over| over.as_secs_f64());
        let mut written: HashMap<&str, f64> = HashMap::new();
        let mut everything = 0.0;
        for (counted, explanation) in statements {
            match &explanation.writes {
                Changes::Nothing => {}
                Changes::Tables(tables) => {
                    tables.iter().for_each(|table| *written.entry(&table.table).or_default() += counted.calls);
                }
                // What is not understood of what is no write at heart, such as BEGIN, is none.
                Changes::Everything(_) if explanation.facts.transaction.is_some() => {}
                Changes::Everything(_) => everything += counted.calls,
            }
        }
        let judged = statements.iter().map(|(counted, explanation)| {
            let verdict = match (&explanation.writes, &explanation.reads) {
                (Changes::Nothing, Ok(tables)) => {
                    let writes = tables.iter().filter_map(|table| written.get(&*table.table)).sum::<f64>() + everything;
                    let ends = writes + seconds / ttl.as_secs_f64().max(1e-3);
                    // Each end is loaded once at most, and the first call always.
                    let loads = (counted.calls * ends / (counted.calls + ends).max(1.0)).max(1.0).min(counted.calls);
                    let saved = match over {
                        Some(_) => counted.time.mul_f64(1.0 - loads / counted.calls.max(1.0)),
                        None => counted.time,
                    };
                    Verdict::Kept { saved, writes: over.map(|_| writes / seconds.max(1e-3)) }
                }
                (_, _) if explanation.facts.kind != Kind::Read => Verdict::Write,
                (Changes::Tables(_) | Changes::Everything(_), Ok(_)) => Verdict::Write,
                (_, Err(refusal)) => Verdict::Not { why: refusal.sentence.clone(), reason: refusal.reason.label() },
            };
            (counted, verdict)
        });
        let statements: Vec<_> = judged.collect();
        let sum = |of: &dyn Fn(&Verdict) -> bool| {
            statements.iter().filter(|(_, verdict)| of(verdict)).map(|(counted, _)| counted.time).sum::<Duration>()
        };
        let (all, writes) = (sum(&|_| true), sum(&|verdict| matches!(verdict, Verdict::Write)));
        let kept = sum(&|verdict| matches!(verdict, Verdict::Kept { .. }));
        let saved = statements.iter().map(|(_, verdict)| match verdict {
            Verdict::Kept { saved, .. } => *saved,
            _ => Duration::ZERO,
        });
        let saved = saved.sum();
        Self { statements, all, kept, saved, writes, over, ttl }
    }

    fn share(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.all.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The reasons for which most time is not kept.
    fn reasons(&self) -> Vec<(&'static str, Duration, &str)> {
        let mut reasons: HashMap<&'static str, (Duration, &str)> = HashMap::new();
        for (counted, verdict) in &self.statements {
            if let Verdict::Not { why, reason } = verdict {
                reasons.entry(reason).or_insert((Duration::ZERO, why)).0 += counted.time;
            }
        }
        let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, (time, why))| (reason, time, why)).collect();
        reasons.sort_by_key(|(_, time, _)| std::cmp::Reverse(*time));
        reasons
    }

    fn summary(&self) -> String {
        let over = self.over.map_or_else(String::new, |over| format!(" within {}", rough(over)));
        let percent = |time| self.share(time) * 100.0;
        format!(
            "{} of database time{over}: {:.0} % in reads that would be kept, {:.0} % in writes. At most {:.0} % would be saved, with \
             results kept for {:?} or until their tables are written.",
            rough(self.all),
            percent(self.kept),
            percent(self.writes),
            percent(self.saved),
            self.ttl,
        )
    }

    fn row(&self, counted: &Counted, verdict: &Verdict) -> [String; 6] {
        let mean = counted.time.div_f64(counted.calls.max(1.0));
        let (verdict, writes) = match verdict {
            Verdict::Kept { saved, writes } => (
                format!("kept: at most {:.1} % saved", self.share(*saved) * 100.0),
                writes.map_or_else(|| "?".into(), |writes| format!("{writes:.2}")),
            ),
            Verdict::Not { why, .. } => (format!("not kept: {why}"), String::new()),
            Verdict::Write => ("a write".into(), String::new()),
        };
        [
            format!("{:.1} %", self.share(counted.time) * 100.0),
            format!("{:.0}", counted.calls),
            format!("{:.3} ms", mean.as_secs_f64() * 1e3),
            writes,
            verdict,
            shortened(&super::shown(&counted.sql.split_whitespace().collect::<Vec<_>>().join(" "))),
        ]
    }

    fn table(&self, top: usize) -> Table {
        let mut table = Table::new();
        table.set_header(HEADINGS);
        for (counted, verdict) in self.statements.iter().take(top) {
            table.add_row(self.row(counted, verdict));
        }
        for column in table.column_iter_mut().take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn people(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        let (bold, good) = (Style::new().bold(), AnsiColor::Green.on_default().bold());
        if self.statements.is_empty() {
            return writeln!(out, "The server has counted no statement of this database yet.");
        }
        writeln!(out, "{good}{}{good:#}\n", self.summary())?;
        let mut table = self.table(top);
        let line = LineStyle::none().fill('─').junction('─');
        table.load_style(presets::NOTHING.header_separator(line)).set_content_arrangement(ContentArrangement::Dynamic);
        if !table.is_tty() {
            table.set_width(PAPER);
        }
        writeln!(out, "{table}")?;
        let reasons = self.reasons();
        if !reasons.is_empty() {
            writeln!(out, "\n{bold}Reads that would not be kept, by reason{bold:#}")?;
        }
        for (reason, time, why) in reasons.iter().take(10) {
            writeln!(out, "  {:>5.1} %  {reason}: such as: {}", self.share(*time) * 100.0, super::shown(why))?;
        }
        writeln!(
            out,
            "\nSaved is the most there can be: each set of parameters has a result of its own. `larder explain` has the details."
        )
    }

    fn markdown(&self, out: &mut impl Write, top: usize) -> io::Result<()> {
        writeln!(out, "# What Larder would keep\n\n{}\n", self.summary())?;
        writeln!(out, "| {} |\n|---:|---:|---:|---:|---|---|", HEADINGS.join(" | "))?;
        for (counted, verdict) in self.statements.iter().take(top) {
            // What stands in a cell must not end it.
            let row = self.row(counted, verdict).map(|cell| cell.replace('\\', "\\\\").replace('|', "\\|"));
            writeln!(out, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let quoted = |cell: &str| format!("\"{}\"", cell.replace('"', "\"\""));
        writeln!(out, "seconds,calls,rows,kept,reason,saved_seconds,writes_per_second,statement")?;
        for (counted, verdict) in &self.statements {
            let (kept, reason, saved, writes) = match verdict {
                Verdict::Kept { saved, writes } => {
                    let writes = writes.map_or_else(String::new, |writes| writes.to_string());
                    (true, "", saved.as_secs_f64().to_string(), writes)
                }
                Verdict::Not { reason, .. } => (false, *reason, String::new(), String::new()),
                Verdict::Write => (false, "write", String::new(), String::new()),
            };
            let (time, calls, rows, sql) =
                (counted.time.as_secs_f64(), counted.calls, counted.rows, quoted(&counted.sql));
            writeln!(out, "{time},{calls},{rows},{kept},{reason},{saved},{writes},{sql}")?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        let statements = self.statements.iter().map(|(counted, verdict)| {
            let mut object = json!({
                "statement": counted.sql, "calls": counted.calls, "seconds": counted.time.as_secs_f64(), "rows": counted.rows,
            });
            match verdict {
                Verdict::Kept { saved, writes } => {
                    object["kept"] = true.into();
                    object["saved_seconds_at_most"] = saved.as_secs_f64().into();
                    object["writes_per_second"] = json!(writes);
                }
                Verdict::Not { why, reason } => {
                    object["kept"] = false.into();
                    object["reason"] = (*reason).into();
                    object["sentence"] = why.clone().into();
                }
                Verdict::Write => {
                    object["kept"] = false.into();
                    object["reason"] = "write".into();
                }
            }
            object
        });
        json!({
            "seconds": self.all.as_secs_f64(),
            "counted_over_seconds": self.over.map(|over| over.as_secs_f64()),
            "kept_seconds": self.kept.as_secs_f64(),
            "write_seconds": self.writes.as_secs_f64(),
            "saved_seconds_at_most": self.saved.as_secs_f64(),
            "ttl_seconds": self.ttl.as_secs_f64(),
            "statements": statements.collect::<Vec<_>>(),
        })
    }
}

const HEADINGS: [&str; 6] = ["time", "calls", "mean", "writes/s", "with Larder", "statement"];

/// As much of a text as a line has room for.
fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// To the millisecond below a second, to the second above.
fn rough(time: Duration) -> String {
    let time = match time.as_secs() {
        0 => Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or_default()),
        seconds => Duration::from_secs(seconds),
    };
    humantime::format_duration(time).to_string()
}
