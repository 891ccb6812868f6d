//! One load per key and stamp; the others wait for it.
//!
//! A request joins a load only if its own stamp equals that of the load: nothing was written between the two, so the
//! load cannot miss a write that the request must see. A single map from key to load is enough: a load under an older
//! stamp is of no use to anybody who comes later, so a newer one takes its place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::key::Key;
use crate::stamp::Stamp;

/// The loads under way in one pool.
#[derive(Debug)]
pub(crate) struct Flights<E> {
    loads: Arc<Loads<E>>,
}

type Loads<E> = Mutex<HashMap<Key, Load<E>, foldhash::fast::RandomState>>;

#[derive(Debug)]
struct Load<E> {
    stamp: Stamp,
    landed: watch::Receiver<Landed<E>>,
}

/// What became of a load.
#[derive(Debug)]
enum Landed<E> {
    NotYet,
    /// The result, for everybody who waited.
    With(Arc<E>),
}

/// A request's place in a flight.
#[derive(Debug)]
pub(crate) enum Seat<E> {
    /// Nobody loads this: the request must.
    Pilot(Pilot<E>),
    /// Somebody does: the request may wait.
    Passenger(Passenger<E>),
}

impl<E> Flights<E> {
    pub fn new() -> Self {
        Self { loads: Arc::default() }
    }

    /// Joins the load of `key` under `stamp`, or begins it.
    pub fn join(&self, key: &Key, stamp: &Stamp) -> Seat<E> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get(key)
            && load.stamp.same(stamp)
        {
            return Seat::Passenger(Passenger { landed: load.landed.clone() });
        }
        let (announce, landed) = watch::channel(Landed::NotYet);
        loads.insert(key.clone(), Load { stamp: stamp.clone(), landed });
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
        self.announce.send_replace(Landed::With(result));
    }
}

impl<E> Drop for Pilot<E> {
    fn drop(&mut self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        // A load under a newer stamp may have taken the place.
        if loads.get(&self.key).is_some_and(|load| load.landed.same_channel(&self.announce.subscribe())) {
            loads.remove(&self.key);
        }
    }
}

/// The right to wait for somebody else's load.
#[derive(Debug)]
pub(crate) struct Passenger<E> {
    landed: watch::Receiver<Landed<E>>,
}

impl<E> Clone for Passenger<E> {
    fn clone(&self) -> Self {
        Self { landed: self.landed.clone() }
    }
}

impl<E> Passenger<E> {
    /// The result, or `None` where the load gave none that can be shared.
    pub async fn wait(mut self) -> Option<Arc<E>> {
        let landed = self.landed.wait_for(|landed| matches!(landed, Landed::With(_))).await.ok()?;
        match &*landed {
            Landed::With(result) => Some(result.clone()),
            Landed::NotYet => None,
        }
    }
}
