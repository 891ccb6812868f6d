//! Asks MySQL or MariaDB what stands behind the names.
//!
//! In: a connection. Out: a survey: which session, which tables, functions and triggers.
//! It never leaves a prepared statement or a setting behind.
//!
//! **Which database.** A statement may name the tables of any database of the server, so that tables are known by database
//! and name and all databases of a server are one. Servers are not told apart at all: what identifies one (a UUID, a host)
//! is another one's after a failover, below a pool that was there before it. Two servers that happen to have tables of the
//! same names then invalidate each other, which is safe.
//!
//! **What cannot be seen.** Triggers are shown to those who have the right TRIGGER, tables to those who have any right on
//! them. A write to a table of a database for which this user lacks that right is taken for a write to everything: there may
//! be triggers on it, and tables that refer to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Column, Row};

use super::code::{Code, Definition, Reaction, Source, Then};
use super::mysql_grants::Grants;
use super::relation::{Class, Kind, Traits};
use super::{Digest, Gate, Survey};
use crate::analysis::{self, Dialect, Language, SqlMode, Verbs};
use crate::reason::{Reason, Refusal};
use crate::watch;

/// Variables that a session's answers depend on, or that say that it cannot be relied on. Those that a server does not have
/// are not listed by it.
const VARIABLES: &str = "'autocommit', 'block_encryption_mode', 'character_set_client', 'character_set_collations', \
    'character_set_connection', 'character_set_database', 'character_set_results', 'character_set_server', \
    'collation_connection', 'collation_database', 'collation_server', 'completion_type', 'cte_max_recursion_depth', \
    'default_collation_for_utf8mb4', 'default_regex_flags', 'default_week_format', 'div_precision_increment', \
    'explicit_defaults_for_timestamp', 'foreign_key_checks', 'ft_boolean_syntax', 'group_concat_max_len', \
    'group_replication_consistency', 'group_replication_group_name', 'in_transaction', 'innodb_ft_aux_table', \
    'innodb_ft_enable_stopword', 'innodb_ft_server_stopword_table', 'innodb_ft_user_stopword_table', 'innodb_read_only', \
    'lc_messages', 'lc_time_names', 'lower_case_table_names', 'max_allowed_packet', 'max_recursive_iterations', 'max_sort_length', 'old_mode', \
    'read_only', 'resultset_metadata', 'server_id', 'server_uuid', 'sql_auto_is_null', 'sql_mode', \
    'sql_select_limit', 'standard_compliant_cte', 'super_read_only', 'system_time_zone', 'system_versioning_asof', \
    'time_zone', 'transaction_isolation', 'transaction_read_only', 'tx_isolation', 'tx_read_only', 'version', \
    'windowing_use_high_precision', 'wsrep_dirty_reads', 'wsrep_on', 'wsrep_sync_wait'";

/// How often MariaDB created a temporary table in this session, also in a procedure; it lists none of them.
const TEMPORARY_TABLES: &str = "Com_create_temporary_table";

/// How often something was set in this session, which sqlx does when it connects: not at all, if somebody has reset such
/// counts since.
const SETTINGS: &str = "Com_set_option";

/// Everything behind the names of a server. Each result begins with a column that says what its rows are.
const SCHEMA: &str = "\
    SELECT 'relation' AS relation, TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES \
        WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'); \
    SELECT 'trigger' AS `trigger`, EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, EVENT_MANIPULATION, \
        ACTION_STATEMENT, SQL_MODE FROM information_schema.TRIGGERS; \
    SELECT 'key' AS `key`, k.TABLE_SCHEMA, k.TABLE_NAME, k.REFERENCED_TABLE_SCHEMA, k.REFERENCED_TABLE_NAME, \
        k.CONSTRAINT_NAME, r.UPDATE_RULE, r.DELETE_RULE \
        FROM information_schema.KEY_COLUMN_USAGE k \
        LEFT JOIN information_schema.REFERENTIAL_CONSTRAINTS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA \
            AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
        WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND (r.UPDATE_RULE IS NULL \
            OR r.UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR r.DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION')); \
    SELECT 'view' AS `view`, TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS \
        WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'); \
    SELECT 'virtual' AS `virtual`, TABLE_SCHEMA, TABLE_NAME, GENERATION_EXPRESSION FROM information_schema.COLUMNS \
        WHERE EXTRA LIKE '%VIRTUAL%' \
        AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'); \
    SELECT 'time' AS `time`, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS \
        WHERE DATA_TYPE = 'time' AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'); \
    SELECT 'columns' AS `columns`, TABLE_SCHEMA, TABLE_NAME, CAST(SUM(CRC32(CONCAT_WS('/', COLUMN_NAME, COLUMN_TYPE, \
        ORDINAL_POSITION))) AS CHAR) FROM information_schema.COLUMNS \
        WHERE TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys') \
        GROUP BY TABLE_SCHEMA, TABLE_NAME; \
    SELECT 'routine' AS `routine`, ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_DEFINITION, SQL_MODE, ROUTINE_TYPE \
        FROM information_schema.ROUTINES \
        WHERE ROUTINE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'); \
    SELECT 'timed' AS `timed`, SPECIFIC_SCHEMA, SPECIFIC_NAME FROM information_schema.PARAMETERS \
        WHERE DATA_TYPE = 'time'; \
    SHOW GRANTS";

/// Looks at the server and at this session of it. Two round trips.
///
/// Within a transaction it looks at the session alone.
pub(crate) async fn survey(connection: &mut MySqlConnection) -> Result<Survey, sqlx::Error> {
    let session = Session::read(connection).await?;
    let within = session.within_transaction(connection).await;
    let schema = if within { Schema::default() } else { Schema::read(connection).await? };
    Ok(Survey {
        database: String::from("mysql"),
        incarnation: session.server.iter().map(|(name, value)| format!("{name}={value:?}\n")).collect(),
        session: session.text(),
        refusal: session.refusal(within),
        within_transaction: within,
        commits_late: session.commits_late(),
        mode: session.mode(),
        digest: schema.digest,
        gate: schema.gate(&session),
    })
}

/// The settings of the session that change what a query returns. One round trip.
pub(crate) async fn session(connection: &mut MySqlConnection) -> Result<String, sqlx::Error> {
    Ok(Session::read(connection).await?.text())
}

/// Whether a session that was `before` has the same settings, no temporary tables more, and no transaction that somebody
/// began in it and nobody ended. "No" where it cannot tell.
pub(crate) async fn is_as_it_was(connection: &mut MySqlConnection, before: &str) -> bool {
    let Ok(session) = Session::read(connection).await else { return false };
    before.contains(TEMPORARY_TABLES)
        && session.text() == before
        // Where autocommit is off, it is always in one, which is not for here to end.
        && (session.commits_late() || !session.within_transaction(connection).await)
}

/// Whether the session is in a transaction. "No" where it cannot be told.
pub(crate) async fn is_in_transaction(connection: &mut MySqlConnection) -> bool {
    match Session::read(connection).await {
        Ok(session) => session.within_transaction(connection).await,
        Err(_) => false,
    }
}

/// Variables that differ between servers, as far as they have them.
const SERVER: &str = "'datadir', 'hostname', 'port', 'server_id', 'server_uuid'";

#[derive(Default)]
struct Session {
    variables: HashMap<String, String>,
    /// What tells servers apart.
    server: BTreeMap<String, String>,
    /// The database in which a bare name is looked up.
    database: Option<String>,
}

impl Session {
    async fn read(connection: &mut MySqlConnection) -> Result<Self, sqlx::Error> {
        let text = format!(
            "SHOW SESSION VARIABLES WHERE Variable_name IN ({VARIABLES}, {SERVER}); \
             SHOW SESSION STATUS WHERE Variable_name IN ('{TEMPORARY_TABLES}', '{SETTINGS}', 'Slave_running'); \
             SELECT 'current_user', CURRENT_USER(); SELECT 'current_role', CURRENT_ROLE(); SELECT 'database', DATABASE()"
        );
        let mut session = Self::default();
        for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection).await? {
            let (name, value) = (text_at(&row, 0)?.unwrap_or_default(), text_at(&row, 1)?);
            if name == "database" {
                session.database.clone_from(&value);
            }
            let mut value = value.unwrap_or_else(|| "NULL".into());
            let quoted = format!("'{name}'");
            if SERVER.contains(&quoted) {
                session.server.insert(name.clone(), value.clone());
                if !VARIABLES.contains(&quoted) {
                    continue;
                }
            }
            if name == SETTINGS && value != "0" {
                value = "some".into();
            }
            session.variables.insert(name, value);
        }
        Ok(session)
    }

    fn text(&self) -> String {
        let lasting = self.variables.iter().filter(|(name, _)| *name != "in_transaction");
        // A database called NULL is not the same as none.
        let lines: BTreeSet<String> = lasting
            .map(|(name, value)| format!("{name}={value:?}\n"))
            .chain([format!("{:?}\n", self.database)])
            .collect();
        lines.into_iter().collect()
    }

    fn value(&self, name: &str) -> &str {
        self.variables.get(name).map(String::as_str).unwrap_or_default()
    }

    fn mode(&self) -> SqlMode {
        SqlMode::of(self.value("sql_mode"), self.value("character_set_client"))
    }

    /// Whether a switch is on, or in a state that is not known.
    fn may_be_on(&self, name: &str) -> bool {
        !["", "OFF", "0", "NO"].contains(&self.value(name))
    }

    /// Whether the session is in a transaction. One that cannot be told is: MySQL tells by refusing what it would do
    /// otherwise, to no effect, since it is what the session does anyway.
    async fn within_transaction(&self, connection: &mut MySqlConnection) -> bool {
        match self.value("in_transaction") {
            "" => {
                let level = self.value("transaction_isolation").replace('-', " ");
                let probe = format!("SET TRANSACTION ISOLATION LEVEL {level}");
                sqlx::raw_sql(AssertSqlSafe(probe)).execute(connection).await.is_err()
            }
            state => state != "0",
        }
    }

    /// Whether what a statement wrote may be committed by a later one.
    fn commits_late(&self) -> bool {
        self.value("autocommit") != "ON" || self.value("completion_type").starts_with("CHAIN")
    }

    fn refusal(&self, within_transaction: bool) -> Option<Refusal> {
        let refuse = |reason, sentence: &str| Some(Refusal::new(reason, sentence));
        if within_transaction {
            return refuse(Reason::Transaction, "The session is in a transaction, and sees an old state.");
        }
        if self.commits_late() {
            return refuse(
                Reason::Transaction,
                "The session does not end its transactions with each statement, and sees an old state: let autocommit be \
                 1, and completion_type NO_CHAIN.",
            );
        }
        if !["", "0"].contains(&self.value(TEMPORARY_TABLES)) {
            return refuse(
                Reason::Temporary,
                "The session has made a temporary table, which may hide another: create it on a connection of its own.",
            );
        }
        if [self.value("tx_isolation"), self.value("transaction_isolation")].contains(&"READ-UNCOMMITTED") {
            return refuse(
                Reason::ReadUncommitted,
                "The session reads what others have not committed: take another isolation level.",
            );
        }
        if ["read_only", "super_read_only", "innodb_read_only", "Slave_running"].iter().any(|name| self.may_be_on(name))
        {
            return refuse(
                Reason::Replica,
                "The server is read-only or a replica, which may be behind the writes: cache over the primary.",
            );
        }
        let waits = self.value("wsrep_sync_wait").parse().is_ok_and(|mask: u32| mask & 1 == 1);
        if self.may_be_on("wsrep_on") && (!waits || self.may_be_on("wsrep_dirty_reads")) {
            return refuse(
                Reason::Replica,
                "The server is a node of a Galera cluster and may be behind the others: set wsrep_sync_wait to 1.",
            );
        }
        let consistent = ["BEFORE", "BEFORE_AND_AFTER", "AFTER"].contains(&self.value("group_replication_consistency"));
        if !self.value("group_replication_group_name").is_empty() && !consistent {
            return refuse(
                Reason::Replica,
                "The server is a member of a replication group and may be behind the others: set \
                 group_replication_consistency to BEFORE.",
            );
        }
        None
    }

    /// Why the names in a statement, or the catalog, cannot be relied on.
    fn distrust(&self) -> Option<&'static str> {
        if self.value("sql_select_limit") != u64::MAX.to_string() {
            return Some("The session has a sql_select_limit, which may also cut what is asked of the catalog.");
        }
        if self.may_be_on("sql_auto_is_null") {
            return Some("The session has sql_auto_is_null, with which a comparison may read the last inserted id.");
        }
        if !["0", "1", "2"].contains(&self.value("lower_case_table_names")) {
            return Some("The server does not say whether the case of names matters.");
        }
        None
    }
}

/// Database and name.
type Place = (String, String);

#[derive(Default)]
struct Schema {
    /// Each relation with its type and engine.
    relations: Vec<(Place, String, String)>,
    triggers: Vec<Trigger>,
    /// Foreign keys that change the tables they are of, or may.
    keys: Vec<Key>,
    /// Views, as far as they are shown.
    views: Vec<(Place, String)>,
    /// Table and expression of each column that is made when it is read.
    virtual_columns: Vec<(Place, String)>,
    /// Table and name of each column of a time of day.
    times: Vec<(Place, String)>,
    routines: Vec<Stored>,
    /// Routines with a parameter or a result that is a time of day.
    timed: BTreeSet<Place>,
    grants: Vec<String>,
    digest: Digest,
}

struct Trigger {
    table: Place,
    name: String,
    event: String,
    statement: String,
    sql_mode: String,
}

struct Key {
    child: Place,
    parent: Place,
    name: String,
    /// What happens when a row of the parent gets another key, or is deleted; nothing where that is not shown.
    on_update: Option<String>,
    on_delete: Option<String>,
}

/// A stored function or procedure.
struct Stored {
    place: Place,
    /// `None` where it is not shown.
    body: Option<String>,
    sql_mode: String,
    is_procedure: bool,
}

impl Schema {
    async fn read(connection: &mut MySqlConnection) -> Result<Self, sqlx::Error> {
        let mut schema = Self::default();
        for row in sqlx::raw_sql(SCHEMA).fetch_all(connection).await? {
            let columns: Vec<Option<String>> = (0..row.len()).map(|at| text_at(&row, at)).collect::<Result<_, _>>()?;
            schema.digest.add(columns.iter().map(|column| column.as_deref().unwrap_or_default()));
            let text = |at| Ok::<_, sqlx::Error>(text_at(&row, at)?.unwrap_or_default());
            let place = || Ok::<_, sqlx::Error>((text(1)?, text(2)?));
            match row.column(0).name() {
                "relation" => schema.relations.push((place()?, text(3)?, text(4)?)),
                "trigger" => schema.triggers.push(Trigger {
                    table: place()?,
                    name: text(3)?,
                    event: text(4)?,
                    statement: text(5)?,
                    sql_mode: text(6)?,
                }),
                "key" => schema.keys.push(Key {
                    child: place()?,
                    parent: (text(3)?, text(4)?),
                    name: text(5)?,
                    on_update: text_at(&row, 6)?,
                    on_delete: text_at(&row, 7)?,
                }),
                "view" => schema.views.push((place()?, text(3)?)),
                "virtual" => schema.virtual_columns.push((place()?, text(3)?)),
                "time" => schema.times.push((place()?, text(3)?)),
                "routine" => schema.routines.push(Stored {
                    place: place()?,
                    body: text_at(&row, 3)?.filter(|body| !body.is_empty()),
                    sql_mode: text(4)?,
                    is_procedure: text(5)? == "PROCEDURE",
                }),
                // For the digest alone.
                "columns" => {}
                "timed" => drop(schema.timed.insert(place()?)),
                _ => schema.grants.push(text(0)?),
            }
        }
        Ok(schema)
    }

    /// Tables that change by a foreign key when a row in another database does, at first hand or over others.
    fn cascaded_from_afar(&self) -> BTreeSet<&Place> {
        let mut afar = BTreeSet::new();
        loop {
            let before = afar.len();
            let more = self.keys.iter().filter(|key| key.child.0 != key.parent.0 || afar.contains(&key.parent));
            let more: Vec<&Place> = more.map(|key| &key.child).collect();
            afar.extend(more);
            if afar.len() == before {
                return afar;
            }
        }
    }

    /// Reports what writes to tables set off, what stands behind views, and what routines do.
    fn tie(&self, gate: &mut Gate, session: &Session) {
        for ((database, name), text) in self.views.iter().filter(|(_, text)| !text.is_empty()) {
            let definition = Definition::new(format!("view {name}"), database, text, Dialect::MySql, session.mode());
            gate.see_definition((database, name), definition);
        }
        for Trigger { table, name, event, statement, sql_mode } in &self.triggers {
            let on = match &**event {
                "INSERT" => Verbs::INSERT,
                "UPDATE" => Verbs::UPDATE,
                "DELETE" => Verbs::DELETE,
                _ => Verbs::ALL,
            };
            // What it writes is of no concern to anybody else.
            if *statement == watch::announcement(Dialect::MySql, &table.0, &table.1) {
                continue;
            }
            // To some it is shown that there is one, and not what it does.
            let then = match statement.is_empty() {
                true => Then::Anything("is not shown to this user"),
                false => Then::Runs(code(statement, sql_mode)),
            };
            gate.see_reaction((&table.0, &table.1), Reaction { on, what: format!("trigger {name}"), then });
        }
        for Key { child, parent, name, on_update, on_delete } in &self.keys {
            let (child, parent) = ((&*child.0, &*child.1), (&*parent.0, &*parent.1));
            for (rule, on) in [(on_update, Verbs::UPDATE), (on_delete, Verbs::DELETE)] {
                let does = match rule.as_deref() {
                    Some("RESTRICT" | "NO ACTION") => continue,
                    Some("CASCADE") => on,
                    Some("SET NULL" | "SET DEFAULT") => Verbs::UPDATE,
                    _ => Verbs::ALL,
                };
                // Of a rule that is not shown, nothing is known.
                let on = if rule.is_some() { on } else { Verbs::ALL };
                gate.see_cascade(parent, child, format!("foreign key {name}"), on, does);
            }
        }
        for Stored { place, body, sql_mode, is_procedure } in &self.routines {
            // Nothing obliges a routine to do what its declaration says.
            let Some(body) = body else {
                gate.see_function(&place.1, Class::MayWrite);
                continue;
            };
            let mode = SqlMode::of(sql_mode, "utf8mb4");
            let reads = analysis::reads_of(body, Language::Sql, Dialect::MySql, mode).is_ok();
            let class = if reads && !self.timed.contains(place) { Class::Declared } else { Class::MayWrite };
            gate.see_source(&place.1, Source::new(Some(Language::Sql), class, code(body, sql_mode), !is_procedure));
        }
    }

    fn gate(self, session: &Session) -> Gate {
        let mut gate = Gate::new(Dialect::MySql, "", session.database.iter().cloned().collect());
        if session.value("lower_case_table_names") != "0" {
            gate.ignore_case();
        }
        if let Some(sentence) = session.distrust() {
            gate.refuse_reads(Refusal::new(Reason::NotUnderstood, sentence));
            gate.widen_writes(sentence);
        }
        let volatile: BTreeSet<&Place> = self
            .virtual_columns
            .iter()
            .filter(|(place, expression)| {
                let own = self.times.iter().filter(|(of, _)| of == place);
                let times: Vec<String> = own.map(|(_, column)| column.to_lowercase()).collect();
                is_volatile(expression, &times, session.mode())
            })
            .map(|(place, _)| place)
            .collect();
        let grants = Grants::of(&self.grants);
        let afar = self.cascaded_from_afar();
        let shown: BTreeSet<&Place> =
            self.views.iter().filter(|(_, text)| !text.is_empty()).map(|(place, _)| place).collect();
        if !grants.show_everything() {
            gate.hide_relations();
        }
        let mut unseen = BTreeSet::new();
        if self.relations.iter().any(|(_, kind, engine)| kind == "BASE TABLE" && !is_of_this_server(engine)) {
            gate.distrust_witness();
        }
        for (place, kind, engine) in &self.relations {
            let (database, name) = place;
            let hidden = !grants.show_all_of(database);
            if hidden {
                unseen.insert(database);
            }
            let kind = match &**kind {
                "BASE TABLE" | "SYSTEM VERSIONED" => Kind::Table,
                "VIEW" => Kind::View,
                "SEQUENCE" => Kind::Sequence,
                _ => Kind::Other,
            };
            let without_transactions = ["myisam", "aria"].contains(&&*engine.to_ascii_lowercase());
            let traits = Traits {
                without_transactions,
                // A view has no engine.
                unusual_storage: kind != Kind::View && !without_transactions && !engine.eq_ignore_ascii_case("innodb"),
                triggers_hidden: hidden,
                volatile_columns: volatile.contains(place),
                cascades_from_afar: afar.contains(place) || grants.show_a_part_of(database, name),
                reads_run_code: kind == Kind::View && !shown.contains(place),
                ..Traits::default()
            };
            gate.see_relation(database, name, kind, traits);
        }
        for database in unseen {
            tracing::warn!(target: "larder::catalog", database, "this user may not see the triggers of a database, so that each write to it drops everything that is cached: GRANT TRIGGER ON it");
        }
        for ((database, table), column) in &self.times {
            gate.see_time_of_day(database, table, column);
        }
        // One of such a name is loaded from a library, in a list that few may read.
        for name in analysis::not_built_in(session.value("version")) {
            gate.see_function(name, Class::Declared);
        }
        self.tie(&mut gate, session);
        gate
    }
}

fn code(text: &str, sql_mode: &str) -> Code {
    Code::new(text, Dialect::MySql, SqlMode::of(sql_mode, "utf8mb4"))
}

/// Whether an engine keeps its rows in this server, where they are those of no other table. FEDERATED, CONNECT and SPIDER send
/// what is written on, to whatever table, perhaps of this server, by a session of their own which may commit at once.
fn is_of_this_server(engine: &str) -> bool {
    const HERE: &[&str] = &["innodb", "myisam", "aria", "memory", "csv", "archive", "blackhole", "mrg_myisam"];
    HERE.contains(&&*engine.to_ascii_lowercase())
}

/// Whether what a generated column is made of is not known to depend on its row alone. MariaDB takes any function, and
/// today's date for a time of day that is to be a date.
fn is_volatile(expression: &str, times: &[String], mode: SqlMode) -> bool {
    let is_fixed = |expression: &str| {
        let facts = analysis::analyze_in(&format!("SELECT 1 FROM t WHERE ({expression})"), Dialect::MySql, mode);
        facts.cacheable() && !times.iter().any(|time| !time.is_ascii() || facts.mentions.met.contains(time))
    };
    // MySQL shows its texts with a backslash before each quote, which makes no sense as it stands.
    !is_fixed(expression) && !is_fixed(&expression.replace("\\'", "'"))
}

fn text_at(row: &MySqlRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    row.try_get_unchecked(column)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers of these kinds are not there to be tested with; what they say of themselves is.
    #[test]
    fn a_server_that_may_be_behind_is_refused() {
        let refused = |said: &[(&str, &str)]| {
            let usual = [("autocommit", "ON"), ("completion_type", "NO_CHAIN"), ("tx_isolation", "REPEATABLE-READ")];
            let variables = usual.iter().chain(said).map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Session { variables, ..Session::default() }.refusal(false).map(|refusal| refusal.reason)
        };
        assert_eq!(refused(&[("read_only", "OFF"), ("wsrep_on", "OFF"), ("Slave_running", "OFF")]), None);
        assert_eq!(refused(&[("wsrep_on", "ON"), ("wsrep_sync_wait", "1")]), None);
        assert_eq!(refused(&[("group_replication_group_name", "")]), None);
        let group = ("group_replication_group_name", "3f8e");
        assert_eq!(refused(&[group, ("group_replication_consistency", "BEFORE")]), None);
        for said in [
            &[("read_only", "ON")][..],
            &[("read_only", "NO_LOCK_NO_ADMIN")],
            &[("super_read_only", "1")],
            &[("innodb_read_only", "ON")],
            &[("Slave_running", "ON")],
            &[("wsrep_on", "ON"), ("wsrep_sync_wait", "0")],
            &[("wsrep_on", "ON"), ("wsrep_sync_wait", "6")],
            &[("wsrep_on", "ON"), ("wsrep_sync_wait", "1"), ("wsrep_dirty_reads", "ON")],
            &[group, ("group_replication_consistency", "EVENTUAL")],
            &[group],
        ] {
            assert_eq!(refused(said), Some(Reason::Replica), "{said:?}");
        }
        assert_eq!(refused(&[("transaction_isolation", "READ-UNCOMMITTED")]), Some(Reason::ReadUncommitted));
        assert_eq!(refused(&[(TEMPORARY_TABLES, "1")]), Some(Reason::Temporary));
        assert_eq!(refused(&[("autocommit", "OFF")]), Some(Reason::Transaction));
    }

    /// No server here has such an engine.
    #[test]
    fn what_is_sent_on_to_another_session_may_be_committed_at_once() {
        let place = |name: &str| (String::from("shop"), String::from(name));
        let write_of = |engines: &[(&str, &str)], sql: &str| {
            let relations = engines.iter().map(|(name, engine)| (place(name), "BASE TABLE".into(), (*engine).into()));
            let schema = Schema {
                relations: relations.collect(),
                triggers: vec![Trigger {
                    table: place("watched"),
                    name: "t".into(),
                    event: "UPDATE".into(),
                    statement: "CALL somewhere()".into(),
                    sql_mode: String::new(),
                }],
                grants: vec!["GRANT ALL PRIVILEGES ON *.* TO `a`@`%`".into()],
                ..Schema::default()
            };
            let variables = [("lower_case_table_names", "0"), ("sql_select_limit", "18446744073709551615")];
            let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            let gate = schema.gate(&Session { variables, database: Some("shop".into()), ..Session::default() });
            gate.writes(&analysis::analyze(sql, Dialect::MySql))
        };
        use super::super::Widened::{Everything, Tables};
        let here = [("plain", "InnoDB"), ("watched", "InnoDB"), ("other", "MyISAM")];
        let with_remote = [here[0], here[1], ("other", "FEDERATED")];
        for (sql, commits) in
            [("UPDATE plain SET n = 1", false), ("UPDATE watched SET n = 1", true), ("DELETE FROM other", true)]
        {
            let (alone, remote) = (write_of(&here, sql), write_of(&with_remote, sql));
            match commits {
                true => assert!(matches!(remote, Some(Everything(Reason::OpaqueStatement))), "{sql}: {remote:?}"),
                false => assert!(matches!(remote, Some(Tables { .. })), "{sql}: {remote:?}"),
            }
            assert!(!matches!(alone, Some(Everything(Reason::OpaqueStatement)) | None), "{sql}: {alone:?}");
        }
    }

    #[test]
    fn only_what_depends_on_the_row_alone_may_be_generated() {
        let volatile = |expression: &str| is_volatile(expression, &["opens".into()], SqlMode::default());
        for row in
            ["`a` + 1", "concat(`a`,_utf8mb4\\'x\\')", "concat(`a`,'x\\'y')", "upper(`a`)", "cast(`made` as date)"]
        {
            assert!(!volatile(row), "{row}");
        }
        for other in [
            "curdate()",
            "timestampdiff(YEAR,`born`,curdate())",
            "rand()",
            "f(`a`)",
            "@x",
            "nonsense (",
            "",
            "cast(`Opens` as date)",
        ] {
            assert!(volatile(other), "{other}");
        }
    }
}
