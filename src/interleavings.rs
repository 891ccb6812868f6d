//! Every interleaving of readers and writers, step by step, over the real versions, stamps and flights.
//!
//! The database is one counter. A writer arms, commits, finishes. A reader looks into the cache, else takes a stamp and
//! joins a flight; the pilot asks the database, keeps what still holds, and lands. A schedule says whose step is next, and
//! all schedules are run. What must hold: a read that begins after another read or a write has ended never answers with
//! less than that one knew. Each rule of the protocol is then broken on purpose, which must be found.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::flight::{Flights, Passenger, Seat};
use crate::key::{Bound, Key, Lookup, Stem};
use crate::stamp::{Cell, Stamp};
use crate::versions::{Mark, Versions};

/// A rule of the protocol that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Broken {
    Nothing,
    /// A write only bumps the version once it is over.
    ArmsAfterCommit,
    /// A write is over before it is committed.
    FinishesBeforeCommit,
    /// The stamp is taken when the result is there.
    StampsAfterQuery,
    /// Any load of the same key is joined.
    JoinsAnyFlight,
    /// What is in flight is stamped like anything else.
    IgnoresWritersInFlight,
}

struct World {
    broken: Broken,
    database: u64,
    read_cells: Arc<[Arc<Cell>]>,
    write_cells: Arc<[Arc<Cell>]>,
    kept: Option<(Stamp, u64)>,
    flights: Flights<u64>,
    /// The stamp of the first flight, for a reader that joins any.
    any: Option<Stamp>,
    key: Key,
    /// The most that anybody was told so far.
    told: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    Writer,
    /// Reads that many times, one after the other.
    Reader(usize),
    /// Reads once, and waits for no load: each is overdue.
    Impatient,
    /// Reads once, in two steps: it sets out, and the rest.
    Slow,
    /// Asks the database itself, as transactions do.
    Direct,
}

#[derive(Default)]
struct Actor {
    step: usize,
    mark: Option<Mark>,
    floor: u64,
    value: u64,
    stamp: Option<Stamp>,
    seat: Option<Seat<u64>>,
    answered: bool,
}

/// A step that cannot be taken yet, or a violation.
enum Stop {
    Waits,
    Wrong(String),
}

impl Actor {
    fn write(&mut self, world: &mut World) {
        let arm = |actor: &mut Self, world: &World| actor.mark = Some(Mark::arm(world.write_cells.clone()));
        let commit = |actor: &mut Self, world: &mut World| {
            world.database += 1;
            actor.value = world.database;
        };
        let finish = |actor: &mut Self| actor.mark.take().into_iter().for_each(|mark| drop(mark.finish()));
        match (self.step, world.broken) {
            (0, Broken::ArmsAfterCommit) => {}
            (0, _) => arm(self, world),
            (1, Broken::FinishesBeforeCommit) => finish(self),
            (1, _) => commit(self, world),
            (2, Broken::ArmsAfterCommit) => {
                arm(self, world);
                finish(self);
            }
            (2, Broken::FinishesBeforeCommit) => commit(self, world),
            (_, _) => finish(self),
        }
        if self.step == 2 {
            world.told = world.told.max(self.value);
        }
        self.step += 1;
    }

    fn read(&mut self, world: &mut World, is_patient: bool) -> Result<(), Stop> {
        match self.step % READ_STEPS {
            0 => {
                self.floor = world.told;
                let hit = world.kept.as_ref().filter(|(stamp, _)| stamp.holds());
                self.answered = hit.is_some();
                self.value = hit.map_or(0, |(_, value)| *value);
            }
            _ if self.answered => {}
            1 => {
                self.stamp = Stamp::take(&world.read_cells);
                if world.broken == Broken::IgnoresWritersInFlight && self.stamp.is_none() {
                    self.stamp = world.kept.as_ref().map(|(stamp, _)| stamp.clone()).or(world.any.clone());
                }
                let stamp = match world.broken {
                    Broken::JoinsAnyFlight => world.any.clone().or(self.stamp.clone()),
                    _ => self.stamp.clone(),
                };
                world.any = world.any.take().or(self.stamp.clone());
                let now = Instant::now() + if is_patient { Duration::ZERO } else { Duration::from_secs(3600) };
                self.seat = stamp.map(|stamp| world.flights.join(&world.key, &stamp, now));
            }
            2 => {
                self.value = match self.seat.take() {
                    Some(Seat::Passenger(passenger)) => match poll(passenger.clone()) {
                        Some(landed) => landed.map_or(world.database, |value| *value),
                        None => {
                            self.seat = Some(Seat::Passenger(passenger));
                            return Err(Stop::Waits);
                        }
                    },
                    seat => {
                        self.seat = seat;
                        world.database
                    }
                };
            }
            _ => {
                if let (Some(mut stamp), Some(Seat::Pilot(pilot))) = (self.stamp.take(), self.seat.take()) {
                    if world.broken == Broken::StampsAfterQuery {
                        stamp = Stamp::take(&world.read_cells).unwrap_or(stamp);
                    }
                    if stamp.holds() || world.broken == Broken::IgnoresWritersInFlight {
                        let now = Stamp::take(&world.read_cells);
                        let ignored = world.broken == Broken::IgnoresWritersInFlight;
                        world.kept = Some((now.filter(|_| ignored).unwrap_or(stamp), self.value));
                    }
                    pilot.land(Arc::new(self.value));
                }
            }
        }
        self.step += 1;
        if self.step.is_multiple_of(READ_STEPS) {
            if self.value < self.floor {
                return Err(Stop::Wrong(format!("read {} after {} was known", self.value, self.floor)));
            }
            world.told = world.told.max(self.value);
        }
        Ok(())
    }
}

const WRITE_STEPS: usize = 3;
const READ_STEPS: usize = 4;

/// The result of a flight, or `None` while it is under way.
fn poll(passenger: Passenger<u64>) -> Option<Option<Arc<u64>>> {
    let mut waiting = Box::pin(passenger.wait());
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(landed) => Some(landed),
        Poll::Pending => None,
    }
}

/// Runs every schedule of the actors: the first violation, or the number of schedules that ran to their end.
fn explore(broken: Broken, actors: &[Kind]) -> Result<usize, String> {
    let versions = Versions::of("interleavings");
    let bound = Bound::new(false, true, None, []).expect("short");
    let hasher = Default::default();
    let key = Lookup::new(&hasher, &Stem::new(&hasher, &"".into(), &"SELECT n FROM t".into()).into(), &bound).to_key();
    let mut steps: Vec<usize> = actors
        .iter()
        .map(|kind| match kind {
            Kind::Writer => WRITE_STEPS,
            Kind::Reader(reads) => READ_STEPS * reads,
            Kind::Impatient => READ_STEPS,
            Kind::Slow => 2,
            Kind::Direct => 1,
        })
        .collect();
    let mut complete = 0;
    let mut table = 0;
    visit(&mut steps, &mut Vec::new(), &mut |schedule| {
        // A table of its own for each schedule: a broken protocol may leave it in flight.
        table += 1;
        let name = format!("t{}", table % 8);
        let name = if broken == Broken::Nothing { "t" } else { &name };
        let mut world = World {
            broken,
            database: 0,
            read_cells: versions.read_cells([name]),
            write_cells: versions.write_cells([name]),
            kept: None,
            flights: Flights::new(),
            any: None,
            key: key.clone(),
            told: 0,
        };
        let mut states: Vec<Actor> = actors.iter().map(|_| Actor::default()).collect();
        let mut outcome = Ok(());
        for &who in schedule {
            let taken = match actors[who] {
                Kind::Writer => {
                    states[who].write(&mut world);
                    Ok(())
                }
                Kind::Reader(_) => states[who].read(&mut world, true),
                Kind::Impatient => states[who].read(&mut world, false),
                Kind::Slow => states[who].read(&mut world, true).and_then(|()| states[who].read(&mut world, true)),
                Kind::Direct => {
                    world.told = world.told.max(world.database);
                    Ok(())
                }
            };
            match taken {
                Ok(()) => {}
                // Another schedule has it go on later.
                Err(Stop::Waits) => break,
                Err(Stop::Wrong(wrong)) => {
                    outcome = Err(format!("{wrong}; schedule {schedule:?}"));
                    break;
                }
            }
        }
        complete += 1;
        states.iter_mut().filter_map(|state| state.mark.take()).for_each(|mark| drop(mark.finish()));
        outcome
    })?;
    Ok(complete)
}

fn visit(
    left: &mut [usize],
    schedule: &mut Vec<usize>,
    run: &mut impl FnMut(&[usize]) -> Result<(), String>,
) -> Result<(), String> {
    if left.iter().all(|left| *left == 0) {
        return run(schedule);
    }
    for who in 0..left.len() {
        if left[who] > 0 {
            left[who] -= 1;
            schedule.push(who);
            visit(left, schedule, run)?;
            schedule.pop();
            left[who] += 1;
        }
    }
    Ok(())
}

use Kind::{Direct, Impatient, Reader, Slow, Writer};

#[test]
fn reads_never_go_back() {
    for actors in [
        &[Writer, Reader(1), Reader(1)][..],
        &[Writer, Writer, Reader(1)],
        &[Writer, Reader(2), Reader(1)],
        &[Writer, Reader(2), Direct],
        // A load beside one that is overdue, and another who waits for whichever lands first.
        &[Writer, Slow, Impatient, Reader(1)],
    ] {
        let schedules = explore(Broken::Nothing, actors).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(schedules > 1000, "only {schedules} schedules");
    }
}

#[test]
fn each_rule_is_needed() {
    let rules = [
        Broken::ArmsAfterCommit,
        Broken::FinishesBeforeCommit,
        Broken::StampsAfterQuery,
        Broken::JoinsAnyFlight,
        Broken::IgnoresWritersInFlight,
    ];
    for broken in rules {
        assert!(
            [&[Writer, Reader(2), Reader(1)][..], &[Writer, Reader(2), Direct]]
                .iter()
                .any(|actors| explore(broken, actors).is_err()),
            "{broken:?} was not found"
        );
    }
}
