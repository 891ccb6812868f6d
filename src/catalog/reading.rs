//! What a read rests on: the tables behind its names, through views, functions and conditions of row-level security.
//!
//! In: the facts of a statement. Out: tables, each with how it came in, or an objection that names the thing objected to.
//! It never lets pass what it could not follow to its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Table;
use super::code::{Definition, Id, Routine};
use super::gate::{Gate, Lookup, Mention, Resolved};
use super::relation::Class;
use crate::analysis::{Facts, Name, Outcome};
use crate::reason::{Reason, Refusal};

/// What a read rests on.
#[derive(Debug, Default, Clone)]
pub struct Reading {
    /// The tables, with what they were reached through; nothing for those that the statement names.
    pub tables: BTreeMap<Table, String>,
    /// The views on the way.
    pub views: BTreeSet<Table>,
    /// Whose rows it may show besides, though it does not rest on them: what a materialized view was filled from, and the rest of a
    /// family of partitions.
    pub related: BTreeSet<Table>,
    /// Set where who asks decides what is seen: why.
    pub scope: Option<String>,
    /// The identifiers in what stands behind views and functions.
    pub identifiers: BTreeSet<String>,
    /// Whether that may read columns without naming them.
    pub unnamed_columns: bool,
}

/// A text on the way.
struct Text<'g> {
    facts: &'g Facts,
    lookup: Lookup<'g>,
    /// What it is, for people; nothing for the statement itself.
    what: String,
    /// Whether it is a condition of row-level security: then it may ask who asks, since results are kept by scope.
    policy: bool,
    /// Whether it is a statement in a function.
    function: bool,
}

impl Gate {
    /// What a read rests on that the text has no objection to, or why it may not be kept.
    pub fn reads(&self, facts: &Facts) -> Result<Reading, Refusal> {
        if let Some(refusal) = &self.reads_refused {
            return Err(refusal.clone());
        }
        let mut follow = Follow::new(self);
        follow.texts.push(Text { facts, lookup: Lookup::Session, what: String::new(), policy: false, function: false });
        let reading = follow.finish()?;
        match reading.tables.is_empty() {
            true => Err(Refusal::new(Reason::NoTables, "It reads no table, so that nothing could invalidate it.")),
            false => Ok(reading),
        }
    }

    /// What to call a function rests on.
    pub(super) fn reads_by(&self, function: &str) -> Result<Reading, Refusal> {
        let mut follow = Follow::new(self);
        if let Some((name, _)) = self.function_entry(function) {
            follow.function(name, Mention::Function)?;
        }
        follow.finish()
    }

    /// What to read a whole relation rests on.
    pub(super) fn reads_of(&self, id: Id) -> Result<Reading, Refusal> {
        let mut follow = Follow::new(self);
        follow.relation(id, "")?;
        follow.finish()
    }
}

struct Follow<'g> {
    gate: &'g Gate,
    reading: Reading,
    texts: Vec<Text<'g>>,
    relations: HashSet<Id>,
    functions: HashSet<&'g str>,
}

impl<'g> Follow<'g> {
    fn new(gate: &'g Gate) -> Self {
        let (relations, functions) = Default::default();
        Self { gate, reading: Reading::default(), texts: Vec::new(), relations, functions }
    }

    fn finish(mut self) -> Result<Reading, Refusal> {
        while let Some(text) = self.texts.pop() {
            self.text(&text)?;
        }
        Ok(self.reading)
    }

    fn text(&mut self, text: &Text<'g>) -> Result<(), Refusal> {
        let (facts, what) = (text.facts, &*text.what);
        // A call alone, of a function that the text does not know, is unknown to the text and not to the catalog.
        if facts.outcome == Outcome::Unknown && facts.mentions.unknown.is_empty() {
            return Err(said_of(what, Refusal::new(Reason::NotUnderstood, "Its text was not understood well enough.")));
        }
        if !what.is_empty() {
            self.reading.identifiers.extend(facts.mentions.identifiers.iter().cloned());
            self.reading.unnamed_columns |= facts.unnamed_columns;
        }
        let mut unknown = facts.refusals.iter().filter(|refusal| refusal.reason.is_left_to_the_catalog());
        if let Some(refusal) = unknown.next()
            && !self.knows_the_unknown(facts)
        {
            return Err(said_of(what, refusal.clone()));
        }
        let harmless = |refusal: &&Refusal| {
            refusal.reason == Reason::NoTables
                || refusal.reason.is_left_to_the_catalog()
                || (text.policy && asks_who_asks(refusal))
        };
        if let Some(refusal) = facts.refusals.iter().find(|refusal| !harmless(refusal)) {
            return Err(said_of(what, refusal.clone()));
        }
        if text.function && facts.mentions.functions.contains("timezone") {
            // Its parameters may be times of day.
            let sentence = "It puts a time zone to what may be a time of day, which takes today's offset.";
            return Err(said_of(what, Refusal::new(Reason::SpecialDate, sentence)));
        }
        for name in &facts.reads {
            for id in self.named(name, text.lookup).map_err(|refusal| said_of(what, refusal))? {
                self.times(facts, id, name).map_err(|refusal| said_of(what, refusal))?;
                self.relation(id, what)?;
            }
        }
        for (mention, name, class) in self.gate.mentioned(facts) {
            match (mention, class) {
                (_, None | Some(Class::Vouched | Class::Immutable)) => {}
                (Mention::Operator, Some(_)) => self.operator(name).map_err(|refusal| said_of(what, refusal))?,
                (mention, Some(_)) => self.function(name, mention).map_err(|refusal| said_of(what, refusal))?,
            }
        }
        Ok(())
    }

    /// Whether the catalog knows all functions and operators that the text does not.
    fn knows_the_unknown(&self, facts: &Facts) -> bool {
        let unknown = &facts.mentions.unknown;
        // Of what is built in, the text knows all that depends on nothing but its arguments.
        let known = |name: &String| {
            self.gate.function(name).is_some_and(|routine| routine.class != Class::Vouched)
                || self.gate.knows_operator(name)
        };
        !unknown.is_empty() && unknown.iter().all(known)
    }

    /// The relations that a name stands for.
    fn named(&self, name: &Name, lookup: Lookup<'_>) -> Result<Vec<Id>, Refusal> {
        let sentence = match (self.gate.resolve(name, lookup), name.parts(), lookup) {
            (Resolved::Relation(id), ..) => return Ok(vec![id]),
            (Resolved::Unknown, [bare], Lookup::Anywhere) if !self.gate.called(bare).is_empty() => {
                return Ok(self.gate.called(bare).to_vec());
            }
            (Resolved::OtherDatabase, ..) => format!("{name} lies in another database: open a pool on that one."),
            (Resolved::Unknown, ..) => format!(
                "No table called {name} was there when the catalog was read: if it is new, read the catalog again."
            ),
        };
        Err(Refusal::new(Reason::NotAPlainTable, sentence))
    }

    /// Everything behind a relation.
    fn relation(&mut self, id: Id, through: &str) -> Result<(), Refusal> {
        if !self.relations.insert(id) {
            return Ok(());
        }
        let relation = self.gate.relation(id);
        let name = &relation.table.0;
        let objection = |refusal| said_of(through, refusal);
        if let Some((reason, what)) = &relation.reading {
            return Err(objection(Refusal::new(*reason, format!("{name} {what}."))));
        }
        if relation.row_security {
            let what = format!("{name} has row-level security, so that who asks decides what is seen");
            self.reading.scope.get_or_insert(what);
            let policies: Vec<_> = relation.policies.iter().map(|policy| self.behind(policy, true)).collect();
            self.texts.extend(policies);
        }
        if relation.holds_rows() {
            self.reading.tables.insert(relation.table.clone(), through.to_owned());
            self.relate(id);
            for child in self.gate.descendants(id) {
                // Its rows are told by the version of this one, if only it is a table like that.
                let child = self.gate.relation(child);
                if let Some((reason, what)) = &child.reading {
                    let sentence = format!("{name} holds the rows of {}, which {what}.", child.table.0);
                    return Err(objection(Refusal::new(*reason, sentence)));
                }
            }
            return Ok(());
        }
        let Some(definition) = &relation.definition else {
            let sentence = format!("{name} is a view, and the query behind it is not shown to this user.");
            return Err(objection(Refusal::new(Reason::NotAPlainTable, sentence)));
        };
        self.reading.views.insert(relation.table.clone());
        let text = self.behind(definition, false);
        self.texts.push(text);
        Ok(())
    }

    /// Notes whose rows a relation shows that it holds by itself.
    fn relate(&mut self, id: Id) {
        let mut pending = vec![id];
        let mut seen = HashSet::new();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let relation = self.gate.relation(id);
            self.reading.related.insert(relation.table.clone());
            pending.extend(relation.parents.iter().chain(&relation.children).filter(|id| !seen.contains(id)));
            let Some(definition) = &relation.definition else { continue };
            let facts = definition.facts();
            self.reading.identifiers.extend(facts.mentions.identifiers.iter().cloned());
            self.reading.unnamed_columns |= facts.unnamed_columns || facts.outcome == Outcome::Unknown;
            for name in &facts.reads {
                if let Resolved::Relation(id) = self.gate.resolve(name, Lookup::In(&definition.home)) {
                    pending.extend(Some(id).filter(|id| !seen.contains(id)));
                }
            }
        }
    }

    fn behind(&self, definition: &'g Definition, policy: bool) -> Text<'g> {
        let lookup = Lookup::In(&definition.home);
        Text { facts: definition.facts(), lookup, what: definition.what.clone(), policy, function: false }
    }

    fn operator(&mut self, name: &str) -> Result<(), Refusal> {
        let functions = self.gate.operator_functions(name);
        if functions.is_empty() {
            let sentence = format!("An operator {name} was defined by a user, and what it depends on is not known.");
            return Err(Refusal::new(Reason::UserOperator, sentence));
        }
        functions.iter().try_for_each(|function| self.function(function, Mention::Operator)).map_err(|refusal| {
            let Refusal { sentence, .. } = refusal;
            Refusal::new(Reason::UserOperator, format!("The operator {name} was defined by a user. {sentence}"))
        })
    }

    /// Everything that goes by the name of a function.
    fn function(&mut self, name: &'g str, mention: Mention) -> Result<(), Refusal> {
        if !self.functions.insert(name) {
            return Ok(());
        }
        let refuse = |why: &str| {
            let sentence = match mention {
                Mention::Word => format!("The name {name} may call a function of that name, which {why}."),
                Mention::Function | Mention::Operator => format!("A function called {name} {why}."),
            };
            Err(Refusal::new(Reason::UserFunction, sentence))
        };
        let Some(Routine { class, sources, unread }) = self.gate.function(name) else {
            return refuse("was not there when the catalog was read");
        };
        match class {
            Class::Vouched | Class::Immutable => return Ok(()),
            _ if *unread => return refuse("was defined by a user, and what it depends on is not known"),
            Class::MayWrite => return refuse("is volatile: it may write, or change its answer while no table changes"),
            Class::Declared => {}
        }
        for source in sources.iter().filter(|source| source.class == Class::Declared) {
            let Some(language) = source.language else {
                return refuse("was defined by a user in a language that is not read");
            };
            let facts = match source.reads(language) {
                Ok(facts) => facts,
                Err(refusal) => return refuse(&format!("was defined by a user, and its body: {}", refusal.sentence)),
            };
            let what = format!("function {name}");
            self.texts.extend(facts.iter().map(|facts| Text {
                facts,
                lookup: Lookup::Anywhere,
                what: what.clone(),
                policy: false,
                function: true,
            }));
        }
        Ok(())
    }

    /// The objections that a time of day may meet a date and take today's, or a time zone and take its offset of today.
    fn times(&self, facts: &Facts, id: Id, name: &Name) -> Result<(), Refusal> {
        let relation = self.gate.relation(id);
        if relation.time_of_day && facts.mentions.functions.contains("timezone") {
            let sentence = format!("{name} has a column of a time of day, which takes today's offset in a time zone.");
            return Err(Refusal::new(Reason::SpecialDate, sentence));
        }
        let met = &facts.mentions.met;
        // How letters beyond ASCII are compared is for the server to know.
        let is_met =
            |column: &String| met.contains(column) || (!column.is_ascii() && met.iter().any(|m| !m.is_ascii()));
        match relation.times.iter().find(|column| facts.meets_unnamed || is_met(column)) {
            None => Ok(()),
            Some(column) => Err(Refusal::new(
                Reason::SpecialDate,
                format!(
                    "{column} of {name} is a time of day, which takes today's date where it meets a date: let it be a result of its own."
                ),
            )),
        }
    }
}

/// Whether an objection is that the answer depends on the session's user or settings alone.
fn asks_who_asks(refusal: &Refusal) -> bool {
    const ASKING: &[&str] =
        &["current_setting", "current_user", "session_user", "user", "current_role", "row_security_active"];
    let named = refusal.sentence.split([' ', '(']).next().unwrap_or_default();
    refusal.reason == Reason::VolatileFunction && ASKING.contains(&&*named.to_ascii_lowercase())
}

/// An objection to something that a statement rests on without naming it.
fn said_of(what: &str, refusal: Refusal) -> Refusal {
    match what {
        "" => refusal,
        what => Refusal::new(refusal.reason, format!("In the {what}: {}", refusal.sentence)),
    }
}
