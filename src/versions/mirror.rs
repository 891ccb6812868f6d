//! What this node knows of the versions in Redis, and what of it may be believed.
//!
//! In: answers of the protocol's script, and what is pushed. Out: the cells of this process, which void what rests on them
//! whenever the mirror hears of a change, and are in flight while it may not be believed.
//! It never lowers a number within an epoch, and never believes what was asked before it last lost its footing.
//!
//! See docs/decisions/0016-versions-in-redis.md for the rules.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::faults::{self, Rule};
use crate::stamp::{Cell, Stamp};

/// What the script answered.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub epoch: u128,
    /// How often anything was bumped.
    pub seq: u64,
    /// Redis' own clock, in milliseconds.
    pub now: u64,
    /// How many replicas it has.
    pub replicas: u64,
    /// The versions were last used for another database, or for this one before it was started again.
    pub foreign: bool,
    /// More has changed than is told.
    pub all: bool,
    /// The version of the catalog, and whether the schema is being changed.
    pub catalog: Value,
    pub values: Vec<Value>,
}

/// The version of one table, and whether it is being written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    pub number: u64,
    pub in_flight: bool,
}

/// The versions that a read rests on: of what it found in Redis, and of what it will keep there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub epoch: u128,
    pub numbers: Vec<u64>,
    /// Redis' own clock, in milliseconds, no later than the query.
    pub now: u64,
}

#[derive(Debug)]
pub(super) struct Mirror {
    /// Whether what is not believed voids what rests on it.
    strict: bool,
    epoch: u128,
    /// Counts how often the footing was lost: answers to what was asked before tell less.
    generation: u64,
    /// Another epoch has begun, of which too little is known to follow.
    adrift: bool,
    /// Every change up to here was heard of.
    seq: u64,
    /// The furthest that anybody told of.
    told: u64,
    shadows: HashMap<Arc<str>, Shadow>,
    sweep_at: usize,
    /// Every answer tells of it, so that it need not be trusted: what this process knows of the schema is void with a change, and
    /// with an epoch.
    catalog: Shadow,
}

/// A cell as Redis has it.
#[derive(Debug)]
struct Shadow {
    cell: Weak<Cell>,
    value: Value,
    trusted: bool,
    /// Whether the mirror keeps the cell in flight.
    held: bool,
}

impl Shadow {
    fn set(&mut self, value: Value, trusted: bool, void: bool, strict: bool) {
        let changed = void || value != self.value;
        (self.value, self.trusted) = (value, trusted);
        let Some(cell) = self.cell.upgrade() else { return };
        let hold = value.in_flight || strict && !trusted;
        match (self.held, hold) {
            (false, true) => cell.arm(),
            (true, false) => cell.finish(),
            (false, false) if changed => {
                cell.arm();
                cell.finish();
            }
            _ => {}
        }
        self.held = hold;
    }
}

impl Mirror {
    pub fn new(strict: bool, catalog: &Arc<Cell>) -> Self {
        let catalog = Shadow { cell: Arc::downgrade(catalog), value: Value::default(), trusted: true, held: false };
        let (epoch, generation, seq, told, sweep_at) = (0, 0, 0, 0, 0);
        Self { strict, epoch, generation, adrift: false, seq, told, shadows: HashMap::new(), sweep_at, catalog }
    }

    /// The epoch, and the version of the catalog in it. `None`: the epoch is over, or there was none yet.
    pub fn catalog(&self) -> Option<(u128, u64)> {
        (!self.adrift && self.epoch != 0).then_some((self.epoch, self.catalog.value.number))
    }

    /// To be remembered with what is asked.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The epoch and the number up to which every change was heard of.
    pub fn heard(&self) -> (u128, u64) {
        (self.epoch, self.seq)
    }

    /// The epoch, and the furthest number that anybody told of. `None`: the epoch is over, or there was none yet.
    pub fn told(&self) -> Option<(u128, u64)> {
        (!self.adrift && self.epoch != 0).then_some((self.epoch, self.told))
    }

    /// Takes in what is about to be loaded without a word from Redis, so that a later one voids it.
    pub fn meets<'c>(&mut self, cells: impl IntoIterator<Item = &'c Arc<Cell>>) {
        for cell in cells {
            if !std::ptr::eq(self.catalog.cell.as_ptr(), &**cell) && self.shadow(cell).is_none() {
                self.adopt(cell, Value::default());
            }
        }
    }

    fn shadow(&self, cell: &Arc<Cell>) -> Option<&Shadow> {
        self.shadows.get(cell.name()).filter(|shadow| std::ptr::eq(shadow.cell.as_ptr(), &**cell))
    }

    /// Takes in what was answered to a question about `cells`.
    pub fn fetched<'c>(&mut self, sent: u64, heard: &Heard, cells: impl IntoIterator<Item = &'c Arc<Cell>>) {
        let Some(entered) = self.enter(sent, heard) else { return };
        for (cell, value) in cells.into_iter().zip(&heard.values) {
            if std::ptr::eq(self.catalog.cell.as_ptr(), &**cell) {
                continue;
            }
            let trusted = self.shadow(cell).map(|shadow| shadow.trusted);
            if trusted.is_none() {
                self.adopt(cell, *value);
            }
            // What changed between this answer and the last poll was not told to who did not know the table yet, or did not believe
            // what it knew.
            let current = entered || sent == self.generation && (trusted == Some(true) || heard.seq >= self.seq);
            self.raise(cell.name(), *value, current);
        }
    }

    /// Takes in what a poll told of the tables `names`. Whether it was complete: everything not believed apart, the mirror is as
    /// Redis was when the poll was sent.
    pub fn polled(&mut self, sent: u64, heard: &Heard, names: &[Box<str>]) -> bool {
        let is_current = sent == self.generation;
        let Some(entered) = self.enter(sent, heard) else { return false };
        if heard.all && !entered {
            self.lose_footing();
        }
        if !is_current {
            return false;
        }
        self.adrift = false;
        for (name, value) in names.iter().zip(&heard.values) {
            self.raise(name, *value, true);
        }
        self.seq = self.seq.max(heard.seq);
        true
    }

    /// Takes in what was pushed. It tells sooner, but never more, than the next poll.
    pub fn pushed(&mut self, epoch: u128, seq: u64, changes: &[(Box<str>, Value)]) {
        if self.epoch == 0 {
            return;
        }
        if epoch != self.epoch {
            self.adrift = true;
            return self.lose_footing();
        }
        self.told = self.told.max(seq);
        for (name, value) in changes {
            self.raise(name, *value, false);
            let is_catalog = self.catalog.cell.upgrade().is_some_and(|catalog| **catalog.name() == **name);
            // In a quarantine everything is called in flight.
            if is_catalog && value.number > self.catalog.value.number {
                self.catalog.set(Value { in_flight: self.catalog.value.in_flight, ..*value }, true, false, false);
            }
        }
    }

    /// The versions of the catalog and of `cells` as they were answered, with a stamp on those cells, if they are believed and
    /// nothing is in flight.
    pub fn ticket(&self, heard: &Heard, cells: &Arc<[Arc<Cell>]>) -> Option<(Ticket, Stamp)> {
        if heard.epoch != self.epoch || heard.catalog != self.catalog.value || heard.catalog.in_flight {
            return None;
        }
        let mut numbers = Vec::with_capacity(heard.values.len() + 1);
        numbers.push(heard.catalog.number);
        for (cell, value) in cells.iter().zip(&heard.values) {
            let shadow = self.shadows.get(cell.name())?;
            if !shadow.trusted || shadow.value != *value || value.in_flight {
                return None;
            }
            numbers.push(value.number);
        }
        let stamp = Stamp::take(cells)?;
        Some((Ticket { epoch: heard.epoch, numbers, now: heard.now }, stamp))
    }

    /// Follows to the epoch of an answer. Whether that is another than before; `None` if the answer is too old to be followed.
    fn enter(&mut self, sent: u64, heard: &Heard) -> Option<bool> {
        if heard.epoch == self.epoch {
            self.told = self.told.max(heard.seq);
            if heard.catalog.number >= self.catalog.value.number {
                self.catalog.set(heard.catalog, true, false, false);
            }
            return Some(false);
        }
        let is_current = sent == self.generation;
        if !faults::is_broken(Rule::Epoch) {
            self.lose_footing();
        }
        self.adrift = !is_current;
        if !is_current {
            return None;
        }
        (self.epoch, self.seq, self.told) = (heard.epoch, heard.seq, heard.seq);
        self.catalog.set(heard.catalog, true, true, false);
        for shadow in self.shadows.values_mut() {
            shadow.value.number = 0;
        }
        Some(true)
    }

    /// Nothing is believed until it was asked for anew.
    fn lose_footing(&mut self) {
        self.generation += 1;
        for shadow in self.shadows.values_mut() {
            let in_flight = shadow.value.in_flight && self.strict;
            shadow.set(Value { in_flight, ..shadow.value }, false, true, self.strict);
        }
    }

    fn raise(&mut self, name: &str, value: Value, current: bool) {
        let Some(shadow) = self.shadows.get_mut(name) else { return };
        if current && value.number >= shadow.value.number {
            shadow.set(value, true, false, self.strict);
        } else if value.number > shadow.value.number {
            let trusted = shadow.trusted;
            shadow.set(value, trusted, false, self.strict);
        }
    }

    fn adopt(&mut self, cell: &Arc<Cell>, value: Value) {
        if self.shadows.len() >= self.sweep_at {
            self.shadows.retain(|_, shadow| shadow.cell.strong_count() > 0);
            self.sweep_at = (2 * self.shadows.len()).max(64);
        }
        let mut shadow = Shadow { cell: Arc::downgrade(cell), value, trusted: false, held: false };
        shadow.set(value, false, true, self.strict);
        self.shadows.insert(cell.name().clone(), shadow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(epoch: u128, seq: u64, numbers: &[u64]) -> Heard {
        let values = numbers.iter().map(|number| Value { number: *number, in_flight: false }).collect();
        Heard { epoch, seq, values, ..Heard::default() }
    }

    fn cells() -> (Mirror, Arc<[Arc<Cell>]>) {
        let cell = |name: &str| Arc::new(Cell::new(1, name));
        let mut mirror = Mirror::new(true, &cell("!"));
        assert!(mirror.polled(mirror.generation(), &heard(1, 10, &[]), &[]));
        (mirror, [cell("*"), cell("#home")].into())
    }

    #[test]
    fn what_a_poll_told_nobody_is_not_believed_afterwards() {
        let (mut mirror, cells) = cells();
        let sent = mirror.generation();
        // Both were answered before the poll, and arrive after it.
        let [one, other] = [heard(1, 10, &[3, 3]), heard(1, 10, &[3, 3])];
        assert!(mirror.polled(sent, &heard(1, 12, &[5]), &["#home".into()]));
        mirror.fetched(sent, &one, &*cells);
        mirror.fetched(sent, &other, &*cells);
        assert!(mirror.ticket(&other, &cells).is_none());
        let later = heard(1, 12, &[3, 5]);
        mirror.fetched(sent, &later, &*cells);
        assert!(mirror.ticket(&later, &cells).is_some());
    }

    #[test]
    fn an_epoch_that_is_over_makes_no_token() {
        let (mut mirror, cells) = cells();
        assert_eq!(mirror.told(), Some((1, 10)));
        let sent = mirror.generation();
        // The push of a write overtakes its answer.
        mirror.pushed(2, 1, &[("*".into(), Value { number: 1, in_flight: true })]);
        mirror.fetched(sent, &heard(2, 1, &[1, 0]), &*cells);
        assert_eq!((mirror.told(), mirror.catalog()), (None, None));
        assert!(mirror.polled(mirror.generation(), &heard(2, 2, &[]), &[]));
        assert_eq!((mirror.told(), mirror.catalog()), (Some((2, 2)), Some((2, 0))));
        // An answer of the epoch before, which was under way for long.
        mirror.fetched(sent, &heard(1, 11, &[1, 0]), &*cells);
        assert_eq!(mirror.told(), None);
        assert!(mirror.polled(mirror.generation(), &heard(2, 2, &[]), &[]));
        assert_eq!(mirror.told(), Some((2, 2)));
    }

    #[test]
    fn what_is_met_without_a_word_is_voided_by_the_next() {
        let (mut mirror, cells) = cells();
        mirror.strict = false;
        mirror.meets(&*cells);
        let stamp = Stamp::take(&cells).unwrap();
        mirror.meets(&*cells);
        assert!(stamp.holds());
        assert!(mirror.polled(mirror.generation(), &heard(1, 12, &[7]), &["#home".into()]));
        assert!(!stamp.holds());
    }
}
