//! One load per key and stamp; the others wait for it.
//!
//! A request joins a load only if its own stamp equals that of the load: nothing was written between the two, so the
//! load cannot miss a write that the request must see. A single map from key to load is enough: a load under an older
//! stamp is of no use to anybody who comes later, so a newer one takes its place.
//!
//! A load that takes long may be one that never ends: its connection may be gone without a word. Whoever finds it overdue
//! loads beside it, and everybody gets the result that lands first: under the same stamp, one is as good as the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::key::Key;
use crate::stamp::Stamp;

/// The loads under way in one pool.
#[derive(Debug)]
pub(crate) struct Flights<E> {
    loads: Arc<Loads<E>>,
}

/// A load is overdue after this. The one beside it is given twice as long, so that a query that takes its time is not asked
/// ever more often.
const PATIENCE: Duration = Duration::from_secs(5);

type Loads<E> = Mutex<HashMap<Key, Load<E>, foldhash::fast::RandomState>>;

#[derive(Debug)]
struct Load<E> {
    stamp: Stamp,
    announce: watch::Sender<Landed<E>>,
    patience: Duration,
    due: Instant,
}

/// What became of a load.
#[derive(Debug)]
enum Landed<E> {
    NotYet,
    /// The result, for everybody who waited.
    With(Arc<E>),
    /// Nothing that could be shared.
    Empty,
}

/// A request's place in a flight.
#[derive(Debug)]
pub(crate) enum Seat<E> {
    /// Nobody loads this, or who does is overdue: the request must.
    Pilot(Pilot<E>),
    /// Somebody does: the request may wait.
    Passenger(Passenger<E>),
}

impl<E> Flights<E> {
    pub fn new() -> Self {
        Self { loads: Arc::default() }
    }

    /// Joins the load of `key` under `stamp`, or begins it.
    pub fn join(&self, key: &Key, stamp: &Stamp, now: Instant) -> Seat<E> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let announce = match loads.get_mut(key).filter(|load| load.stamp.same(stamp)) {
            Some(load) if now < load.due => {
                return Seat::Passenger(Passenger { landed: load.announce.subscribe(), due: load.due });
            }
            Some(load) => {
                load.patience *= 2;
                load.due = now + load.patience;
                load.announce.clone()
            }
            None => {
                let announce = watch::Sender::new(Landed::NotYet);
                let (stamp, patience, due) = (stamp.clone(), PATIENCE, now + PATIENCE);
                loads.insert(key.clone(), Load { stamp, announce: announce.clone(), patience, due });
                announce
            }
        };
        Seat::Pilot(Pilot { loads: self.loads.clone(), key: key.clone(), announce })
    }
}

/// The duty to load. Dropped without a result, it sends the passengers off to load for themselves.
#[derive(Debug)]
pub(crate) struct Pilot<E> {
    loads: Arc<Loads<E>>,
    key: Key,
    announce: watch::Sender<Landed<E>>,
}

impl<E> Pilot<E> {
    /// Gives the result to everybody who waits.
    pub fn land(self, result: Arc<E>) {
        self.tell(Landed::With(result));
    }

    /// Returns once nobody waits for it.
    pub async fn is_alone(&self) {
        self.announce.closed().await;
    }

    /// The first word counts: another may have landed before.
    fn tell(&self, word: Landed<E>) {
        self.announce.send_if_modified(|landed| {
            let is_first = matches!(landed, Landed::NotYet);
            if is_first {
                *landed = word;
            }
            is_first
        });
    }
}

impl<E> Drop for Pilot<E> {
    fn drop(&mut self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        // A load under a newer stamp may have taken the place.
        if loads.get(&self.key).is_some_and(|load| load.announce.same_channel(&self.announce)) {
            loads.remove(&self.key);
        }
        drop(loads);
        self.tell(Landed::Empty);
    }
}

/// The right to wait for somebody else's load.
#[derive(Debug)]
pub(crate) struct Passenger<E> {
    landed: watch::Receiver<Landed<E>>,
    /// From then on it is not worth waiting any longer: better to join again.
    pub due: Instant,
}

impl<E> Clone for Passenger<E> {
    fn clone(&self) -> Self {
        Self { landed: self.landed.clone(), due: self.due }
    }
}

impl<E> Passenger<E> {
    /// The result, or `None` where the load gave none that can be shared.
    pub async fn wait(mut self) -> Option<Arc<E>> {
        let landed = self.landed.wait_for(|landed| !matches!(landed, Landed::NotYet)).await.ok()?;
        match &*landed {
            Landed::With(result) => Some(result.clone()),
            Landed::NotYet | Landed::Empty => None,
        }
    }
}
