//! `larder explain`: why a statement is, or is not, cached.
//!
//! In: SQL as arguments or from stdin. Out: a verdict for people, or JSON. It never connects to a database.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, ValueEnum};
use serde_json::{Value, json};

use crate::Reason;
use crate::analysis::{self, Facts, Kind, Name, Outcome, SessionEffect, SqlMode, TransactionControl, Writes};

/// Tells what a statement reads and writes, and why its result is or is not cached.
///
/// It judges by the text alone. A pool also asks the database: only plain tables pass, not views and the like.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// The dialect the statement is written in.
    #[arg(long, value_enum)]
    pub dialect: Dialect,
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

impl Explain {
    /// Runs the command. A reader who closes the pipe early is no error.
    ///
    /// # Errors
    ///
    /// If stdin cannot be read or stdout cannot be written.
    pub fn run(&self) -> io::Result<()> {
        let ended = if self.batch {
            batch(io::stdin().lock(), &mut io::stdout().lock(), |sql| self.analyze(sql))
        } else {
            self.statements().and_then(|statements| self.print(&statements))
        };
        match ended {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            ended => ended,
        }
    }

    fn analyze(&self, sql: &str) -> Facts {
        let mode = match self.dialect {
            Dialect::Mysql => SqlMode::of(&self.sql_mode, "utf8mb4"),
            Dialect::Postgres | Dialect::Sqlite => SqlMode::default(),
        };
        analysis::analyze_in(sql, self.dialect.into(), mode)
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

    fn print(&self, statements: &[String]) -> io::Result<()> {
        if self.json {
            let mut objects: Vec<Value> = statements.iter().map(|sql| object(&self.analyze(sql))).collect();
            let all = if objects.len() == 1 { objects.remove(0) } else { Value::Array(objects) };
            return writeln!(io::stdout().lock(), "{all:#}");
        }
        let mut out = anstream::stdout().lock();
        for (i, sql) in statements.iter().enumerate() {
            if i > 0 {
                writeln!(out)?;
            }
            people(&mut out, &self.analyze(sql))?;
        }
        out.flush()
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
fn batch(mut input: impl BufRead, output: &mut impl Write, analyze: impl Fn(&str) -> Facts) -> io::Result<()> {
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
            Ok(sql) => object(&analyze(sql)),
            Err(_) => not_utf8(),
        };
        writeln!(output, "{object}")?;
        output.flush()?;
    }
}

fn object(facts: &Facts) -> Value {
    let names = |names: &mut dyn Iterator<Item = &Name>| names.map(ToString::to_string).collect::<Vec<_>>();
    let writes = match &facts.writes {
        Writes::Tables(tables) => names(&mut tables.keys()),
        Writes::Nothing | Writes::Everything => Vec::new(),
    };
    json!({
        "kind": kind(facts.kind),
        "outcome": outcome(facts.outcome),
        "reads": names(&mut facts.reads.iter()),
        "writes": writes,
        "writes_all": facts.writes == Writes::Everything,
        "cacheable": facts.cacheable(),
        "reasons": reasons(facts),
        "normal_form": facts.normal_form,
        "fingerprint": facts.fingerprint.to_string(),
    })
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

fn people(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    let bold = Style::new().bold();
    let (color, verdict) = match (facts.cacheable(), facts.kind) {
        (true, _) => (AnsiColor::Green, "cached, if all it reads are plain tables"),
        (false, Kind::Read) => (AnsiColor::Yellow, "not cached"),
        (false, Kind::Write) => (AnsiColor::Cyan, "a write: it runs, and drops what rests on the tables it writes"),
        (false, Kind::Other) => (AnsiColor::Cyan, "passed on: neither a read nor a write"),
    };
    let color = color.on_default().bold();
    writeln!(out, "{color}{verdict}{color:#}")?;
    let line = |out: &mut dyn Write, label: &str, text: &str| writeln!(out, "  {bold}{label:<12}{bold:#} {text}");
    line(out, "statement", &shown(&facts.normal_form))?;
    line(out, "reads", &listed(&facts.reads.iter().collect::<Vec<_>>(), facts.outcome == Outcome::Unknown))?;
    match &facts.writes {
        Writes::Nothing => {}
        Writes::Tables(tables) => line(out, "writes", &listed(&tables.keys().collect::<Vec<_>>(), false))?,
        Writes::Everything => line(out, "writes", "may write any table: everything cached is dropped")?,
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
    for refusal in &facts.refusals {
        writeln!(out, "  {bold}because{bold:#}      {refusal}")?;
    }
    if !facts.cacheable() && facts.kind == Kind::Read {
        let mut given = Vec::new();
        for refusal in &facts.refusals {
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

/// What a person can do about a reason, where anything can be done.
const fn help(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::VolatileFunction => "Compute the value in the program and bind it as an argument.",
        Reason::UnknownFunction => {
            "A function that the database calls IMMUTABLE is accepted once the pool has read its catalog."
        }
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

/// Control characters could play tricks on a terminal.
fn shown(sql: &str) -> String {
    sql.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
