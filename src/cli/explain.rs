//! `larder explain`: why a statement is, or is not, cached.
//!
//! In: SQL as arguments or from stdin, and perhaps a database. Out: a verdict for people, or JSON. It never runs a statement.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use serde_json::{Value, json};

use super::Failure;
use super::database::Database;
use crate::analysis::{self, Facts, Kind, Name, Outcome, SessionEffect, SqlMode, TransactionControl, Writes};
use crate::wording::plain;
use crate::{Changes, Dependency, Explanation, Reason, Refusal};

/// Tells what a statement reads and writes, and why its result is or is not cached.
///
/// With --database-url it tells as a pool on that database would: which tables are behind views, functions and partitions, and what
/// triggers, rules and foreign keys change. Without, it judges by the text alone.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// The dialect the statement is written in.
    #[arg(long, value_enum, required_unless_present = "database_url", conflicts_with = "database_url")]
    pub dialect: Option<Dialect>,
    /// The database that the statement is for: postgres://user@host/database, mysql://.., mariadb://.. or sqlite:file. The statement is
    /// not run.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// How the sessions read their texts, as MySQL's @@sql_mode says it.
    ///
    /// ANSI_QUOTES and NO_BACKSLASH_ESCAPES move the ends of names and texts. Of no importance to the other dialects.
    #[arg(long, value_name = "MODES", default_value = "")]
    pub sql_mode: String,
    /// Print one JSON object, or an array of them for several statements.
    #[arg(long)]
    pub json: bool,
    /// Read one statement per line of stdin, and print one JSON object per line.
    #[arg(long, conflicts_with_all = ["json", "sql"])]
    pub batch: bool,
    /// The statements; without any, one is read from stdin.
    #[arg(value_name = "SQL")]
    pub sql: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  larder explain --dialect postgres 'SELECT name FROM users WHERE id = $1'
  larder explain --database-url postgres://app@localhost/shop 'DELETE FROM users WHERE id = 1'
  larder explain --dialect sqlite --json 'DELETE FROM users' | jq .writes
  larder explain --dialect mysql --sql-mode ANSI_QUOTES 'SELECT \"name\" FROM \"users\"'
  larder explain --dialect mysql --batch < statements.sql";

/// The dialect of a statement, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
    /// SQLite.
    Sqlite,
}

impl From<Dialect> for analysis::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => Self::Postgres,
            Dialect::Mysql => Self::MySql,
            Dialect::Sqlite => Self::Sqlite,
        }
    }
}

/// What was found out about a statement.
enum Told {
    /// By its text alone.
    ByText(Box<Facts>),
    ByDatabase(Box<Explanation>),
}

impl Told {
    fn facts(&self) -> &Facts {
        match self {
            Self::ByText(facts) => facts,
            Self::ByDatabase(explanation) => &explanation.facts,
        }
    }
}

/// Who is asked about statements.
enum Judge<'e> {
    Text(&'e Explain),
    Database(Database),
}

impl Judge<'_> {
    async fn tell(&self, sql: &str) -> Result<Told, Failure> {
        match self {
            Self::Text(explain) => Ok(Told::ByText(Box::new(explain.analyze(sql)))),
            Self::Database(database) => database.explain(sql).await.map(Box::new).map(Told::ByDatabase),
        }
    }
}

impl Explain {
    /// Runs the command. A reader who closes the pipe early is no error.
    ///
    /// # Errors
    ///
    /// If stdin cannot be read, stdout cannot be written, or the database does not answer.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let judge = match &self.database_url {
            Some(url) => Judge::Database(Database::open(url).await?),
            None => Judge::Text(self),
        };
        let ended = match self.batch {
            true => batch(io::stdin().lock(), &mut io::stdout().lock(), &judge).await,
            false => self.print(&judge).await,
        };
        match ended {
            Err(Ended::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(Ended::Io(error)) => Err(Failure::failed(error.to_string())),
            Err(Ended::Failed(failure)) => Err(failure),
            Ok(()) => Ok(()),
        }
    }

    fn analyze(&self, sql: &str) -> Facts {
        let mode = match self.dialect {
            Some(Dialect::Mysql) => SqlMode::of(&self.sql_mode, "utf8mb4"),
            _ => SqlMode::default(),
        };
        // One of the two is there, as the arguments were read.
        let dialect = self.dialect.unwrap_or(Dialect::Postgres);
        analysis::analyze_in(sql, dialect.into(), mode)
    }

    fn statements(&self) -> io::Result<Vec<String>> {
        if !self.sql.is_empty() {
            return Ok(self.sql.clone());
        }
        if io::stdin().is_terminal() {
            usage("no SQL given, neither as an argument nor on stdin");
        }
        let mut text = Vec::new();
        io::stdin().lock().read_to_end(&mut text)?;
        let text = String::from_utf8(text)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the SQL on stdin is not UTF-8"))?;
        if text.trim().is_empty() {
            usage("no SQL given, neither as an argument nor on stdin");
        }
        Ok(vec![text])
    }

    async fn print(&self, judge: &Judge<'_>) -> Result<(), Ended> {
        let mut told = Vec::new();
        for sql in self.statements()? {
            told.push(judge.tell(&sql).await?);
        }
        if self.json {
            let mut objects: Vec<Value> = told.iter().map(object).collect();
            let all = if objects.len() == 1 { objects.remove(0) } else { Value::Array(objects) };
            return Ok(writeln!(io::stdout().lock(), "{all:#}")?);
        }
        let mut out = anstream::stdout().lock();
        for (i, told) in told.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            people(&mut out, told)?;
        }
        Ok(out.flush()?)
    }
}

/// Why the command did not get to its end.
enum Ended {
    Io(io::Error),
    Failed(Failure),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Ends the program as clap does when it is called wrongly, with exit code 2.
fn usage(message: &str) -> ! {
    #[derive(Parser)]
    #[command(name = "larder explain")]
    struct Alone {
        #[command(flatten)]
        _explain: Explain,
    }
    Alone::command().error(ErrorKind::MissingRequiredArgument, message).exit()
}

/// One statement per line in, one object per line out, each flushed so that a program can ask and wait.
///
/// # Errors
///
/// If the input cannot be read or the output cannot be written.
async fn batch(mut input: impl BufRead, output: &mut impl Write, judge: &Judge<'_>) -> Result<(), Ended> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        if line.ends_with(b"\r") {
            line.pop();
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let object = match std::str::from_utf8(&line) {
            Ok(sql) => object(&judge.tell(sql).await?),
            Err(_) => not_utf8(),
        };
        writeln!(output, "{object}")?;
        output.flush()?;
    }
}

fn object(told: &Told) -> Value {
    let facts = told.facts();
    let names = |names: &mut dyn Iterator<Item = &Name>| names.map(ToString::to_string).collect::<Vec<_>>();
    let writes = match &facts.writes {
        Writes::Tables(tables) => names(&mut tables.keys()),
        Writes::Nothing | Writes::Everything => Vec::new(),
    };
    let mut object = json!({
        "kind": kind(facts.kind),
        "outcome": outcome(facts.outcome),
        "reads": names(&mut facts.reads.iter()),
        "writes": writes,
        "writes_all": facts.writes == Writes::Everything,
        "cacheable": facts.cacheable(),
        "reasons": reasons(facts),
        "normal_form": facts.normal_form,
        "fingerprint": facts.fingerprint.to_string(),
    });
    if let Told::ByDatabase(explanation) = told {
        let dependencies = |all: &[Dependency]| -> Value {
            all.iter().map(|one| json!({ "table": one.table, "through": one.through })).collect()
        };
        let (drops, drops_all) = match &explanation.writes {
            Changes::Nothing => (json!([]), Value::Null),
            Changes::Tables(tables) => (dependencies(tables), Value::Null),
            Changes::Everything(why) => (json!([]), json!(why)),
        };
        object["cacheable"] = json!(explanation.reads.is_ok());
        object["rests_on"] = explanation.reads.as_ref().map_or(json!([]), |tables| dependencies(tables));
        object["refusal"] = match &explanation.reads {
            Ok(_) => Value::Null,
            Err(refusal) => json!({ "reason": refusal.reason.label(), "sentence": refusal.sentence }),
        };
        object["scope"] = json!(explanation.scope);
        object["drops"] = drops;
        object["drops_all"] = drops_all;
    }
    object
}

/// A line that no server would take either.
fn not_utf8() -> Value {
    json!({
        "kind": "other",
        "outcome": "unknown",
        "reads": [],
        "writes": [],
        "writes_all": true,
        "cacheable": false,
        "reasons": [Reason::NotUnderstood.label()],
        "normal_form": "",
        "fingerprint": "0000000000000000",
    })
}

/// The labels of the reasons, each once.
fn reasons(facts: &Facts) -> Vec<&'static str> {
    let mut labels: Vec<&'static str> = Vec::new();
    for refusal in &facts.refusals {
        if !labels.contains(&refusal.reason.label()) {
            labels.push(refusal.reason.label());
        }
    }
    labels
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Other => "other",
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Known => "known",
        Outcome::None => "none",
        Outcome::Unknown => "unknown",
    }
}

fn people(out: &mut impl Write, told: &Told) -> io::Result<()> {
    let facts = told.facts();
    let bold = Style::new().bold();
    let (color, verdict) = match (told, facts.cacheable(), facts.kind) {
        (Told::ByText(_), true, _) => {
            (AnsiColor::Green, "cached, if the database has no objection: see --database-url")
        }
        (Told::ByDatabase(explanation), ..) if explanation.reads.is_ok() => match explanation.scope {
            None => (AnsiColor::Green, "cached"),
            Some(_) => (AnsiColor::Yellow, "cached only under a scope, by pool.scoped(..)"),
        },
        (.., Kind::Read) => (AnsiColor::Yellow, "not cached"),
        (.., Kind::Write) => (AnsiColor::Cyan, "a write: it runs, and drops what rests on the tables it writes"),
        (.., Kind::Other) => (AnsiColor::Cyan, "passed on: neither a read nor a write"),
    };
    let color = color.on_default().bold();
    writeln!(out, "{color}{verdict}{color:#}")?;
    let line: Line = |out, label, text| {
        let bold = Style::new().bold();
        writeln!(out, "  {bold}{label:<12}{bold:#} {text}")
    };
    line(out, "statement", &plain(&facts.normal_form))?;
    match told {
        Told::ByText(_) => tables_by_text(out, facts, line)?,
        Told::ByDatabase(explanation) => tables_by_database(out, explanation, line)?,
    }
    match facts.session {
        SessionEffect::Keeps => {}
        SessionEffect::MayChange => line(out, "session", "may change settings of its connection")?,
        SessionEffect::Changes => line(out, "session", "changes settings of its connection")?,
    }
    if let Some(control) = facts.transaction {
        let text = match control {
            TransactionControl::Begin => "begins one by text; Larder cannot watch it as it watches pool.begin()",
            TransactionControl::End => "ends the one that is open",
            TransactionControl::Savepoint => "sets, releases or returns to a savepoint",
            TransactionControl::TwoPhase => "belongs to a two-phase commit",
        };
        line(out, "transaction", text)?;
    }
    if facts.schema_change {
        line(out, "schema", "changes it; the catalog is read again")?;
    }
    if facts.clock_by_argument {
        let present = "not cached when one may come to mean the present: a text such as 'now', in MySQL a time of day";
        line(out, "arguments", present)?;
    }
    line(out, "fingerprint", &facts.fingerprint.to_string())?;
    let refusals: Vec<&Refusal> = match told {
        Told::ByText(facts) => facts.refusals.iter().collect(),
        // What a write drops was said with its why.
        Told::ByDatabase(_) if facts.kind != Kind::Read => Vec::new(),
        Told::ByDatabase(explanation) => explanation.reads.as_ref().err().into_iter().collect(),
    };
    for refusal in &refusals {
        writeln!(out, "  {bold}because{bold:#}      {}", plain(&refusal.sentence))?;
    }
    if facts.kind == Kind::Read {
        let mut given = Vec::new();
        for refusal in &refusals {
            if let Some(help) = help(refusal.reason)
                && !given.contains(&help)
            {
                given.push(help);
                writeln!(out, "  {bold}help{bold:#}         {help}")?;
            }
        }
    }
    Ok(())
}

type Line = fn(&mut dyn Write, &str, &str) -> io::Result<()>;

fn tables_by_text(out: &mut impl Write, facts: &Facts, line: Line) -> io::Result<()> {
    line(out, "reads", &listed(&facts.reads.iter().collect::<Vec<_>>(), facts.outcome == Outcome::Unknown))?;
    match &facts.writes {
        Writes::Nothing => Ok(()),
        Writes::Tables(tables) => {
            let named: Vec<String> = tables.iter().map(|(name, verbs)| format!("{name} ({verbs})")).collect();
            line(out, "writes", &named.join(", "))
        }
        Writes::Everything => line(out, "writes", "may write any table: everything cached is dropped"),
    }
}

fn tables_by_database(out: &mut impl Write, explanation: &Explanation, line: Line) -> io::Result<()> {
    let each = |out: &mut dyn Write, label: &str, tables: &[Dependency]| {
        tables
            .iter()
            .enumerate()
            .try_for_each(|(at, table)| line(&mut *out, if at == 0 { label } else { "" }, &plain(&table.to_string())))
    };
    if let Ok(tables) = &explanation.reads {
        each(out, "rests on", tables)?;
    }
    if let Some(why) = &explanation.scope {
        line(out, "scope", &plain(why))?;
    }
    match &explanation.writes {
        Changes::Nothing => Ok(()),
        Changes::Tables(tables) => each(out, "drops", tables),
        Changes::Everything(why) => line(out, "drops", &plain(&format!("everything, since {why}"))),
    }
}

/// What a person can do about a reason, where anything can be done.
const fn help(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::VolatileFunction => "Compute the value in the program and bind it as an argument.",
        Reason::UnknownFunction | Reason::UserFunction | Reason::UserOperator => {
            "A function in SQL that is declared STABLE or IMMUTABLE, and reads nothing but tables, is followed where the database is asked."
        }
        Reason::RowSecurity => "Name a scope for each who may see something else: pool.scoped(\"tenant:42\").",
        Reason::UserCast => "Declare the function of the cast IMMUTABLE, if it is.",
        Reason::NotAPlainTable => "A materialized view of it, or a table that is filled from it, can be cached.",
        Reason::SpecialDate => "Bind the date as an argument of a date type, or compare the column without a cast.",
        Reason::Locks => "Without the lock it could be cached; with it, it belongs in a transaction.",
        Reason::SeveralStatements => "Send each statement on its own.",
        Reason::TooComplex => "Split the statement, or bind long lists as one array argument.",
        Reason::NotUnderstood => {
            "Simpler syntax may be understood; a policy with a TTL caches any query that a person vouches for."
        }
        Reason::Variable => "Bind the value as an argument.",
        Reason::Sample => "Order by a hashed column and LIMIT for a sample that stays the same.",
        _ => return None,
    })
}

fn listed(names: &[&Name], unknown: bool) -> String {
    let mut text = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text.push_str(if unknown { "could not be told" } else { "no table" });
    } else if unknown {
        text.push_str(" (guessed)");
    }
    text
}
