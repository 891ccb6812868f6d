//! The last things that happened to a pool that somebody on call would want to know of.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::json::since_1970;

/// Events of a kind that are remembered: a breaker that turns all day must not push out who ordered what.
const REMEMBERED: usize = 200;

/// Something that happened to a pool: see [`CachedPool::events`](crate::CachedPool::events). It holds no SQL and no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// When. As JSON, in seconds since 1970.
    #[serde(serialize_with = "since_1970::serialize")]
    pub at: SystemTime,
    /// To what.
    pub kind: EventKind,
    /// What, for people.
    pub text: String,
}

/// What something happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventKind {
    /// A breaker turned.
    Breaker,
    /// An emergency began or ended.
    Emergency,
    /// Everything was dropped, or nothing is cached any more.
    Cache,
    /// An answer from the cache was found to be wrong.
    Audit,
    /// Somebody gave an order through the admin router.
    Operator,
}

impl EventKind {
    /// As in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::Emergency => "emergency",
            Self::Cache => "cache",
            Self::Audit => "audit",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

impl Event {
    /// One that happens now.
    pub(crate) fn now(kind: EventKind, text: impl Into<String>) -> Self {
        Self { at: SystemTime::now(), kind, text: text.into() }
    }
}

/// The last events of one pool, by kind.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<BTreeMap<EventKind, VecDeque<Event>>>);

impl Events {
    pub fn push(&self, event: Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let events = events.entry(event.kind).or_default();
        if events.len() >= REMEMBERED {
            events.pop_front();
        }
        events.push_back(event);
    }

    pub fn snapshot(&self) -> Vec<Event> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events: Vec<_> = events.values().flatten().cloned().collect();
        events.sort_by_key(|event| event.at);
        events
    }
}
