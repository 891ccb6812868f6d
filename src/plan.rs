//! What to do with a statement: its analysis joined with what the catalog knows and with the versions of its tables.
//! Plans are kept by SQL text, so that a statement is analysed once.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use moka::sync::Cache;

use crate::analysis::{self, Dialect, Facts, Kind, SessionEffect, SqlMode, TransactionControl, Writes};
use crate::catalog::{Digest, Gate, Survey, Table, Widened};
use crate::key::Stem;
use crate::observe::{Counters, Sent, Subject};
use crate::policy::{Policy, Terms};
use crate::reason::{Reason, Refusal};
use crate::rules::Rules;
use crate::stamp::{Cell, LastStamp, Stamp};
use crate::versions::Versions;

/// What is known of the database and of the sessions of a pool, until the schema changes.
#[derive(Debug)]
pub(crate) struct Known {
    pub session: Arc<str>,
    pub versions: Arc<Versions>,
    pub gate: Gate,
    /// How the sessions read texts.
    pub mode: SqlMode,
    /// Why nothing at all may be cached.
    pub refusal: Option<Refusal>,
    /// Of all that was seen of the schema.
    pub digest: Digest,
    /// Taken before the database was looked at.
    stamp: Stamp,
}

impl Known {
    /// Joins a survey with the versions of its database and a stamp on the catalog taken before the survey.
    pub fn new(survey: Survey, versions: Arc<Versions>, stamp: Stamp) -> Self {
        let Survey { session, mode, gate, refusal, digest, .. } = survey;
        Self { session: session.into(), versions, gate, mode, refusal, digest, stamp }
    }

    /// Whether the schema was not changed through this process since, and is not being changed.
    pub fn holds(&self) -> bool {
        self.stamp.holds()
    }
}

/// What a statement changes.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub cells: Arc<[Arc<Cell>]>,
    /// The tables behind the cells; `None`: all.
    pub tables: Option<Arc<[Table]>>,
    pub reason: Reason,
    /// Whether it may change the schema.
    pub schema: bool,
    /// Whether code runs that a user wrote, which may change the settings of the session.
    pub runs_code: bool,
}

/// What the result of a statement rests on, and how it is kept.
#[derive(Debug)]
pub(crate) struct Reads {
    /// What the keys of all its results have in common.
    pub stem: Arc<Stem>,
    pub cells: Arc<[Arc<Cell>]>,
    last_stamp: LastStamp,
    /// As the rules have it; a query may lay its own over it.
    pub policy: Policy,
    /// What that comes to.
    pub terms: Terms,
    /// Why it may be kept only for those who name a scope.
    pub scope: Option<Box<str>>,
}

impl Reads {
    /// A stamp on the cells as they are now.
    pub fn stamp(&self) -> Option<Stamp> {
        self.last_stamp.take(&self.cells)
    }
}

/// What to do with a statement.
#[derive(Debug)]
pub(crate) struct Plan<S> {
    /// The text it is for.
    sql: Arc<str>,
    /// What was known when the plan was made; `None`: nothing. A plan made under anything else is made again.
    pub known: Option<Arc<Known>>,
    /// The statement in normal form: equal only for statements whose results are equal, names of columns included. With
    /// its record in the statistics.
    pub statement: Subject,
    pub kind: Kind,
    /// What its result rests on, or why the result is not kept.
    pub reads: Result<Reads, Refusal>,
    /// What it changes, if it may change anything.
    pub change: Option<Change>,
    pub session: SessionEffect,
    pub transaction: Option<TransactionControl>,
    /// Whether that is only that it commits what is open before it runs.
    pub commits_first: bool,
    /// Whether a bound text may become the current time.
    pub clock_by_argument: bool,
    /// The columns of its last result.
    shape: Mutex<Option<Arc<S>>>,
    /// Results in a row that turned out not to be replayable.
    unfaithful: AtomicU8,
}

impl<S> Plan<S> {
    /// A plan under what is known of the database.
    fn new(sql: &Arc<str>, facts: &Facts, statement: Subject, known: &Arc<Known>, site: Site<'_>) -> Self {
        let versions = &known.versions;
        // What a user defined, the catalog may know.
        let reads = match facts.refusals.iter().find(|refusal| !refusal.reason.is_left_to_the_catalog()) {
            Some(refusal) => Err(refusal.clone()),
            None if facts.kind != Kind::Read => Err(Refusal::new(Reason::NotARead, "it is not a plain read")),
            None => known.gate.reads(facts).and_then(|reading| {
                let policy = site.rules.policy(facts, &reading, &known.gate)?;
                let cells = versions.read_cells(reading.tables.keys().map(|t| &*t.0));
                let stem = Stem::new(site.hasher, &known.session, &statement.text).into();
                let (terms, scope) = (Terms::of(&policy), reading.scope.map(Into::into));
                Ok(Reads { stem, cells, last_stamp: LastStamp::default(), terms, policy, scope })
            }),
        };
        let change = match known.gate.writes(facts) {
            // A transaction that ends here may publish what was written before, by whomever.
            _ if facts.transaction.is_some() && !commits_first(facts) => {
                let reason = if facts.schema_change { Reason::SchemaChange } else { Reason::OpaqueStatement };
                let cells = versions.everything();
                Some(Change { cells, tables: None, reason, schema: true, runs_code: true })
            }
            None => None,
            Some(Widened::Tables { tables, runs_code }) => {
                let cells = versions.write_cells(tables.iter().map(|t| &*t.0));
                Some(Change { cells, tables: Some(tables.into()), reason: Reason::Write, schema: false, runs_code })
            }
            Some(Widened::Everything(reason)) => {
                let schema = !keeps_schema(facts);
                let cells = if schema { versions.everything() } else { versions.all_tables() };
                Some(Change { cells, tables: None, reason, schema, runs_code: true })
            }
        };
        Self::with(sql, facts, statement, Some(known.clone()), reads, change)
    }

    /// A plan under nothing: no read is kept, and every write may change every table of `databases`. So may a read, of which
    /// nobody knows whether it is of a view that runs code; unless the `gate` of a picture that holds, though it is of other
    /// sessions, knows of no such code.
    fn blind(sql: &str, facts: &Facts, statement: Subject, databases: &[Arc<Versions>], gate: Option<&Gate>) -> Self {
        let sentence = "the database was not looked at yet, or its schema is being changed";
        let writes = facts.writes != Writes::Nothing || facts.transaction.is_some();
        let may_write = match gate {
            Some(gate) => gate.reads_may_run_code(facts),
            None => !facts.reads.is_empty() || !facts.mentions.functions.is_empty(),
        };
        let change = (writes || may_write).then(|| {
            // What a read may do to the schema is not worth that two pools take from each other what they know of it.
            let schema = writes && !keeps_schema(facts);
            let cells = databases.iter().flat_map(|versions| {
                if schema { versions.everything().to_vec() } else { versions.all_tables().to_vec() }
            });
            let reason = if writes { Reason::OpaqueStatement } else { Reason::WidensUnknown };
            Change { cells: cells.collect(), tables: None, reason, schema, runs_code: true }
        });
        Self::with(&sql.into(), facts, statement, None, Err(Refusal::new(Reason::SessionUnseen, sentence)), change)
    }

    fn with(
        sql: &Arc<str>,
        facts: &Facts,
        statement: Subject,
        known: Option<Arc<Known>>,
        reads: Result<Reads, Refusal>,
        change: Option<Change>,
    ) -> Self {
        Self {
            sql: sql.clone(),
            known,
            statement,
            kind: facts.kind,
            // Of what is kept, all code was read, and changes nothing.
            session: if reads.is_ok() && change.is_none() { SessionEffect::Keeps } else { facts.session },
            reads,
            change,
            transaction: facts.transaction,
            commits_first: commits_first(facts),
            clock_by_argument: facts.clock_by_argument,
            shape: Mutex::default(),
            unfaithful: AtomicU8::new(0),
        }
    }

    /// Whether the session may have other settings afterwards: by what the statement says, or by a trigger, a default or
    /// a rule that it sets off.
    pub fn may_change_session(&self, dialect: Dialect) -> bool {
        let runs_code = dialect != Dialect::Sqlite && self.change.as_ref().is_some_and(|change| change.runs_code);
        runs_code || self.session != SessionEffect::Keeps
    }

    /// Whether the statement has to be run as a write.
    pub fn changes_something(&self) -> bool {
        self.change.is_some() || self.session != SessionEffect::Keeps
    }

    /// What it counts as when it is sent to the database.
    pub fn sent(&self) -> Sent {
        let unseen = self.known.is_none() && self.change.as_ref().is_some_and(|c| c.reason == Reason::WidensUnknown);
        match self.kind {
            _ if self.change.is_some() && !unseen => Sent::Write,
            Kind::Read => Sent::Read,
            Kind::Write | Kind::Other => Sent::Other,
        }
    }

    /// The columns of the last result.
    pub fn shape(&self) -> Option<Arc<S>> {
        self.shape.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the columns of a result that could be kept.
    pub fn set_shape(&self, shape: &Arc<S>) {
        self.unfaithful.store(0, Relaxed);
        let mut last = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, shape)) {
            *last = Some(shape.clone());
        }
    }

    /// Whether what the plan was made under still holds.
    pub fn holds(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.holds())
    }

    /// Whether results of this statement have proved not to be replayable.
    pub fn is_unfaithful(&self) -> bool {
        self.unfaithful.load(Relaxed) >= UNFAITHFUL_AT_LAST
    }

    /// Counts a result that could not be kept for what it is.
    pub fn count_unfaithful(&self) {
        let _ = self.unfaithful.fetch_update(Relaxed, Relaxed, |n| n.checked_add(1));
    }
}

/// Whether a statement controls a transaction only in that it commits what is open before it runs, as schema changes of
/// MySQL do. Where nothing is open, that is nothing. What runs code, such as CALL, may also leave one open.
fn commits_first(facts: &Facts) -> bool {
    facts.kind == Kind::Write
        && facts.transaction == Some(TransactionControl::End)
        && (facts.schema_change || facts.session == SessionEffect::Keeps)
        && facts.refusals.iter().all(|refusal| refusal.reason != Reason::SeveralStatements)
}

/// Whether a statement can be trusted to leave the schema alone: it names the tables it writes, and no code that it runs
/// is unknown.
fn keeps_schema(facts: &Facts) -> bool {
    let runs_alone = facts.transaction.is_none() || commits_first(facts);
    !facts.schema_change && runs_alone && matches!(facts.writes, Writes::Tables(_))
}

/// After that many results in a row that could not be kept, it is not tried again.
const UNFAITHFUL_AT_LAST: u8 = 8;

/// The plans of one pool, by SQL text.
pub(crate) struct Plans<S> {
    /// The plans of some statements that were asked for lately, each in the one place where its text may be: to look there
    /// takes a tenth of what it takes to look into a cache that learns from it.
    recent: Box<[ArcSwapOption<Plan<S>>]>,
    plans: Cache<Arc<str>, Arc<Plan<S>>, foldhash::fast::RandomState>,
    /// What the texts say, whatever is known of the database: plans go with that, facts stay.
    facts: Cache<Arc<str>, Arc<Facts>, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
    counters: Arc<Counters>,
}

/// What of a pool its plans are made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site<'p> {
    pub dialect: Dialect,
    pub rules: &'p Rules,
    /// That of the keys.
    pub hasher: &'p foldhash::fast::RandomState,
}

/// Bytes that plans, and facts, may take: some thousand statements each.
const MAX_BYTES: u64 = 16 << 20;
/// Places for recent plans: a power of two.
const RECENT: usize = 1024;
/// Longest text that gets one of them: longer ones take their time anyway.
const RECENT_BYTES: usize = 4 << 10;

impl<S: Send + Sync + 'static> Plans<S> {
    pub fn new(counters: Arc<Counters>) -> Self {
        let recent = (0..RECENT).map(|_| ArcSwapOption::empty()).collect();
        Self { recent, plans: by_text(), facts: by_text(), hasher: Default::default(), counters }
    }

    /// The plan for a statement, under what is known now.
    pub fn get(&self, sql: &str, known: &Arc<Known>, site: Site<'_>) -> Arc<Plan<S>> {
        let is_for = |plan: &Plan<S>| plan.known.as_ref().is_some_and(|under| Arc::ptr_eq(under, known));
        let place = &self.recent[self.hasher.hash_one(sql) as usize % RECENT];
        if let Some(plan) = &*place.load()
            && *plan.sql == *sql
            && is_for(plan)
        {
            return plan.clone();
        }
        let plan = self.plans.get(sql).filter(|plan| is_for(plan)).unwrap_or_else(|| {
            let sql: Arc<str> = sql.into();
            let facts = self.facts(&sql, site.dialect, known.mode);
            let subject = self.subject(&sql, site.dialect, known.mode, &facts);
            let plan = Arc::new(Plan::new(&sql, &facts, subject, known, site));
            self.plans.insert(sql, plan.clone());
            plan
        });
        if sql.len() <= RECENT_BYTES {
            place.store(Some(plan.clone()));
        }
        plan
    }

    /// Lets go of all plans, and so of what was known of the database when they were made. Nobody may ever ask for some of
    /// them again, and what is known takes room for each table.
    pub fn forget(&self) {
        self.plans.invalidate_all();
        self.recent.iter().for_each(|place| place.store(None));
    }

    /// Drops at once what [`Plans::forget`] let go of.
    #[cfg(test)]
    pub fn settle(&self) {
        self.plans.run_pending_tasks();
    }

    /// The plan for a statement while nothing is known, but perhaps what there is to be known to other sessions.
    pub fn blind(&self, sql: &str, dialect: Dialect, databases: &[Arc<Versions>], gate: Option<&Gate>) -> Arc<Plan<S>> {
        let mode = SqlMode::unseen(dialect);
        let facts = self.facts(sql, dialect, mode);
        Arc::new(Plan::blind(sql, &facts, self.subject(sql, dialect, mode, &facts), databases, gate))
    }

    fn subject(&self, sql: &str, dialect: Dialect, mode: SqlMode, facts: &Facts) -> Subject {
        let text = facts.normal_form.as_str().into();
        let shown = || analysis::without_literals_in(sql, dialect, mode);
        Subject::new(text, facts.fingerprint, self.counters.queries(), shown)
    }

    fn facts(&self, sql: &str, dialect: Dialect, mode: SqlMode) -> Arc<Facts> {
        // Those that are kept are for the default mode, or for texts that mean the same in it.
        if mode.matters_to(sql) {
            return Arc::new(analysis::analyze_in(sql, dialect, mode));
        }
        self.facts.get(sql).unwrap_or_else(|| {
            let facts = Arc::new(analysis::analyze_in(sql, dialect, mode));
            self.facts.insert(sql.into(), facts.clone());
            facts
        })
    }
}

fn by_text<V: Clone + Send + Sync + 'static>() -> Cache<Arc<str>, V, foldhash::fast::RandomState> {
    Cache::builder()
        .max_capacity(MAX_BYTES)
        .weigher(|sql: &Arc<str>, _| u32::try_from(2 * sql.len() + 1024).unwrap_or(u32::MAX))
        .build_with_hasher(Default::default())
}
