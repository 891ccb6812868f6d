//! Code that a database keeps, and what it is tied to: queries behind views, triggers, rules, foreign keys, functions.
//!
//! In: texts, as a database reported them. Out: what they mention, read when it is first asked for.
//! It never asks the database, and never looks a name up.

use std::sync::OnceLock;

use super::relation::Class;
use crate::analysis::{self, Body, Dialect, Facts, Language, SqlMode, Verbs};
use crate::reason::Refusal;

/// A relation, by its number in a gate.
pub(super) type Id = u32;

/// A query that is run where its owner is read: that of a view, or a condition of row-level security.
#[derive(Debug)]
pub(super) struct Definition {
    /// What it is, for people: `view order_totals`.
    pub what: String,
    /// Where bare names in it are looked up.
    pub home: String,
    text: Box<str>,
    dialect: Dialect,
    mode: SqlMode,
    facts: OnceLock<Facts>,
}

impl Definition {
    pub fn new(what: String, home: &str, text: &str, dialect: Dialect, mode: SqlMode) -> Self {
        Self { what, home: home.to_owned(), text: text.into(), dialect, mode, facts: OnceLock::new() }
    }

    pub fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| analysis::analyze_in(&self.text, self.dialect, self.mode))
    }
}

/// What a write sets off.
#[derive(Debug)]
pub(super) struct Reaction {
    /// The verbs that set it off.
    pub on: Verbs,
    /// What it is, for people: `trigger orders_audit`.
    pub what: String,
    pub then: Then,
}

#[derive(Debug)]
pub(super) enum Then {
    /// It does this to another relation.
    Writes(Id, Verbs),
    /// It runs code.
    Runs(Code),
    /// It may change any table, since this is not known: what.
    Anything(&'static str),
}

/// Code that may write whatever it mentions.
#[derive(Debug)]
pub(super) struct Code {
    text: Box<str>,
    dialect: Dialect,
    mode: SqlMode,
    body: OnceLock<Body>,
}

impl Code {
    pub fn new(text: &str, dialect: Dialect, mode: SqlMode) -> Self {
        Self { text: text.into(), dialect, mode, body: OnceLock::new() }
    }

    pub fn body(&self) -> &Body {
        self.body.get_or_init(|| analysis::mentioned(&self.text, self.dialect, self.mode))
    }
}

/// A function or procedure that a user defined. Several may share a name.
#[derive(Debug)]
pub(super) struct Source {
    /// `None` where nobody here reads the language.
    pub language: Option<Language>,
    /// Whether it is declared to leave tables alone, which the database sees to, or to depend on nothing else but tables.
    pub class: Class,
    pub code: Code,
    /// Whether a query may call it: no procedure, and no function of a trigger.
    pub callable: bool,
    reads: OnceLock<Result<Vec<Facts>, Refusal>>,
}

impl Source {
    pub fn new(language: Option<Language>, class: Class, code: Code, callable: bool) -> Self {
        Self { language, class, code, callable, reads: OnceLock::new() }
    }

    /// The statements in it if it only reads, or what objects.
    pub fn reads(&self, language: Language) -> Result<&[Facts], &Refusal> {
        let Code { text, dialect, mode, .. } = &self.code;
        self.reads.get_or_init(|| analysis::reads_of(text, language, *dialect, *mode)).as_ref().map(Vec::as_slice)
    }
}

/// All that goes by the name of a function.
#[derive(Debug)]
pub(super) struct Routine {
    /// The worst of them.
    pub class: Class,
    /// Those whose bodies are known. All are, where the class is not that of built-in ones.
    pub sources: Vec<Source>,
    /// Whether there is one of that class whose body is not known.
    pub unread: bool,
}

impl Routine {
    pub fn new(class: Class) -> Self {
        Self { class, sources: Vec::new(), unread: false }
    }
}
