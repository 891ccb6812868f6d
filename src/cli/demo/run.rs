//! Runs the load on one pool and measures it: readers flat out, writers at a fixed rate, pauses to compare.
//!
//! In: a pool, the load, and for the comparison a second pool straight to the database. Out: latencies by class.
//! It never waits without a limit: a database that stops answering is a failure, not a hang.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::RwLock;
use tokio::task::JoinSet;

use super::check::{Comparison, Floors};
use super::mix::{Class, Mix, Size};
use super::shop::Shop;
use super::tally::{self, Tally};
use crate::cli::Failure;

/// Tasks that write. Several, so that a slow transaction does not hold back the schedule.
const WRITERS: u32 = 4;
/// How long the database may be silent after the end of the run.
const PATIENCE: Duration = Duration::from_secs(30);
/// Questions of each class compared in a pause, and how long a pause may last.
const QUESTIONS_PER_PAUSE: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Questions of each class compared after the end.
const QUESTIONS_AT_THE_END: u32 = 200;

/// What runs, equal for both pools.
#[derive(Debug, Clone)]
pub struct Load {
    pub size: Size,
    pub readers: u32,
    pub writes_per_second: u32,
    pub warm_up: Duration,
    pub duration: Duration,
    pub seed: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// Latencies of reads in nanoseconds, in the order of [`Class::ALL`].
    pub reads: [Histogram<u64>; Class::ALL.len()],
    /// Reads answered without a query, in the same order.
    pub hits: [u64; Class::ALL.len()],
    /// Latencies of writes in nanoseconds.
    pub writes: Histogram<u64>,
    /// How long was measured.
    pub duration: Duration,
}

impl Measured {
    /// All classes together.
    pub fn total(&self) -> Histogram<u64> {
        let mut total = histogram();
        for reads in &self.reads {
            total.add(reads).expect("histograms of one shape");
        }
        total
    }
}

fn histogram() -> Histogram<u64> {
    // Up to a minute, to three digits.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("sound bounds")
}

/// What all tasks of one run share.
struct Run<S> {
    shop: S,
    load: Load,
    mix: Mix,
    floors: Floors,
    comparison: Arc<Comparison>,
    tally: Tally,
    /// Held shared by each write, and alone by a pause.
    writing: RwLock<()>,
    /// Writes that were begun.
    tickets: AtomicU64,
    start: Instant,
    /// Between warm-up and measuring.
    measured_from: Instant,
    end: Instant,
}

/// What a task brings home.
enum Outcome {
    Reads(Box<[Histogram<u64>; Class::ALL.len()]>),
    Writes(Box<Histogram<u64>>),
    Compared,
}

/// Runs the load on `shop`. With a `database`, compares the answers with it and counts into `comparison`.
pub async fn run<S: Shop, D: Shop>(
    shop: S,
    database: Option<D>,
    load: &Load,
    comparison: Arc<Comparison>,
) -> Result<Measured, Failure> {
    let start = Instant::now();
    let measured_from = start + load.warm_up;
    let end = measured_from + load.duration;
    let writes = (load.warm_up + load.duration).as_secs_f64() * f64::from(load.writes_per_second);
    let run = Arc::new(Run {
        shop,
        mix: Mix::new(&load.size),
        floors: Floors::new(&load.size, writes.ceil() as usize + WRITERS as usize),
        comparison,
        tally: Tally::default(),
        writing: RwLock::new(()),
        tickets: AtomicU64::new(0),
        load: load.clone(),
        start,
        measured_from,
        end,
    });
    // Dropping the set ends the tasks, so that an interrupted run leaves none behind.
    let mut tasks = JoinSet::new();
    for reader in 0..load.readers {
        tasks.spawn(run.clone().read(reader));
    }
    if load.writes_per_second > 0 {
        for _ in 0..WRITERS {
            tasks.spawn(run.clone().write());
        }
    }
    if let Some(database) = database.clone() {
        tasks.spawn(run.clone().compare_in_pauses(database));
    }
    let mut measured = Measured {
        reads: std::array::from_fn(|_| histogram()),
        hits: [0; Class::ALL.len()],
        writes: histogram(),
        duration: load.duration,
    };
    let finish = async {
        while let Some(outcome) = tasks.join_next().await {
            match outcome.map_err(|error| Failure::failed(format!("a task of the demo broke: {error}")))?? {
                Outcome::Reads(reads) => {
                    for (all, own) in measured.reads.iter_mut().zip(reads.iter()) {
                        all.add(own).expect("histograms of one shape");
                    }
                }
                Outcome::Writes(own) => measured.writes.add(*own).expect("histograms of one shape"),
                Outcome::Compared => {}
            }
        }
        // The writers are done: the longest pause of all.
        if let Some(database) = database {
            run.compare(&database, QUESTIONS_AT_THE_END, Instant::now() + PATIENCE / 3, 0).await?;
        }
        Ok(())
    };
    let limit = load.warm_up + load.duration + PATIENCE;
    match tokio::time::timeout(limit, finish).await {
        Ok(finished) => finished?,
        Err(_) => return Err(Failure::failed(format!("the database did not answer for {PATIENCE:?}"))),
    }
    measured.hits = Class::ALL.map(|(class, _)| run.tally.hits(class));
    Ok(measured)
}

impl<S: Shop> Run<S> {
    async fn read(self: Arc<Self>, reader: u32) -> Result<Outcome, Failure> {
        let mut rng = SmallRng::seed_from_u64(self.load.seed ^ (u64::from(reader) + 1) << 32);
        let mut reads = Box::new(std::array::from_fn(|_| histogram()));
        let mut begun = Instant::now();
        while begun < self.end {
            let question = self.mix.question(&mut rng, self.floors.newest_order());
            let floor = self.floors.floor(question);
            begun = Instant::now();
            let (answer, hits) = tally::count_hits(self.shop.ask(question)).await;
            let took = begun.elapsed();
            let answer = answer.map_err(|error| Failure::failed(format!("a read failed ({question:?}): {error}")))?;
            if begun >= self.measured_from && begun + took < self.end {
                let class = question.class();
                reads[class as usize].saturating_record(took.as_nanos() as u64);
                self.tally.add(class, hits);
            }
            self.comparison.against_floor(question, floor, &answer);
            // An answer from memory never waits. Without this, readers would leave no time to the writers.
            tokio::task::coop::consume_budget().await;
        }
        Ok(Outcome::Reads(reads))
    }

    async fn write(self: Arc<Self>) -> Result<Outcome, Failure> {
        let mut writes = Box::new(histogram());
        loop {
            let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
            // Each write has its time from the start on, so that a slow one does not put off all that follow.
            let due = self.start + Duration::from_secs_f64(ticket as f64 / f64::from(self.load.writes_per_second));
            if due >= self.end {
                return Ok(Outcome::Writes(writes));
            }
            tokio::time::sleep_until(due.into()).await;
            let mut rng = SmallRng::seed_from_u64(self.load.seed ^ ticket.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let change = self.mix.change(&mut rng, |row| self.floors.new_id(row));
            let _writing = self.writing.read().await;
            let begun = Instant::now();
            let outcome = self.shop.change(&change).await;
            outcome.map_err(|error| Failure::failed(format!("a write failed ({change:?}): {error}")))?;
            if begun >= self.measured_from {
                writes.saturating_record(begun.elapsed().as_nanos() as u64);
            }
            self.floors.confirm(&change);
        }
    }

    async fn compare_in_pauses<D: Shop>(self: Arc<Self>, database: D) -> Result<Outcome, Failure> {
        let whole = self.end - self.start;
        let pauses = (whole.as_secs() / 2).clamp(2, 30) as u32;
        for pause in 1..=pauses {
            tokio::time::sleep_until((self.start + whole * pause / (pauses + 1)).into()).await;
            let _alone = self.writing.write().await;
            self.compare(&database, QUESTIONS_PER_PAUSE, Instant::now() + LONGEST_PAUSE, pause).await?;
        }
        Ok(Outcome::Compared)
    }

    /// Asks questions of each class twice. Only while nobody writes.
    async fn compare<D: Shop>(&self, database: &D, questions: u32, until: Instant, round: u32) -> Result<(), Failure> {
        let mut rng = SmallRng::seed_from_u64(!self.load.seed ^ u64::from(round));
        for _ in 0..questions {
            let newest = self.floors.newest_order();
            let stock = self.mix.stock(&mut rng);
            let asked = Class::ALL.map(|(class, _)| self.mix.question_of(class, &mut rng, newest));
            for question in asked.into_iter().chain([stock]) {
                let outcome = self.comparison.against_database(question, &self.shop, database).await;
                outcome.map_err(|error| Failure::failed(format!("a comparison failed ({question:?}): {error}")))?;
            }
            if Instant::now() > until {
                break;
            }
        }
        Ok(())
    }
}
