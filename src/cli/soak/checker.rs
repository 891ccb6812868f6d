//! What each answer may be.
//!
//! Each row holds a number that every write raises by one, so that an answer tells which writes it has seen. In: when
//! answers were asked for, and when writes were confirmed, by the one clock of this machine. Out: the answers that miss a write
//! they had to show.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ROWS, TABLES};

/// Something that happened on a node. Times are in nanoseconds of the clock of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A row was read: which, what it held, when it was asked for and answered, whether by the cache.
    Read { row: usize, n: u64, asked: u64, answered: u64 },
    /// A write was confirmed, and others could be told.
    Written { row: usize, n: u64, at: u64 },
    /// A write was confirmed, and others could not be told yet.
    Unpublished { row: usize, n: u64, at: u64 },
    /// They could now.
    Published { row: usize, n: u64, at: u64 },
    /// What a row held in the end.
    Final { row: usize, n: u64 },
    /// Answers from the cache, and all.
    Counted { hits: u64, reads: u64 },
}

impl Event {
    pub fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let kind = words.next()?;
        let numbers: Vec<u64> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let row = usize::try_from(*numbers.first()?).ok()?;
        Some(match (kind, &numbers[..]) {
            ("r", &[_, n, asked, answered]) => Self::Read { row, n, asked, answered },
            ("w", &[_, n, at]) => Self::Written { row, n, at },
            ("u", &[_, n, at]) => Self::Unpublished { row, n, at },
            ("p", &[_, n, at]) => Self::Published { row, n, at },
            ("f", &[_, n]) => Self::Final { row, n },
            ("c", &[hits, reads]) => Self::Counted { hits, reads },
            _ => return None,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { row, n, asked, answered } => write!(f, "r {row} {n} {asked} {answered}"),
            Self::Written { row, n, at } => write!(f, "w {row} {n} {at}"),
            Self::Unpublished { row, n, at } => write!(f, "u {row} {n} {at}"),
            Self::Published { row, n, at } => write!(f, "p {row} {n} {at}"),
            Self::Final { row, n } => write!(f, "f {row} {n}"),
            Self::Counted { hits, reads } => write!(f, "c {hits} {reads}"),
        }
    }
}

/// When numbers became known, by time; the numbers rise with it.
#[derive(Debug, Default)]
struct Known(BTreeMap<u64, u64>);

impl Known {
    fn add(&mut self, at: u64, n: u64) {
        if self.at(at) >= n {
            return;
        }
        self.0.insert(at, n);
        let later: Vec<u64> = self.0.range(at + 1..).take_while(|(_, known)| **known <= n).map(|(at, _)| *at).collect();
        self.0.retain(|at, _| !later.contains(at));
    }

    /// The largest number that was known at a time.
    fn at(&self, at: u64) -> u64 {
        self.0.range(..=at).next_back().map_or(0, |(_, n)| *n)
    }

    /// When a number larger than `n` was known for the first time.
    fn first_above(&self, n: u64) -> Option<u64> {
        self.0.iter().find(|(_, known)| **known > n).map(|(at, _)| *at)
    }

    /// Forgets what was before, but for the last of it.
    fn forget(&mut self, before: u64) {
        if let Some(last) = self.0.range(..before).next_back().map(|(at, _)| *at) {
            self.0 = self.0.split_off(&last);
        }
    }
}

/// Holds answers against what they may be.
#[derive(Debug)]
pub(super) struct Checker {
    name: &'static str,
    bound: u64,
    lives: u64,
    /// What everybody has to see, by row.
    published: Vec<Known>,
    /// What was answered to anybody, by row: under strict consistency nobody may see less afterwards.
    seen: Vec<Known>,
    /// What a life of a node has to see of its own, by life and row.
    own: HashMap<(u64, usize), Known>,
    waiting: Vec<(u64, Event)>,
    expected: Vec<u64>,
    reads: u64,
    hits: HashMap<u64, (u64, u64)>,
    writes: u64,
    unpublished: u64,
    finals: u64,
    staleness: u64,
    violations: u64,
    first: Vec<String>,
}

/// What was before is looked at no more.
const KEPT: u64 = 120_000_000_000;

impl Checker {
    pub fn new(name: &'static str, bound: Duration) -> Self {
        let rows = TABLES * ROWS;
        let known = || (0..rows).map(|_| Known::default()).collect();
        Self {
            name,
            bound: bound.as_nanos() as u64,
            lives: 0,
            published: known(),
            seen: known(),
            own: HashMap::new(),
            waiting: Vec::new(),
            expected: Vec::new(),
            reads: 0,
            hits: HashMap::new(),
            writes: 0,
            unpublished: 0,
            finals: 0,
            staleness: 0,
            violations: 0,
            first: Vec::new(),
        }
    }

    /// A node begins anew: it owes nothing of what it was before.
    pub fn new_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    pub fn hear(&mut self, life: u64, event: Event) {
        match event {
            Event::Read { .. } => self.waiting.push((life, event)),
            Event::Written { row, n, at } => {
                self.writes += 1;
                self.published[row].add(at, n);
                self.own.entry((life, row)).or_default().add(at, n);
            }
            Event::Unpublished { row, n, at } => {
                self.writes += 1;
                self.unpublished += 1;
                self.own.entry((life, row)).or_default().add(at, n);
            }
            Event::Published { row, n, at } => self.published[row].add(at, n),
            Event::Final { row, n } => {
                self.finals += 1;
                if self.expected.get(row).is_some_and(|expected| *expected != n) {
                    self.violation(format!("row {row} still held {n} in the end, not {}", self.expected[row]));
                }
            }
            Event::Counted { hits, reads } => drop(self.hits.insert(life, (hits, reads))),
        }
    }

    /// What the rows hold at the end.
    pub fn expect(&mut self, truth: Vec<u64>) {
        self.expected = truth;
        self.check(u64::MAX);
    }

    /// Checks what was answered before a time, of which all that matters was heard.
    pub fn check(&mut self, before: u64) {
        let is_due = |event: &Event| matches!(event, Event::Read { answered, .. } if *answered < before);
        let mut due: Vec<(u64, Event)> = Vec::new();
        self.waiting.retain(|(life, event)| {
            let is_due = is_due(event);
            if is_due {
                due.push((*life, *event));
            }
            !is_due
        });
        if self.bound == 0 {
            for (_, event) in &due {
                if let Event::Read { row, n, answered, .. } = event {
                    self.seen[*row].add(*answered, *n);
                }
            }
        }
        for (life, event) in due {
            let Event::Read { row, n, asked, .. } = event else { continue };
            self.reads += 1;
            let must = self.published[row].at(asked.saturating_sub(self.bound));
            let own = self.own.get(&(life, row)).map_or(0, |own| own.at(asked));
            let seen = if self.bound == 0 { self.seen[row].at(asked.saturating_sub(1)) } else { 0 };
            if let Some(known) = self.published[row].first_above(n).filter(|known| *known <= asked) {
                self.staleness = self.staleness.max(asked - known);
            }
            for (least, whose) in
                [(must, "was published"), (own, "the node had written itself"), (seen, "others had seen")]
            {
                if n < least {
                    self.violation(format!("row {row} held {n}, though {least} {whose} in time (asked at {asked})"));
                    break;
                }
            }
        }
        if before != u64::MAX {
            let old = before.saturating_sub(KEPT);
            self.published
                .iter_mut()
                .chain(&mut self.seen)
                .chain(self.own.values_mut())
                .for_each(|known| known.forget(old));
        }
    }

    fn violation(&mut self, what: String) {
        self.violations += 1;
        if self.first.len() < 10 {
            self.first.push(what);
        }
    }

    pub fn report(&mut self, faults: BTreeMap<&'static str, u64>, nodes: u64) -> Report {
        let (hits, reads) = self.hits.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        if self.finals < nodes * (TABLES * ROWS) as u64 {
            self.violation(format!("only {} rows were read in the end", self.finals));
        }
        Report {
            name: self.name,
            bound: Duration::from_nanos(self.bound),
            reads: self.reads,
            hit_rate: hits as f64 / (reads as f64).max(1.0),
            writes: self.writes,
            unpublished: self.unpublished,
            lives: self.lives,
            faults,
            staleness: Duration::from_nanos(self.staleness),
            violations: self.violations,
            first: self.first.clone(),
        }
    }
}

/// What came of a run.
pub(super) struct Report {
    name: &'static str,
    bound: Duration,
    reads: u64,
    hit_rate: f64,
    writes: u64,
    unpublished: u64,
    lives: u64,
    faults: BTreeMap<&'static str, u64>,
    staleness: Duration,
    pub violations: u64,
    first: Vec<String>,
}

impl Report {
    pub fn to_json(&self) -> Value {
        json!({
            "consistency": self.name, "bound_seconds": self.bound.as_secs_f64(), "reads_checked": self.reads,
            "hit_rate": self.hit_rate, "writes": self.writes, "written_without_redis": self.unpublished,
            "processes": self.lives, "faults": self.faults, "largest_staleness_seconds": self.staleness.as_secs_f64(),
            "violations": self.violations, "first_violations": self.first,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(|(name, times)| format!("{name} {times}")).collect();
        writeln!(f, "{} (bound {:?})", self.name, self.bound)?;
        writeln!(f, "  reads checked      {}, {:.1} % from the cache", self.reads, self.hit_rate * 100.0)?;
        writeln!(f, "  writes             {}, {} of them while Redis was out of reach", self.writes, self.unpublished)?;
        writeln!(f, "  processes          {}", self.lives)?;
        writeln!(f, "  faults             {}", if faults.is_empty() { "none".into() } else { faults.join(", ") })?;
        writeln!(f, "  largest staleness  {:?}", self.staleness)?;
        writeln!(f, "  violations         {}", self.violations)?;
        self.first.iter().try_for_each(|what| writeln!(f, "    {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn read(row: usize, n: u64, asked: u64) -> Event {
        Event::Read { row, n, asked, answered: asked + 1 }
    }

    fn checked(bound: u64, events: &[(u64, Event)]) -> (u64, u64) {
        let mut checker = Checker::new("test", Duration::from_nanos(bound));
        events.iter().for_each(|(life, event)| checker.hear(*life, *event));
        checker.check(u64::MAX);
        (checker.violations, checker.staleness)
    }

    #[test]
    fn an_answer_may_be_as_old_as_the_bound() {
        let written = (1, Event::Written { row: 0, n: 1, at: 100 * MS });
        assert_eq!(checked(50 * MS, &[written, (2, read(0, 0, 149 * MS))]), (0, 49 * MS));
        assert_eq!(checked(50 * MS, &[written, (2, read(0, 0, 151 * MS))]), (1, 51 * MS));
        assert_eq!(checked(50 * MS, &[(2, read(0, 0, 151 * MS)), written]), (1, 51 * MS), "whatever comes first");
        assert_eq!(checked(50 * MS, &[written, (2, read(1, 0, 151 * MS))]), (0, 0), "another row");
        assert_eq!(checked(50 * MS, &[written, (1, read(0, 0, 101 * MS))]).0, 1, "of its own node");
    }

    #[test]
    fn what_others_could_not_be_told_of_only_its_own_node_has_to_see() {
        let unpublished = (1, Event::Unpublished { row: 0, n: 1, at: 100 * MS });
        assert_eq!(checked(0, &[unpublished, (2, read(0, 0, 900 * MS))]).0, 0);
        assert_eq!(checked(0, &[unpublished, (1, read(0, 0, 900 * MS))]).0, 1);
        let published = (1, Event::Published { row: 0, n: 1, at: 500 * MS });
        assert_eq!(checked(0, &[unpublished, published, (2, read(0, 0, 900 * MS))]).0, 1);
    }

    #[test]
    fn strictly_nobody_sees_less_than_anybody_saw_before() {
        let (first, second) = ((1, read(0, 5, 100)), (2, read(0, 4, 200)));
        assert_eq!(checked(0, &[first, second]).0, 1);
        assert_eq!(checked(MS, &[first, second]).0, 0);
        assert_eq!(checked(0, &[(1, read(0, 4, 100)), (2, read(0, 5, 200))]).0, 0);
    }

    #[test]
    fn events_are_lines() {
        for event in [
            read(3, 7, 9),
            Event::Written { row: 1, n: 2, at: 3 },
            Event::Unpublished { row: 1, n: 2, at: 3 },
            Event::Published { row: 1, n: 2, at: 3 },
            Event::Final { row: 1, n: 2 },
            Event::Counted { hits: 1, reads: 2 },
        ] {
            assert_eq!(Event::read(&event.to_string()), Some(event));
        }
        assert_eq!(Event::read("nonsense"), None);
    }
}
