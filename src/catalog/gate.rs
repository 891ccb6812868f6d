//! Decides which reads may be kept and what writes change, from what a survey saw.
//!
//! In: the facts of a statement. Out: the tables behind it, or an objection that names the thing objected to.
//! It never asks the database: a name it has not seen does not pass.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::relation::{Kind, Relation, Routine, Traits};
use super::{Table, Widened, spelling};
use crate::analysis::{
    Dialect, Facts, Kind as StatementKind, Name, Outcome, SessionEffect, TransactionControl, Writes,
};
use crate::reason::{Reason, Refusal};

/// Postgres cuts names to this many bytes.
pub(super) const LONGEST_NAME: usize = 63;

type Map<V> = HashMap<String, V, RandomState>;

/// What may pass.
#[derive(Debug)]
pub struct Gate {
    dialect: Dialect,
    /// The current database, for names of three parts; empty where a database has no name.
    database: String,
    /// The schemas in which a bare name is looked up, in order. The first that holds the name wins.
    path: Vec<String>,
    /// Whether the case of a table's name is of no importance to the server, where it has the choice.
    ignores_case: bool,
    /// Whether letters beyond ASCII may fold in a way that is not known here.
    ascii_only: bool,
    /// Whether a function has such a letter in its name.
    beyond_ascii: bool,
    schemas: Map<Map<Relation>>,
    functions: Map<Routine>,
    /// Names that call a function without looking like a call: `t.f` for `f(t)` in Postgres, LIKE for `like()` in SQLite.
    called_words: HashSet<String, RandomState>,
    operators: Map<Routine>,
    /// Why no read may be kept, whatever it names.
    reads_refused: Option<Refusal>,
    /// Whether any write may change any table, whatever it names.
    writes_widened: bool,
    /// Whether to read some relation may change any table.
    reads_may_write: bool,
    /// Whether a transaction may write through other sessions than its own.
    writes_elsewhere: bool,
}

/// What a name stands for.
enum Resolved<'a> {
    Relation(&'a Relation),
    OtherDatabase,
    Unknown,
}

impl Gate {
    /// A gate that has seen nothing: it lets no read pass and takes every write for a write to everything.
    pub(super) fn new(dialect: Dialect, database: impl Into<String>, path: Vec<String>) -> Self {
        Self {
            dialect,
            database: database.into(),
            path,
            ignores_case: dialect == Dialect::Sqlite,
            ascii_only: false,
            beyond_ascii: false,
            schemas: Map::default(),
            functions: Map::default(),
            called_words: HashSet::default(),
            operators: Map::default(),
            reads_refused: None,
            writes_widened: false,
            reads_may_write: false,
            writes_elsewhere: false,
        }
    }

    /// Lets no name pass that has letters beyond ASCII.
    pub(super) fn trust_ascii_only(&mut self) {
        self.ascii_only = true;
    }

    /// Takes names that differ in case only for the same.
    pub(super) fn ignore_case(&mut self) {
        self.ignores_case = true;
        self.trust_ascii_only();
    }

    pub(super) fn see_relation(&mut self, schema: &str, name: &str, kind: Kind, traits: Traits) {
        let (schema, name) = (self.folded(schema), self.folded(name));
        let table = Table(Arc::from(Name::new([&*schema, &*name]).to_string()));
        let relation = Relation::new(table, kind, traits);
        self.reads_may_write |= relation.reading_writes;
        if let Some(relations) = self.schemas.get_mut(&*schema) {
            relations.insert(name.into_owned(), relation);
        } else {
            let relations = Map::from_iter([(name.into_owned(), relation)]);
            self.schemas.insert(schema.into_owned(), relations);
        }
    }

    /// A column of a time of day in MySQL, of a relation that was seen.
    pub(super) fn see_time_of_day(&mut self, schema: &str, name: &str, column: &str) {
        let (schema, name) = (self.folded(schema).into_owned(), self.folded(name).into_owned());
        if let Some(relation) = self.schemas.get_mut(&schema).and_then(|relations| relations.get_mut(&name)) {
            relation.times.push(column.to_lowercase());
        }
    }

    pub(super) fn see_function(&mut self, name: &str, routine: Routine) {
        let name = self.folded_function(name).into_owned();
        self.beyond_ascii |= !name.is_ascii();
        worst(&mut self.functions, name, routine);
    }

    pub(super) fn see_called_word(&mut self, name: &str) {
        self.called_words.insert(name.to_owned());
    }

    pub(super) fn see_operator(&mut self, name: &str, routine: Routine) {
        worst(&mut self.operators, name.to_owned(), routine);
    }

    /// Refuses every read. The first objection stays.
    pub(super) fn refuse_reads(&mut self, refusal: Refusal) {
        self.reads_refused.get_or_insert(refusal);
    }

    /// Takes every write for a write to everything.
    pub(super) fn widen_writes(&mut self) {
        self.writes_widened = true;
    }

    /// Takes no database's word for what a transaction wrote.
    pub(super) fn distrust_witness(&mut self) {
        self.writes_elsewhere = true;
    }

    /// Whether to read some relation may change any table.
    pub fn reads_may_write(&self) -> bool {
        self.reads_may_write
    }

    /// Whether a read may run code that changes tables, whatever relations of this database its names stand for.
    pub fn reads_may_run_code(&self, facts: &Facts) -> bool {
        (self.reads_may_write && !facts.reads.is_empty()) || self.runs_unknown_code(facts)
    }

    /// The tables that a transaction wrote, by the names that the database gave as those of all that it wrote. `None` where
    /// more may have changed than these.
    pub fn witnessed(&self, names: &[(String, String)]) -> Option<Vec<Table>> {
        let table = |(schema, name): &(String, String)| {
            let relation = self.find(schema, name)?;
            relation.alone.then(|| relation.table.clone())
        };
        if self.writes_elsewhere { None } else { names.iter().map(table).collect() }
    }

    /// The tables behind a read that the text has no objection to, sorted, or why it may not be kept.
    pub fn reads(&self, facts: &Facts) -> Result<Vec<Table>, Refusal> {
        if let Some(refusal) = &self.reads_refused {
            return Err(refusal.clone());
        }
        if facts.outcome == Outcome::Unknown {
            return Err(Refusal::new(Reason::NotUnderstood, "Its text was not understood well enough."));
        }
        let tables = facts.reads.iter().map(|name| self.readable(name)).collect::<Result<BTreeSet<_>, _>>()?;
        if tables.is_empty() {
            return Err(Refusal::new(Reason::NoTables, "It reads no table, so that nothing could invalidate it."));
        }
        let daily = |name| matches!(self.resolve(name), Resolved::Relation(relation) if relation.time_of_day);
        if facts.mentions.functions.contains("timezone")
            && let Some(name) = facts.reads.iter().find(|name| daily(name))
        {
            let sentence = format!("{name} has a column of a time of day, which takes today's offset in a time zone.");
            return Err(Refusal::new(Reason::SpecialDate, sentence));
        }
        if let Some(refusal) = self.meets_time_of_day(facts) {
            return Err(refusal);
        }
        match self.mentioned(facts).find(|(_, _, routine)| *routine != Some(Routine::Vouched) && routine.is_some()) {
            Some((mention, name, _)) => Err(mention.refusal(name)),
            None => Ok(tables.into_iter().collect()),
        }
    }

    /// The objection that a time of day may meet a date, and take today's.
    fn meets_time_of_day(&self, facts: &Facts) -> Option<Refusal> {
        let met = &facts.mentions.met;
        // How letters beyond ASCII are compared is for the server to know.
        let is_met =
            |column: &String| met.contains(column) || (!column.is_ascii() && met.iter().any(|m| !m.is_ascii()));
        facts.reads.iter().find_map(|name| {
            let Resolved::Relation(relation) = self.resolve(name) else { return None };
            let column = relation.times.iter().find(|column| facts.meets_unnamed || is_met(column))?;
            let sentence = format!(
                "{column} of {name} is a time of day, which takes today's date where it meets a date: let it be a result of its own."
            );
            Some(Refusal::new(Reason::SpecialDate, sentence))
        })
    }

    /// What a statement may change. `None`: nothing.
    pub fn writes(&self, facts: &Facts) -> Option<Widened> {
        if facts.schema_change {
            return Some(Widened::Everything(Reason::SchemaChange));
        }
        if self.runs_unknown_code(facts) {
            return Some(Widened::Everything(Reason::OpaqueStatement));
        }
        // A view whose body calls a function that writes, or a policy that does.
        let writes = |name| matches!(self.resolve(name), Resolved::Relation(relation) if relation.reading_writes);
        if facts.reads.iter().any(writes) {
            return Some(Widened::Everything(Reason::OpaqueStatement));
        }
        let Writes::Tables(names) = &facts.writes else { return None };
        if self.writes_widened || names.is_empty() {
            return Some(Widened::Everything(Reason::WidensUnknown));
        }
        let tables = names.iter().map(|name| match self.resolve(name) {
            Resolved::Relation(relation) if relation.writing.is_none() => Some(relation.table.clone()),
            _ => None,
        });
        Some(match tables.collect::<Option<BTreeSet<_>>>() {
            Some(tables) => Widened::Tables(tables.into_iter().collect()),
            // What another session is told to write may be committed before this one commits.
            None if self.dialect == Dialect::MySql && self.writes_elsewhere => {
                Widened::Everything(Reason::OpaqueStatement)
            }
            None => Widened::Everything(Reason::WidensUnknown),
        })
    }

    /// The table a user means by `name` (quoted as in SQL, or plain), if it is a plain one.
    ///
    /// A name that means nothing in SQL is tried to the letter, since reports print names without quotes.
    pub fn table(&self, name: &str) -> Option<Table> {
        let spelled = spelling::read(self.dialect, name)?;
        let relation = match (self.resolve(&spelled.folded), self.resolve(&spelled.literal)) {
            (Resolved::Relation(relation), _) | (Resolved::Unknown, Resolved::Relation(relation)) => relation,
            _ => return None,
        };
        relation.reading.is_none().then(|| relation.table.clone())
    }

    /// Whether two names are the same, or may be to somebody who minds neither case nor quotes.
    pub fn alike(&self, one: &str, other: &str) -> bool {
        self.folded(one).to_lowercase() == self.folded(other).to_lowercase()
    }

    /// Whether there is a relation whose name is alike, in whatever schema if none is given.
    pub fn has_alike(&self, schema: Option<&str>, table: &str) -> bool {
        let schemas = self.schemas.iter().filter(|(name, _)| schema.is_none_or(|schema| self.alike(name, schema)));
        schemas.flat_map(|(_, relations)| relations.keys()).any(|name| self.alike(name, table))
    }

    fn readable(&self, name: &Name) -> Result<Table, Refusal> {
        match self.resolve(name) {
            Resolved::Relation(Relation { table, reading: None, .. }) => Ok(table.clone()),
            Resolved::Relation(Relation { reading: Some((reason, what)), .. }) => {
                Err(Refusal::new(*reason, format!("{name} {what}.")))
            }
            Resolved::OtherDatabase => Err(Refusal::new(
                Reason::NotAPlainTable,
                format!("{name} lies in another database: open a pool on that one."),
            )),
            Resolved::Unknown => Err(Refusal::new(
                Reason::NotAPlainTable,
                format!(
                    "No table called {name} was there when the catalog was read: if it is new, read the catalog again."
                ),
            )),
        }
    }

    fn resolve(&self, name: &Name) -> Resolved<'_> {
        let found = match name.parts() {
            [table] => self.path.iter().find_map(|schema| self.find(schema, table)),
            [schema, table] => self.find(schema, table),
            [database, schema, table] if !self.database.is_empty() => {
                if self.folded(database) != self.database {
                    return Resolved::OtherDatabase;
                }
                self.find(schema, table)
            }
            _ => None,
        };
        found.map_or(Resolved::Unknown, Resolved::Relation)
    }

    fn find(&self, schema: &str, table: &str) -> Option<&Relation> {
        if self.folds_unknown(schema) || self.folds_unknown(table) {
            return None;
        }
        self.schemas.get(&*self.folded(schema))?.get(&*self.folded(table))
    }

    /// A name as the database keeps it: cut to its limit in Postgres, in lower case where case is ignored.
    fn folded<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self.dialect {
            Dialect::Postgres => Cow::Borrowed(&name[..name.floor_char_boundary(LONGEST_NAME)]),
            Dialect::Sqlite | Dialect::MySql if self.ignores_case => lower(name),
            Dialect::Sqlite | Dialect::MySql => Cow::Borrowed(name),
        }
    }

    /// The same for the name of a function. MySQL minds the case of tables only.
    fn folded_function<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.dialect == Dialect::MySql { lower(name) } else { self.folded(name) }
    }

    fn folds_unknown(&self, name: &str) -> bool {
        self.ascii_only && !name.is_ascii()
    }

    /// Everything in a statement that may run code, with what is known of it; `None` where nothing is.
    fn mentioned<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = (Mention, &'a str, Option<Routine>)> {
        let mentions = &facts.mentions;
        let by_ascii = self.ascii_only || self.dialect == Dialect::MySql;
        let obscure = move |name: &str| self.beyond_ascii && by_ascii && !name.is_ascii();
        let function = move |name: &str| match obscure(name) {
            true => Some(Routine::MayWrite),
            false => self.functions.get(&*self.folded_function(name)).copied(),
        };
        let functions = mentions.functions.iter().map(move |name| (Mention::Function, &**name, function(name)));
        let operators = mentions.operators.iter().map(move |name| {
            // An operator of SQLite is a call of the function of that name, which a user may have replaced.
            let as_function = (self.dialect == Dialect::Sqlite).then(|| function(name)).flatten();
            (Mention::Operator, &**name, self.operators.get(name).copied().max(as_function))
        });
        let words = mentions.identifiers.iter().filter_map(move |name| {
            let callable = obscure(name) || self.called_words.contains(&*self.folded(name));
            callable.then(|| (Mention::Word, &**name, function(name)))
        });
        functions.chain(operators).chain(words)
    }

    /// Whether the statement may run code of which it is not known that it leaves tables alone.
    fn runs_unknown_code(&self, facts: &Facts) -> bool {
        if facts.transaction == Some(TransactionControl::TwoPhase) {
            return true;
        }
        if self.mentioned(facts).any(|(_, _, routine)| routine == Some(Routine::MayWrite)) {
            return true;
        }
        let opaque = facts.writes == Writes::Everything || facts.session == SessionEffect::MayChange;
        opaque && !self.vouches_for_calls(facts)
    }

    /// Whether a statement is opaque only because `analysis` does not know a function of it, and the catalog knows them
    /// all. Without this, each read that calls a harmless function of an extension would empty the cache.
    fn vouches_for_calls(&self, facts: &Facts) -> bool {
        let only_calls = facts.refusals.iter().all(|refusal| {
            !matches!(
                refusal.reason,
                Reason::NotUnderstood | Reason::TooComplex | Reason::SeveralStatements | Reason::NotARead
            )
        });
        let calls = facts.refusals.iter().any(|refusal| refusal.reason == Reason::UnknownFunction);
        facts.kind == StatementKind::Read
            && only_calls
            && calls
            && self.mentioned(facts).all(|(mention, _, routine)| mention != Mention::Function || routine.is_some())
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

fn worst(map: &mut Map<Routine>, name: String, routine: Routine) {
    let known = map.entry(name).or_insert(routine);
    *known = routine.max(*known);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mention {
    Function,
    Operator,
    Word,
}

impl Mention {
    fn refusal(self, name: &str) -> Refusal {
        match self {
            Self::Function => Refusal::new(
                Reason::UserFunction,
                format!("A function called {name} was defined by a user, and what it depends on is not known."),
            ),
            Self::Operator => Refusal::new(
                Reason::UserOperator,
                format!("An operator {name} was defined by a user, and what it depends on is not known."),
            ),
            Self::Word => Refusal::new(
                Reason::UserFunction,
                format!("The name {name} may call a function of that name, which was defined by a user."),
            ),
        }
    }
}
