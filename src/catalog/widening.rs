//! What a write changes: the tables it names and what that sets off, through views, partitions, foreign keys, triggers, rules and
//! the functions that these call.
//!
//! In: the facts of a statement. Out: tables, each with how it came in, or everything, with why.
//! It never stops at what it cannot follow: that may change anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::code::{Code, Definition, Id, Reaction, Routine, Then};
use super::gate::{Gate, Lookup, Mention, Resolved};
use super::relation::{Class, Kind};
use super::{Table, Widened};
use crate::analysis::{
    Dialect, Facts, Kind as StatementKind, Name, Outcome, SessionEffect, TransactionControl, Verbs, Writes,
};
use crate::reason::Reason;

/// What a write sets off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// The tables that may change, with what does that; nothing for those that the statement names.
    pub tables: BTreeMap<Table, String>,
    /// Why any table may.
    pub anything: Option<String>,
    /// Whether code runs that a user wrote, which may change the settings of the session.
    pub runs_code: bool,
}

impl Spread {
    fn merge(&mut self, other: &Self) {
        for (table, what) in &other.tables {
            let known = self.tables.entry(table.clone()).or_insert_with(|| what.clone());
            if what.is_empty() {
                known.clear();
            }
        }
        if self.anything.is_none() {
            self.anything.clone_from(&other.anything);
        }
        self.runs_code |= other.runs_code;
    }
}

impl Gate {
    /// What a statement may change. `None`: nothing.
    pub fn writes(&self, facts: &Facts) -> Option<Widened> {
        let (reason, spread) = self.spread(facts)?;
        Some(match spread.anything {
            Some(_) => Widened::Everything(reason),
            None => Widened::Tables { tables: spread.tables.into_keys().collect(), runs_code: spread.runs_code },
        })
    }

    /// The same with all that led there, and the reason if it is everything.
    pub fn spread(&self, facts: &Facts) -> Option<(Reason, Spread)> {
        let anything = |reason, why: &str| {
            Some((reason, Spread { anything: Some(why.to_owned()), runs_code: true, ..Spread::default() }))
        };
        if facts.schema_change {
            return anything(Reason::SchemaChange, "it changes the schema");
        }
        if facts.transaction == Some(TransactionControl::TwoPhase) {
            return anything(Reason::OpaqueStatement, "it ends a transaction of another session");
        }
        // What another session is told to write may be committed before this one commits.
        let elsewhere = self.dialect == Dialect::MySql && self.writes_elsewhere;
        let unknown = if elsewhere { Reason::OpaqueStatement } else { Reason::WidensUnknown };
        let mut follow = Follow::new(self);
        self.mentioned(facts).for_each(|(mention, name, class)| follow.mentioned(mention, name, class, ""));
        for name in &facts.reads {
            if let Resolved::Relation(id) = self.resolve(name, Lookup::Session) {
                follow.read(id);
            }
        }
        let mut spread = follow.finish();
        if spread.anything.is_some() {
            return Some((Reason::OpaqueStatement, spread));
        }
        let opaque = facts.writes == Writes::Everything || facts.session == SessionEffect::MayChange;
        if opaque && !self.vouches_for_calls(facts) {
            return anything(Reason::OpaqueStatement, "its text does not tell what it does");
        }
        let Writes::Tables(names) = &facts.writes else {
            let nothing = spread.tables.is_empty() && !spread.runs_code;
            return (!nothing).then_some((Reason::OpaqueStatement, spread));
        };
        if let Some(why) = &self.writes_widened {
            return anything(unknown, why);
        }
        if names.is_empty() {
            return anything(unknown, "it names no table that it writes");
        }
        for (name, verbs) in names {
            match self.resolve(name, Lookup::Session) {
                Resolved::Relation(id) => spread.merge(&self.set_off(id, *verbs)),
                _ => return anything(unknown, &format!("no table called {name} is known")),
            }
        }
        Some((unknown, spread))
    }

    /// The tables that change where somebody writes, in whatever way, to the table or view that a user means by `name`.
    /// `None`: more than these may.
    pub fn written_as(&self, name: &str) -> Option<Vec<Table>> {
        self.written(self.meant(name)?)
    }

    /// The same for a relation.
    pub(super) fn written(&self, id: Id) -> Option<Vec<Table>> {
        let spread = self.set_off(id, Verbs::ALL);
        spread.anything.is_none().then(|| spread.tables.keys().cloned().collect())
    }

    /// Why any table may change with a write to this relation, if that is so.
    pub(super) fn anything_by(&self, id: Id, verbs: Verbs) -> Option<String> {
        self.set_off(id, verbs).anything.clone()
    }

    /// Whether a read may run code that changes tables, whatever relations of this database its names stand for.
    pub fn reads_may_run_code(&self, facts: &Facts) -> bool {
        let may_write = |(_, _, class)| class == Some(Class::MayWrite);
        let opaque = facts.writes == Writes::Everything || facts.session == SessionEffect::MayChange;
        (self.reads_may_write() && !facts.reads.is_empty())
            || facts.transaction == Some(TransactionControl::TwoPhase)
            || self.mentioned(facts).any(may_write)
            || opaque && !self.vouches_for_calls(facts)
    }

    /// What a write to a relation sets off. Worked out once.
    fn set_off(&self, id: Id, verbs: Verbs) -> Arc<Spread> {
        let known = |spreads: &HashMap<_, Arc<Spread>, _>| spreads.get(&(id, verbs)).cloned();
        if let Some(spread) = known(&self.spreads.lock().unwrap_or_else(PoisonError::into_inner)) {
            return spread;
        }
        let mut follow = Follow::new(self);
        follow.write(id, verbs, "");
        let spread = Arc::new(follow.finish());
        self.spreads.lock().unwrap_or_else(PoisonError::into_inner).insert((id, verbs), spread.clone());
        spread
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
            && self.mentioned(facts).all(|(mention, _, class)| mention != Mention::Function || class.is_some())
    }
}

struct Follow<'g> {
    gate: &'g Gate,
    spread: Spread,
    /// Relations that are read.
    read: HashSet<Id>,
    /// Writes to be followed: what, how, and what does it.
    pending: Vec<(Id, Verbs, String)>,
    done: HashMap<Id, Verbs>,
    functions: HashSet<&'g str>,
}

impl<'g> Follow<'g> {
    fn new(gate: &'g Gate) -> Self {
        let (spread, read, pending, done, functions) = Default::default();
        Self { gate, spread, read, pending, done, functions }
    }

    fn write(&mut self, id: Id, verbs: Verbs, what: &str) {
        self.pending.push((id, verbs, what.to_owned()));
    }

    fn anything(&mut self, why: String) {
        self.spread.anything.get_or_insert(why);
        self.spread.runs_code = true;
    }

    fn finish(mut self) -> Spread {
        while let Some((id, verbs, what)) = self.pending.pop() {
            if self.spread.anything.is_some() {
                break;
            }
            self.relation(id, verbs, &what);
        }
        self.spread
    }

    fn changes(&mut self, table: &Table, what: &str) {
        self.spread.tables.entry(table.clone()).or_insert_with(|| what.to_owned());
    }

    fn relation(&mut self, id: Id, verbs: Verbs, what: &str) {
        let done = self.done.entry(id).or_insert(Verbs::NONE);
        let new = verbs.without(*done);
        if new == Verbs::NONE {
            return;
        }
        *done |= verbs;
        let relation = self.gate.relation(id);
        let name = &relation.table.0;
        if let Some(why) = relation.writing {
            return self.anything(by(what, &format!("{name} {why}")));
        }
        for Reaction { what: reaction, then, .. } in
            relation.reactions.iter().filter(|reaction| reaction.on.any_of(new))
        {
            let reaction = format!("{reaction} of {name}");
            match then {
                Then::Writes(child, verbs) => self.write(*child, *verbs, &reaction),
                Then::Runs(code) => {
                    self.spread.runs_code = true;
                    self.code(code, &reaction);
                }
                Then::Anything(why) => self.anything(format!("{reaction}: {why}")),
            }
        }
        if relation.kind == Kind::View {
            return self.view(id, new, what);
        }
        self.changes(&relation.table, what);
        for parent in self.gate.ancestors(id) {
            let through = format!("rows of {name} are rows of it");
            self.changes(&self.gate.relation(parent).table, &through);
        }
        // A row that gets another key may move.
        let moved = if new.any_of(Verbs::UPDATE) { Verbs::ALL } else { new };
        let through = format!("its rows are rows of {name}");
        for child in self.gate.descendants(id) {
            self.write(child, moved, &through);
        }
    }

    /// A write through a view writes what is behind it.
    fn view(&mut self, id: Id, verbs: Verbs, what: &str) {
        let relation = self.gate.relation(id);
        let name = &relation.table.0;
        let Some(definition) = relation.definition.as_ref().filter(|d| d.facts().outcome != Outcome::Unknown) else {
            return self.anything(by(what, &format!("what is behind the view {name} is not known")));
        };
        self.runs(definition);
        let through = definition.what.clone();
        for name in &definition.facts().reads {
            match self.gate.resolve(name, Lookup::In(&definition.home)) {
                Resolved::Relation(id) => self.write(id, verbs, &through),
                _ => self.anything(by(&through, &format!("no table called {name} is known"))),
            }
        }
    }

    /// To read a relation runs what its definition calls.
    fn read(&mut self, id: Id) {
        if !self.read.insert(id) {
            return;
        }
        let relation = self.gate.relation(id);
        if relation.reading_writes {
            return self.anything(format!("to read {} runs code that may write", relation.table.0));
        }
        // A materialized view ran its own when it was filled.
        let definition = relation.definition.iter().filter(|_| !relation.holds_rows());
        definition.chain(&relation.policies).for_each(|definition| self.runs(definition));
    }

    fn runs(&mut self, definition: &'g Definition) {
        let (facts, what) = (definition.facts(), &definition.what);
        let unknown = |name: &&String| self.gate.function(name).is_none() && !self.gate.knows_operator(name);
        if let Some(name) = facts.mentions.unknown.iter().find(unknown) {
            return self.anything(format!("the {what} calls {name}, which is not known"));
        }
        self.gate.mentioned(facts).for_each(|(mention, name, class)| self.mentioned(mention, name, class, what));
        if facts.outcome == Outcome::Unknown {
            if self.gate.dialect == Dialect::MySql {
                return self.anything(format!("what the {what} calls is not known"));
            }
            // Every function that there is, is known.
            facts.mentions.identifiers.iter().for_each(|word| self.call(word, what));
        }
        for name in &facts.reads {
            if let Resolved::Relation(id) = self.gate.resolve(name, Lookup::In(&definition.home)) {
                self.read(id);
            }
        }
    }

    /// What a text mentions, it may call.
    fn mentioned(&mut self, mention: Mention, name: &str, class: Option<Class>, what: &str) {
        if matches!(class, None | Some(Class::Vouched | Class::Immutable)) {
            return;
        }
        match (mention, self.gate.operator_functions(name)) {
            (Mention::Function | Mention::Word, _) => self.call(name, what),
            (Mention::Operator, []) if class == Some(Class::MayWrite) => {
                self.anything(format!("the operator {name} may do anything"));
            }
            (Mention::Operator, functions) => functions.iter().for_each(|function| self.call(function, what)),
        }
    }

    /// Code may write every table that it mentions, and call every function.
    fn code(&mut self, code: &'g Code, what: &str) {
        let body = code.body();
        if let Some(why) = body.opaque {
            return self.anything(format!("{what} {why}"));
        }
        for name in &body.tables {
            if self.gate.hides_relations && !self.is_known(name) {
                self.anything(format!("{what} may write {name}, which is not shown to this user"));
            }
        }
        // In MySQL, routines are shown to those who may run or change them.
        let unknown = |name: &&String| self.gate.dialect == Dialect::MySql && self.gate.function(name).is_none();
        if let Some(name) = body.calls.iter().find(unknown) {
            self.anything(format!("{what} may call {name}, which is not shown to this user"));
        }
        for word in &body.identifiers {
            for id in self.gate.called(word) {
                let relation = self.gate.relation(*id);
                // The system's views are no tables, and often have the names of columns.
                if !(relation.system && relation.kind != Kind::Table) {
                    self.write(*id, Verbs::ALL, what);
                }
            }
            self.call(word, what);
        }
    }

    fn is_known(&self, name: &Name) -> bool {
        match name.parts() {
            [bare] => !self.gate.called(bare).is_empty(),
            _ => matches!(self.gate.resolve(name, Lookup::Anywhere), Resolved::Relation(_)),
        }
    }

    /// A call of everything that goes by a name; of nothing, if that is no function.
    fn call(&mut self, name: &str, what: &str) {
        let Some((name, routine)) = self.gate.function_entry(name) else {
            if self.gate.may_be_obscure(name) {
                self.anything(format!("{name} may be the name of a function"));
            }
            return;
        };
        if matches!(routine.class, Class::Vouched | Class::Immutable) || !self.functions.insert(name) {
            return;
        }
        let Routine { class, sources, unread } = routine;
        let what = if what.is_empty() { format!("function {name}") } else { what.to_owned() };
        if *unread && *class == Class::MayWrite {
            return self.anything(format!("function {name} may do anything"));
        }
        for source in sources {
            match (source.language, source.class) {
                (_, Class::Vouched | Class::Immutable) => {}
                // The database lets it write nothing, but what it calls may.
                (Some(_), Class::Declared) => {
                    let body = source.code.body();
                    if body.opaque.is_none() {
                        body.identifiers.iter().for_each(|word| self.call(word, &what));
                    }
                }
                (None, Class::Declared) => {}
                (Some(_), Class::MayWrite) => {
                    self.spread.runs_code = true;
                    self.code(&source.code, &what);
                }
                (None, Class::MayWrite) => self.anything(format!("function {name} is in a language that is not read")),
            }
        }
    }
}

fn by(what: &str, why: &str) -> String {
    match what {
        "" => why.to_owned(),
        what => format!("{what}: {why}"),
    }
}
