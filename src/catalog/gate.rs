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

type Map<V> = HashMap<String, V, RandomState>;

/// What may pass.
#[derive(Debug)]
pub struct Gate {
    dialect: Dialect,
    /// The current database, for names of three parts; empty where a database has no name.
    database: String,
    /// The schemas in which a bare name is looked up, in order. The first that holds the name wins.
    path: Vec<String>,
    /// Names are cut to this many bytes by the database.
    longest_name: usize,
    /// Whether letters beyond ASCII may fold in a way that is not known here.
    ascii_only: bool,
    schemas: Map<Map<Relation>>,
    functions: Map<Routine>,
    /// Functions that can be called as if they were a column: `t.f` for `f(t)`.
    row_functions: HashSet<String, RandomState>,
    operators: Map<Routine>,
    /// Why no read may be kept, whatever it names.
    reads_refused: Option<Refusal>,
    /// Whether any write may change any table, whatever it names.
    writes_widened: bool,
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
            longest_name: if dialect == Dialect::Postgres { 63 } else { usize::MAX },
            ascii_only: false,
            schemas: Map::default(),
            functions: Map::default(),
            row_functions: HashSet::default(),
            operators: Map::default(),
            reads_refused: None,
            writes_widened: false,
        }
    }

    pub(super) fn limit_names(&mut self, longest_name: usize, ascii_only: bool) {
        (self.longest_name, self.ascii_only) = (longest_name, ascii_only);
    }

    pub(super) fn see_relation(&mut self, schema: &str, name: &str, kind: Kind, traits: Traits) {
        let (schema, name) = (self.folded(schema), self.folded(name));
        let table = Table(Arc::from(Name::new([&*schema, &*name]).to_string()));
        let relation = Relation::new(table, kind, traits);
        if let Some(relations) = self.schemas.get_mut(&*schema) {
            relations.insert(name.into_owned(), relation);
        } else {
            let relations = Map::from_iter([(name.into_owned(), relation)]);
            self.schemas.insert(schema.into_owned(), relations);
        }
    }

    pub(super) fn see_function(&mut self, name: &str, routine: Routine) {
        let name = self.folded(name).into_owned();
        worst(&mut self.functions, name, routine);
    }

    pub(super) fn see_row_function(&mut self, name: &str) {
        self.row_functions.insert(name.to_owned());
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
        match self.mentioned(facts).find(|(_, _, routine)| *routine != Some(Routine::Vouched) && routine.is_some()) {
            Some((mention, name, _)) => Err(mention.refusal(name)),
            None => Ok(tables.into_iter().collect()),
        }
    }

    /// What a statement may change. `None`: nothing.
    pub fn writes(&self, facts: &Facts) -> Option<Widened> {
        if facts.schema_change {
            return Some(Widened::Everything(Reason::SchemaChange));
        }
        if facts.writes == Writes::Everything || self.runs_unknown_code(facts) {
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

    /// A name as the database keeps it: cut to its limit in Postgres, in lower case in SQLite.
    fn folded<'a>(&self, name: &'a str) -> Cow<'a, str> {
        match self.dialect {
            Dialect::Sqlite if name.bytes().any(|b| b.is_ascii_uppercase()) => Cow::Owned(name.to_ascii_lowercase()),
            _ => Cow::Borrowed(&name[..name.floor_char_boundary(self.longest_name)]),
        }
    }

    fn folds_unknown(&self, name: &str) -> bool {
        self.ascii_only && !name.is_ascii()
    }

    /// Everything in a statement that may run code, with what is known of it; `None` where nothing is.
    fn mentioned<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = (Mention, &'a str, Option<Routine>)> {
        let mentions = &facts.mentions;
        let function = |name: &str| match self.folds_unknown(name) {
            true => Some(Routine::MayWrite),
            false => self.functions.get(&*self.folded(name)).copied(),
        };
        let functions = mentions.functions.iter().map(move |name| (Mention::Function, &**name, function(name)));
        let operators = mentions.operators.iter().map(move |name| {
            // An operator of SQLite is a call of the function of that name, which a user may have replaced.
            let as_function = (self.dialect == Dialect::Sqlite).then(|| function(name)).flatten();
            (Mention::Operator, &**name, self.operators.get(name).copied().max(as_function))
        });
        let columns = mentions.identifiers.iter().filter_map(move |name| {
            let callable = self.folds_unknown(name) || self.row_functions.contains(&*self.folded(name));
            callable.then(|| (Mention::Column, &**name, function(name)))
        });
        functions.chain(operators).chain(columns)
    }

    /// Whether the statement may run code of which it is not known that it leaves tables alone.
    fn runs_unknown_code(&self, facts: &Facts) -> bool {
        if facts.transaction == Some(TransactionControl::TwoPhase) {
            return true;
        }
        if self.mentioned(facts).any(|(_, _, routine)| routine == Some(Routine::MayWrite)) {
            return true;
        }
        // In a read, a function that `analysis` does not know is all that may stand behind this word. The catalog knows
        // more of them, and without its word every call of a harmless function would empty the cache.
        facts.session == SessionEffect::MayChange
            && (facts.kind != StatementKind::Read
                || facts.outcome == Outcome::Unknown
                || facts.mentions.functions.is_empty()
                || self.mentioned(facts).any(|(mention, _, routine)| mention == Mention::Function && routine.is_none()))
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
    Column,
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
            Self::Column => Refusal::new(
                Reason::UserFunction,
                format!("The name {name} may call a user's function of a row as if it were a column: rename either."),
            ),
        }
    }
}
