//! `larder watch`: has a database tell what other programs write.
//!
//! In: where the database is, and which tables. Out: the statements, shown before they are run; which tables are watched.
//! It changes nothing that was not shown, and nothing of the tables but their triggers.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::{Args, Subcommand};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection, PgConnection, Row, SqliteConnection};

use super::Failure;
use super::database::answer;
use crate::analysis::Dialect;
use crate::watch;

/// Has a database tell what other programs write.
///
/// Triggers announce in a table which tables were written, by psql, a cron job or another service, in the transaction of the writer.
/// Pools of Larder on that database look there, and drop what rests on those tables. See docs/watch.md.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Watch {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Has tables watched; all tables, if none is named. Safe to repeat.
    Install(Change),
    /// Shows which tables are watched.
    Status(Status),
    /// Ends that for tables; for all of them, if none is named, with all that was installed.
    Remove(Change),
}

#[derive(Debug, Args)]
struct Place {
    /// The database: postgres://user@host/database, mysql://.., mariadb://.. or sqlite:file.
    #[arg(long, value_name = "URL")]
    database_url: String,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    place: Place,
    /// Tables, as `orders` or `billing.orders`.
    #[arg(value_name = "TABLE")]
    tables: Vec<String>,
    /// Run the statements without asking.
    #[arg(long, short)]
    yes: bool,
    /// Show the statements, and run none.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    place: Place,
    /// Print an object.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  larder watch install --database-url postgres://app@localhost/shop orders products
  larder watch install --database-url mysql://root@localhost/shop --dry-run
  larder watch status --database-url sqlite:shop.db
  larder watch remove --database-url postgres://app@localhost/shop --yes";

impl Watch {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match &self.action {
            Action::Install(change) => {
                let mut database = Database::open(&change.place.database_url).await?;
                let seen = database.look().await?;
                let chosen = seen.chosen(&change.tables)?;
                let missing: Vec<_> = chosen.iter().filter(|table| table.state != State::Watched).collect();
                if missing.is_empty() && seen.is_installed {
                    return said("Nothing to do: watched already.");
                }
                let install = ("the table of versions".to_owned(), watch::install(seen.dialect).to_owned());
                let tables = missing.iter().map(|t| (t.to_string(), watch::watch(seen.dialect, &t.schema, &t.name)));
                change.run(&mut database, std::iter::once(install).chain(tables).collect()).await
            }
            Action::Remove(change) => {
                let mut database = Database::open(&change.place.database_url).await?;
                let seen = database.look().await?;
                let chosen = seen.chosen(&change.tables)?;
                let watched = chosen.iter().filter(|table| table.state != State::Not);
                let mut steps: Vec<_> =
                    watched.map(|t| (t.to_string(), watch::unwatch(seen.dialect, &t.schema, &t.name))).collect();
                if change.tables.is_empty() && seen.has_versions {
                    steps.push(("the table of versions".into(), watch::remove(seen.dialect).into()));
                }
                if steps.is_empty() {
                    return said("Nothing to do: not watched.");
                }
                change.run(&mut database, steps).await
            }
            Action::Status(status) => {
                let seen = Database::open(&status.place.database_url).await?.look().await?;
                if status.json {
                    let tables: Vec<_> = seen.tables.iter().map(Table::object).collect();
                    return written(writeln!(
                        io::stdout(),
                        "{:#}",
                        json!({"installed": seen.is_installed, "tables": tables})
                    ));
                }
                written(seen.show(&mut anstream::stdout().lock()))
            }
        }
    }
}

impl Change {
    /// Shows the statements, and runs them if that is wanted.
    async fn run(&self, database: &mut Database, steps: Vec<(String, String)>) -> Result<(), Failure> {
        let texts = steps.iter().map(|(_, text)| text.trim_end());
        written(writeln!(io::stdout().lock(), "{}\n", texts.collect::<Vec<_>>().join("\n\n")))?;
        if self.dry_run {
            return Ok(());
        }
        if !self.yes {
            if !io::stdin().is_terminal() {
                return Err(Failure::Usage("nothing was run: say --yes to run these statements, or --dry-run".into()));
            }
            eprint!("Run these statements? [y/N] ");
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map_err(|error| Failure::failed(error.to_string()))?;
            if !matches!(answer.trim(), "y" | "Y" | "yes") {
                return said("Nothing was run.");
            }
        }
        database.prepare().await?;
        let count = steps.len();
        for (done, (what, text)) in steps.into_iter().enumerate() {
            if let Err(error) = database.run(text).await {
                let what = crate::wording::plain(&what);
                return Err(Failure::failed(format!(
                    "{what}: {error}. {done} of {count} steps are done; the command may be repeated"
                )));
            }
            anstream::eprintln!("{} {}", done_mark(), crate::wording::plain(&what));
        }
        said("Done. Pools that are running follow within a minute, or at `pool.reload()`.")
    }
}

fn done_mark() -> String {
    let good = AnsiColor::Green.on_default();
    format!("{good}done{good:#}")
}

fn said(text: &str) -> Result<(), Failure> {
    eprintln!("{text}");
    Ok(())
}

fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error.to_string())),
        _ => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Watched,
    /// Some of the triggers are missing, turned off, or those of another release.
    Partly,
    Not,
}

impl State {
    fn label(self) -> &'static str {
        match self {
            Self::Watched => "yes",
            Self::Partly => "partly",
            Self::Not => "no",
        }
    }
}

#[derive(Debug)]
struct Table {
    /// Empty where a name has no more than one part.
    schema: String,
    name: String,
    state: State,
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.schema {
            "" => f.write_str(&self.name),
            schema => write!(f, "{schema}.{}", self.name),
        }
    }
}

impl Table {
    fn object(&self) -> serde_json::Value {
        json!({"schema": self.schema, "table": self.name, "watched": self.state.label()})
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.to_string() == name
    }
}

/// What is watched, and what could be.
struct Seen {
    dialect: Dialect,
    has_versions: bool,
    /// Whether all that is beside the tables is as this release installs it.
    is_installed: bool,
    tables: Vec<Table>,
}

impl Seen {
    fn chosen(&self, names: &[String]) -> Result<Vec<&Table>, Failure> {
        if names.is_empty() {
            return Ok(self.tables.iter().collect());
        }
        let mut chosen = Vec::new();
        for name in names {
            let called: Vec<_> = self.tables.iter().filter(|table| table.is_called(name)).collect();
            match &*called {
                [table] => chosen.push(*table),
                [] => {
                    let nearest = self.tables.iter().max_by(|a, b| {
                        let likeness = |table: &Table| strsim::jaro_winkler(&table.name, name);
                        likeness(a).total_cmp(&likeness(b))
                    });
                    let hint = nearest.map(|table| format!("; is {table} meant?")).unwrap_or_default();
                    return Err(Failure::Usage(format!(
                        "there is no table called {}{hint}",
                        crate::wording::plain(name)
                    )));
                }
                several => {
                    let names: Vec<_> = several.iter().map(ToString::to_string).collect();
                    let (name, names) = (crate::wording::plain(name), names.join(", "));
                    return Err(Failure::Usage(format!("several tables are called {name}: say which of {names}")));
                }
            }
        }
        Ok(chosen)
    }

    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let (bold, good, weak) = (Style::new().bold(), AnsiColor::Green.on_default(), AnsiColor::Yellow.on_default());
        if !self.is_installed {
            let what = if self.has_versions {
                "What is installed is not that of this release"
            } else {
                "Nothing is installed"
            };
            writeln!(out, "{weak}{what}{weak:#}: larder watch install --database-url URL [TABLE..]")?;
        }
        let names: Vec<String> = self.tables.iter().map(|table| crate::wording::plain(&table.to_string())).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default().max(5);
        writeln!(out, "{bold}{:width$}  watched{bold:#}", "table")?;
        for (table, name) in self.tables.iter().zip(names) {
            let style = match table.state {
                State::Watched => good,
                State::Partly => weak,
                State::Not => Style::new(),
            };
            writeln!(out, "{name:width$}  {style}{}{style:#}", table.state.label())?;
        }
        let watched = self.tables.iter().filter(|table| table.state == State::Watched).count();
        writeln!(out, "{watched} of {} tables are watched.", self.tables.len())?;
        out.flush()
    }
}

enum Database {
    Postgres(PgConnection),
    MySql(MySqlConnection),
    Sqlite(SqliteConnection),
}

macro_rules! each {
    ($database:expr, $connection:ident => $body:expr) => {
        match $database {
            Database::Postgres($connection) => $body,
            Database::MySql($connection) => $body,
            Database::Sqlite($connection) => $body,
        }
    };
}

/// Tables of users, with whether the trigger is as it is installed.
const POSTGRES_TABLES: &str = "\
    SELECT n.nspname::text, c.relname::text, CASE
        WHEN t.oid IS NULL THEN 'no'
        WHEN t.tgenabled = 'A' AND t.tgtype = 60 AND t.tgqual IS NULL AND t.tgfoid = to_regprocedure('larder.announce()')
            THEN 'yes'
        ELSE 'partly' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'larder_announce'
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'larder') AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1, 2";

impl Database {
    async fn open(url: &str) -> Result<Self, Failure> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => answer(PgConnection::connect(url)).await.map(Self::Postgres),
            Some("mysql" | "mariadb") => answer(MySqlConnection::connect(url)).await.map(Self::MySql),
            Some("sqlite") => answer(SqliteConnection::connect(url)).await.map(Self::Sqlite),
            _ => Err(Failure::Usage(
                "--database-url must begin with postgres://, mysql://, mariadb:// or sqlite:".into(),
            )),
        }
    }

    /// Rows of texts; nothing stands for NULL.
    async fn rows(&mut self, text: &'static str) -> Result<Vec<Vec<String>>, Failure> {
        each!(self, connection => {
            let rows = answer(sqlx::raw_sql(text).fetch_all(connection)).await?;
            let texts = |row: &_| (0..Row::len(row)).map(|at| Row::try_get::<Option<String>, _>(row, at).map(Option::unwrap_or_default)).collect();
            let texts = rows.iter().map(texts).collect::<Result<Vec<Vec<String>>, sqlx::Error>>();
            texts.map_err(|error| Failure::failed(format!("the database cannot be asked: {error}")))
        })
    }

    /// Whoever waits for a lock has others wait behind him.
    async fn prepare(&mut self) -> Result<(), Failure> {
        let set = match self {
            Self::Postgres(_) => "SET lock_timeout = '5s'",
            Self::MySql(_) => "SET lock_wait_timeout = 5",
            Self::Sqlite(_) => return Ok(()),
        };
        self.rows(set).await.map(drop)
    }

    async fn run(&mut self, text: String) -> Result<(), sqlx::Error> {
        each!(self, connection => sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.map(drop))
    }

    async fn look(&mut self) -> Result<Seen, Failure> {
        match self {
            Self::Postgres(_) => self.look_at_postgres().await,
            Self::MySql(_) => {
                let tables = "SELECT TABLE_NAME FROM information_schema.TABLES \
                    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1";
                let triggers = "SELECT EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS \
                    WHERE TRIGGER_SCHEMA = DATABASE()";
                self.look_at(Dialect::MySql, tables, triggers).await
            }
            Self::Sqlite(_) => {
                let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' \
                    AND sql NOT LIKE 'CREATE VIRTUAL %' ORDER BY 1";
                let triggers = "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type = 'trigger'";
                self.look_at(Dialect::Sqlite, tables, triggers).await
            }
        }
    }

    async fn look_at_postgres(&mut self) -> Result<Seen, Failure> {
        let rows = self.rows(POSTGRES_TABLES).await?;
        let tables = rows.into_iter().map(|row| {
            let [schema, name, state] = <[String; 3]>::try_from(row).expect("three columns");
            let state = match &*state {
                "yes" => State::Watched,
                "no" => State::Not,
                _ => State::Partly,
            };
            Table { schema, name, state }
        });
        let tables: Vec<Table> = tables.collect();
        let beside = "SELECT (SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('larder.announce()')), \
            to_regclass('larder.versions')::text";
        let beside = self.rows(beside).await?.pop().unwrap_or_default();
        let as_installed = watch::announcement(Dialect::Postgres, "", "");
        let has_versions = beside.get(1).is_some_and(|name| !name.is_empty());
        let is_installed = has_versions && beside.first().is_some_and(|source| *source == as_installed);
        Ok(Seen { dialect: Dialect::Postgres, has_versions, is_installed, tables })
    }

    async fn look_at(
        &mut self,
        dialect: Dialect,
        tables: &'static str,
        triggers: &'static str,
    ) -> Result<Seen, Failure> {
        let names: Vec<String> = self.rows(tables).await?.into_iter().flatten().collect();
        let triggers = self.rows(triggers).await?;
        let (_, versions) = watch::place(dialect);
        let has_versions = names.iter().any(|name| name == versions);
        let tables = names.into_iter().filter(|name| name != versions).map(|name| {
            let ours = watch::triggers(dialect, &name);
            let announcement = watch::announcement(dialect, "", &name);
            let has = |trigger: &&String| {
                triggers.iter().any(|row| row[0] == name && row[1] == **trigger && row[2].contains(&announcement))
            };
            let state = match ours.iter().filter(has).count() {
                0 if !triggers.iter().any(|row| ours.contains(&row[1])) => State::Not,
                found if found == ours.len() && has_versions => State::Watched,
                _ => State::Partly,
            };
            Table { schema: String::new(), name, state }
        });
        Ok(Seen { dialect, has_versions, is_installed: has_versions, tables: tables.collect() })
    }
}
