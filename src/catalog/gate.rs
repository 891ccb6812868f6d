//! What a survey saw, by name: which statements may pass is decided from it.
//!
//! In: relations, functions, operators and what ties them together. Out: what a name stands for.
//! It never asks the database: a name it has not seen does not pass.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;

use super::code::{Definition, Id, Reaction, Routine, Source, Then};
use super::relation::{Class, Kind, Relation, Traits};
use super::widening::Spread;
use super::{Table, spelling};
use crate::analysis::{Dialect, Facts, Name, Verbs};
use crate::reason::Refusal;
use crate::watch;

/// Postgres cuts names to this many bytes.
pub(super) const LONGEST_NAME: usize = 63;

pub(super) type Map<V> = HashMap<String, V, RandomState>;

/// What may pass.
#[derive(Debug)]
pub struct Gate {
    pub(super) dialect: Dialect,
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
    relations: Vec<Relation>,
    schemas: Map<Map<Id>>,
    /// The relations of a name, in whatever schema.
    bare: Map<Vec<Id>>,
    functions: Map<Routine>,
    /// Names that call a function without looking like a call: `t.f` for `f(t)` in Postgres, LIKE for `like()` in SQLite.
    called_words: HashSet<String, RandomState>,
    operators: Map<Class>,
    /// The functions behind operators that a user defined.
    operator_functions: Map<Vec<String>>,
    /// Why no read may be kept, whatever it names.
    pub(super) reads_refused: Option<Refusal>,
    /// Why any write may change any table, whatever it names.
    pub(super) writes_widened: Option<String>,
    /// Whether to read some relation may change any table.
    reads_may_write: bool,
    /// Whether something runs code of its own where it is read, and whether there is code that may write.
    defines: bool,
    writers: bool,
    /// Whether a transaction may write through other sessions than its own.
    pub(super) writes_elsewhere: bool,
    /// Whether there may be relations that this user is not shown.
    pub(super) hides_relations: bool,
    /// What writes set off, as far as it was asked.
    pub(super) spreads: Mutex<HashMap<(Id, Verbs), Arc<Spread>, RandomState>>,
}

/// What a name stands for.
pub(super) enum Resolved {
    Relation(Id),
    OtherDatabase,
    Unknown,
}

/// Where a name that a text uses is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lookup<'a> {
    /// As the session does.
    Session,
    /// A bare name in this schema alone.
    In(&'a str),
    /// A bare name in every schema: which one it is, is decided when the text is run.
    Anywhere,
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
            relations: Vec::new(),
            schemas: Map::default(),
            bare: Map::default(),
            functions: Map::default(),
            called_words: HashSet::default(),
            operators: Map::default(),
            operator_functions: Map::default(),
            reads_refused: None,
            writes_widened: None,
            reads_may_write: false,
            defines: false,
            writers: false,
            writes_elsewhere: false,
            hides_relations: false,
            spreads: Mutex::default(),
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

    /// A relation. All of them are to be seen before what ties them together.
    pub(super) fn see_relation(&mut self, schema: &str, name: &str, kind: Kind, traits: Traits) {
        let (schema, name) = (self.folded(schema).into_owned(), self.folded(name).into_owned());
        let table = Table(Arc::from(Name::new([&*schema, &*name]).to_string()));
        let relation = Relation::new(table, kind, traits);
        self.reads_may_write |= relation.reading_writes;
        let id = Id::try_from(self.relations.len()).expect("a database has fewer relations than that");
        let known = self.schemas.entry(schema).or_default().insert(name.clone(), id);
        let bare = self.bare.entry(name).or_default();
        bare.retain(|other| Some(*other) != known);
        bare.push(id);
        self.relations.push(relation);
    }

    /// The query behind a view, in which bare names are looked up in the schema `home`.
    pub(super) fn see_definition(&mut self, view: (&str, &str), definition: Definition) {
        self.defines = true;
        if let Some(relation) = self.seen(view) {
            relation.definition = Some(definition);
        }
    }

    /// A condition of row-level security, as a query of the table with it.
    pub(super) fn see_policy(&mut self, table: (&str, &str), policy: Definition) {
        self.defines = true;
        if let Some(relation) = self.seen(table) {
            relation.policies.push(policy);
        }
    }

    /// A table whose rows are also rows of another.
    pub(super) fn see_child(&mut self, child: (&str, &str), parent: (&str, &str)) {
        let (Some(child), Some(parent)) = (self.id(child.0, child.1), self.id(parent.0, parent.1)) else { return };
        self.relations[child as usize].parents.push(parent);
        self.relations[parent as usize].children.push(child);
    }

    /// What a write to a table sets off.
    pub(super) fn see_reaction(&mut self, table: (&str, &str), reaction: Reaction) {
        if let Some(relation) = self.seen(table) {
            relation.reactions.push(reaction);
        }
    }

    /// The same for every table of this name.
    #[cfg(feature = "sqlite")]
    pub(super) fn see_reaction_anywhere(&mut self, table: &str, reaction: Reaction) {
        let named = self.called(table).to_vec();
        let Some((last, others)) = named.split_last() else { return };
        for id in others {
            let then = Then::Anything("is on one of several tables of this name");
            let Reaction { on, what, .. } = &reaction;
            self.relations[*id as usize].reactions.push(Reaction { on: *on, what: what.clone(), then });
        }
        self.relations[*last as usize].reactions.push(reaction);
    }

    /// A foreign key that changes `child` when a row of `parent` is deleted, or gets another key.
    pub(super) fn see_cascade(
        &mut self,
        parent: (&str, &str),
        child: (&str, &str),
        what: String,
        on: Verbs,
        does: Verbs,
    ) {
        let then = match self.id(child.0, child.1) {
            Some(child) => Then::Writes(child, does),
            None => Then::Anything("the table that refers to it is not shown to this user"),
        };
        self.see_reaction(parent, Reaction { on, what, then });
    }

    /// A column of a time of day in MySQL, of a relation that was seen.
    pub(super) fn see_time_of_day(&mut self, schema: &str, name: &str, column: &str) {
        if let Some(relation) = self.seen((schema, name)) {
            relation.times.push(column.to_lowercase());
        }
    }

    /// A function of which no body is known.
    pub(super) fn see_function(&mut self, name: &str, class: Class) {
        let routine = self.routine(name, class);
        routine.unread |= !matches!(class, Class::Vouched | Class::Immutable);
    }

    /// A function or procedure with its body.
    pub(super) fn see_source(&mut self, name: &str, source: Source) {
        self.routine(name, source.class).sources.push(source);
    }

    fn routine(&mut self, name: &str, class: Class) -> &mut Routine {
        let name = self.folded_function(name).into_owned();
        self.beyond_ascii |= !name.is_ascii();
        self.writers |= class == Class::MayWrite;
        let routine = self.functions.entry(name).or_insert_with(|| Routine::new(class));
        routine.class = routine.class.max(class);
        routine
    }

    pub(super) fn see_called_word(&mut self, name: &str) {
        self.called_words.insert(name.to_owned());
    }

    pub(super) fn see_operator(&mut self, name: &str, class: Class) {
        let known = self.operators.entry(name.to_owned()).or_insert(class);
        *known = class.max(*known);
    }

    /// An operator that a user defined, which calls functions of these names.
    pub(super) fn see_operator_function(&mut self, operator: &str, function: &str) {
        self.operator_functions.entry(operator.to_owned()).or_default().push(function.to_owned());
    }

    /// Refuses every read. The first objection stays.
    pub(super) fn refuse_reads(&mut self, refusal: Refusal) {
        self.reads_refused.get_or_insert(refusal);
    }

    /// Takes every write for a write to everything.
    pub(super) fn widen_writes(&mut self, why: impl Into<String>) {
        self.writes_widened.get_or_insert(why.into());
    }

    /// Takes no database's word for what a transaction wrote.
    pub(super) fn distrust_witness(&mut self) {
        self.writes_elsewhere = true;
    }

    /// There may be relations that this user is not shown.
    pub(super) fn hide_relations(&mut self) {
        self.hides_relations = true;
    }

    /// Whether to read some relation may change any table.
    pub fn reads_may_write(&self) -> bool {
        self.reads_may_write || (self.defines && self.writers)
    }

    /// The full names of all relations that are not the system's, in order.
    pub fn names(&self) -> Vec<String> {
        let own = self.relations.iter().filter(|relation| !relation.system);
        let mut names: Vec<String> = own.map(|relation| relation.table.0.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Whether the database tells what other programs write.
    pub fn is_watched(&self) -> bool {
        let (schema, name) = watch::place(self.dialect);
        self.id(self.or_current(schema), name).is_some()
    }

    /// The tables that changed where another program wrote to this one, in whatever way. `None`: more than these may have.
    pub fn written_by_others(&self, schema: &str, name: &str) -> Option<Vec<Table>> {
        self.written(self.id(self.or_current(schema), name)?)
    }

    /// Where a bare name is looked up first, if none is given.
    fn or_current<'a>(&'a self, schema: &'a str) -> &'a str {
        if schema.is_empty() { self.path.first().map_or("", String::as_str) } else { schema }
    }

    /// The tables that a transaction wrote, by the names that the database gave as those of all that it wrote. `None` where
    /// more may have changed than these.
    pub fn witnessed(&self, names: &[(String, String)]) -> Option<Vec<Table>> {
        let mut tables = BTreeSet::new();
        for (schema, name) in names {
            let id = self.id(schema, name)?;
            let relation = self.relation(id);
            match relation.kind {
                // To write through a view locks what is behind it as well.
                Kind::View if !relation.system => continue,
                _ if !relation.holds_rows() || relation.writing.is_some() => return None,
                _ => {}
            }
            tables.insert(relation.table.clone());
            tables.extend(self.ancestors(id).into_iter().map(|id| self.relation(id).table.clone()));
        }
        if self.writes_elsewhere { None } else { Some(tables.into_iter().collect()) }
    }

    /// Tables whose rows are also those of others, over any number of steps.
    pub(super) fn ancestors(&self, id: Id) -> BTreeSet<Id> {
        self.reachable(id, |relation| &relation.parents)
    }

    /// Tables whose rows are also those of this one, over any number of steps.
    pub(super) fn descendants(&self, id: Id) -> BTreeSet<Id> {
        self.reachable(id, |relation| &relation.children)
    }

    fn reachable(&self, id: Id, next: impl Fn(&Relation) -> &Vec<Id>) -> BTreeSet<Id> {
        let mut found = BTreeSet::new();
        let mut pending = next(self.relation(id)).clone();
        while let Some(id) = pending.pop() {
            if found.insert(id) {
                pending.extend(next(self.relation(id)));
            }
        }
        found
    }

    pub(super) fn relation(&self, id: Id) -> &Relation {
        &self.relations[id as usize]
    }

    pub(super) fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// The relations of this bare name in whatever schema, also those that differ from it in case alone.
    pub(super) fn called(&self, bare: &str) -> &[Id] {
        self.bare.get(&*self.folded(bare)).map(Vec::as_slice).unwrap_or_default()
    }

    /// What goes by the name of a function. `None`: nothing that was seen.
    pub(super) fn function(&self, name: &str) -> Option<&Routine> {
        self.functions.get(&*self.folded_function(name))
    }

    /// The same with the name that it is known by.
    pub(super) fn function_entry(&self, name: &str) -> Option<(&str, &Routine)> {
        self.functions.get_key_value(&*self.folded_function(name)).map(|(name, routine)| (&**name, routine))
    }

    /// The names of functions that a user wrote, and that a query may call.
    pub(super) fn functions_of_users(&self) -> impl Iterator<Item = &str> {
        let by_users = |routine: &Routine| routine.sources.iter().any(|source| source.callable);
        self.functions.iter().filter(move |(_, routine)| by_users(routine)).map(|(name, _)| &**name)
    }

    pub(super) fn knows_operator(&self, operator: &str) -> bool {
        self.operators.contains_key(operator)
    }

    /// The functions behind an operator that a user defined.
    pub(super) fn operator_functions(&self, operator: &str) -> &[String] {
        self.operator_functions.get(operator).map(Vec::as_slice).unwrap_or_default()
    }

    /// The relation a user means by `name` (quoted as in SQL, or plain).
    ///
    /// A name that means nothing in SQL is tried to the letter, since reports print names without quotes.
    pub(super) fn meant(&self, name: &str) -> Option<Id> {
        let spelled = spelling::read(self.dialect, name)?;
        match (self.resolve(&spelled.folded, Lookup::Session), self.resolve(&spelled.literal, Lookup::Session)) {
            (Resolved::Relation(id), _) | (Resolved::Unknown, Resolved::Relation(id)) => Some(id),
            _ => None,
        }
    }

    /// The table or view a user means by `name`, if reads of it may be kept.
    pub fn table(&self, name: &str) -> Option<Table> {
        let id = self.meant(name)?;
        self.reads_of(id).ok()?;
        Some(self.relation(id).table.clone())
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

    /// What a name in a text stands for.
    pub(super) fn resolve(&self, name: &Name, lookup: Lookup<'_>) -> Resolved {
        let found = match (name.parts(), lookup) {
            ([table], Lookup::Session) => self.path.iter().find_map(|schema| self.id(schema, table)),
            ([table], Lookup::In(schema)) => self.id(schema, table),
            ([schema, table], _) => self.id(schema, table),
            ([database, schema, table], _) if !self.database.is_empty() => {
                if self.folded(database) != self.database {
                    return Resolved::OtherDatabase;
                }
                self.id(schema, table)
            }
            _ => None,
        };
        found.map_or(Resolved::Unknown, Resolved::Relation)
    }

    fn seen(&mut self, (schema, name): (&str, &str)) -> Option<&mut Relation> {
        let id = self.id(schema, name)?;
        self.relations.get_mut(id as usize)
    }

    pub(super) fn id(&self, schema: &str, table: &str) -> Option<Id> {
        if self.folds_unknown(schema) || self.folds_unknown(table) {
            return None;
        }
        self.schemas.get(&*self.folded(schema))?.get(&*self.folded(table)).copied()
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

    /// Whether a name may be another spelling, by letters beyond ASCII, of a function's.
    pub(super) fn may_be_obscure(&self, name: &str) -> bool {
        let by_ascii = self.ascii_only || self.dialect == Dialect::MySql;
        self.beyond_ascii && by_ascii && !name.is_ascii()
    }

    fn folds_unknown(&self, name: &str) -> bool {
        self.ascii_only && !name.is_ascii()
    }

    /// Everything in a statement that may run code, with what is known of it; `None` where nothing is.
    pub(super) fn mentioned<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = (Mention, &'a str, Option<Class>)> {
        let mentions = &facts.mentions;
        let obscure = move |name: &str| self.may_be_obscure(name);
        let function = move |name: &str| match obscure(name) {
            true => Some(Class::MayWrite),
            false => self.function(name).map(|routine| routine.class),
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
}

fn lower(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

/// What in a statement may run code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mention {
    Function,
    Operator,
    Word,
}
