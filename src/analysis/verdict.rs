//! Collects what the other files find in a statement, and turns it into [`Facts`]. Why a statement is not cached is
//! decided here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Facts, Fingerprint, Kind, Mentions, Outcome, SessionEffect, TransactionControl, Writes};
use super::name::Name;
use super::verbs::Verbs;
use crate::reason::{Reason, Refusal};

/// What was found in one statement, or in several that came in one text.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) kind: Kind,
    /// The tables could not be told.
    pub(super) unknown: bool,
    pub(super) reads: BTreeSet<Name>,
    pub(super) writes: Writes,
    pub(super) session: SessionEffect,
    pub(super) transaction: Option<TransactionControl>,
    pub(super) schema_change: bool,
    pub(super) clock_by_argument: bool,
    /// Until the text was understood, it may.
    pub(super) unnamed_columns: bool,
    pub(super) meets_unnamed: bool,
    pub(super) mentions: Mentions,
    refusals: Vec<Refusal>,
}

impl Findings {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            unknown: false,
            reads: BTreeSet::new(),
            writes: Writes::Nothing,
            session: SessionEffect::Keeps,
            transaction: None,
            schema_change: false,
            clock_by_argument: false,
            unnamed_columns: true,
            meets_unnamed: true,
            mentions: Mentions::default(),
            refusals: Vec::new(),
        }
    }

    /// A statement that may do anything.
    pub(super) fn opaque(kind: Kind, sentence: impl Into<String>) -> Self {
        let mut findings = Self::new(kind);
        findings.not_understood(sentence);
        findings.writes = Writes::Everything;
        findings.session(SessionEffect::MayChange);
        findings
    }

    pub(super) fn refuse(&mut self, reason: Reason, sentence: impl Into<String>) {
        let refusal = Refusal::new(reason, sentence);
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    pub(super) fn not_understood(&mut self, sentence: impl Into<String>) {
        self.unknown = true;
        self.refuse(Reason::NotUnderstood, sentence);
    }

    pub(super) fn read(&mut self, name: Name) {
        self.reads.insert(name);
    }

    pub(super) fn write(&mut self, name: Name) {
        self.write_by(name, Verbs::ALL);
    }

    pub(super) fn write_by(&mut self, name: Name, verbs: Verbs) {
        match &mut self.writes {
            Writes::Nothing => self.writes = Writes::Tables(BTreeMap::from([(name, verbs)])),
            Writes::Tables(tables) => *tables.entry(name).or_insert(Verbs::NONE) |= verbs,
            Writes::Everything => {}
        }
    }

    /// What is written may be written in any way.
    pub(super) fn write_all_ways(&mut self) {
        if let Writes::Tables(tables) = &mut self.writes {
            tables.values_mut().for_each(|verbs| *verbs = Verbs::ALL);
        }
    }

    pub(super) fn session(&mut self, effect: SessionEffect) {
        self.session = self.session.max(effect);
    }

    /// Adds what another statement of the same text does.
    pub(super) fn merge(&mut self, other: Self) {
        self.kind = match (self.kind, other.kind) {
            (Kind::Write, _) | (_, Kind::Write) => Kind::Write,
            (Kind::Read, _) | (_, Kind::Read) => Kind::Read,
            (Kind::Other, Kind::Other) => Kind::Other,
        };
        self.unknown |= other.unknown;
        self.reads.extend(other.reads);
        match other.writes {
            Writes::Nothing => {}
            Writes::Tables(tables) => tables.into_iter().for_each(|(table, verbs)| self.write_by(table, verbs)),
            Writes::Everything => self.writes = Writes::Everything,
        }
        self.session(other.session);
        self.transaction = stronger(self.transaction, other.transaction);
        self.schema_change |= other.schema_change;
        self.clock_by_argument |= other.clock_by_argument;
        self.unnamed_columns |= other.unnamed_columns;
        self.meets_unnamed |= other.meets_unnamed;
        self.mentions.functions.extend(other.mentions.functions);
        self.mentions.unknown.extend(other.mentions.unknown);
        self.mentions.operators.extend(other.mentions.operators);
        self.mentions.identifiers.extend(other.mentions.identifiers);
        self.mentions.met.extend(other.mentions.met);
        for refusal in other.refusals {
            self.refuse(refusal.reason, refusal.sentence);
        }
    }

    pub(super) fn into_facts(mut self, normal_form: String, fingerprint: Fingerprint) -> Facts {
        let writes_nothing = self.writes == Writes::Nothing;
        let outcome = if self.unknown || (self.reads.is_empty() && self.writes == Writes::Everything) {
            Outcome::Unknown
        } else if self.reads.is_empty() && writes_nothing {
            Outcome::None
        } else {
            Outcome::Known
        };
        if self.kind != Kind::Read {
            self.refuse(Reason::NotARead, "It is not a read.");
        } else if outcome == Outcome::None {
            self.refuse(Reason::NoTables, "It reads no table, so nothing could tell when its answer changes.");
        }
        Facts {
            kind: self.kind,
            outcome,
            reads: self.reads,
            writes: self.writes,
            session: self.session,
            transaction: self.transaction,
            schema_change: self.schema_change,
            clock_by_argument: self.clock_by_argument,
            unnamed_columns: self.unnamed_columns,
            meets_unnamed: self.meets_unnamed,
            mentions: self.mentions,
            refusals: self.refusals,
            normal_form,
            fingerprint,
        }
    }
}

/// Of two kinds of transaction control in one text, the one that says more about what happens to the transaction.
fn stronger(one: Option<TransactionControl>, other: Option<TransactionControl>) -> Option<TransactionControl> {
    let rank = |control: &TransactionControl| match control {
        TransactionControl::Savepoint => 0,
        TransactionControl::Begin => 1,
        TransactionControl::End => 2,
        TransactionControl::TwoPhase => 3,
    };
    one.into_iter().chain(other).max_by_key(rank)
}
