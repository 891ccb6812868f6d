//! Whether there is an emergency: so little memory, or so many who wait for the database, that something has to be shed.
//!
//! Entered when one look after the other finds it, left when a few more find it well over: it does not flicker.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// Connections: too many callers wait for one.
    Database,
    /// Memory of the machine, or of the container.
    Memory,
}

impl Pressure {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Database, Self::Memory];

    /// As in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Memory => "memory",
        }
    }
}

impl Pressure {
    /// What there is too little of.
    pub(crate) const fn lack(self) -> &'static str {
        match self {
            Self::Database => "connections",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// When a pool sheds work to live through an emergency: see [`Builder::emergency`](crate::Builder::emergency). It looks each second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[must_use = "options do nothing until a pool is built with them"]
pub struct EmergencyOptions {
    pub(crate) waiting: Option<usize>,
    pub(crate) memory: Option<f64>,
}

impl EmergencyOptions {
    /// Whether the memory in use is of interest.
    pub(crate) fn needs_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// None, until it is said what is one.
    pub fn new() -> Self {
        Self::default()
    }

    /// At `callers` that wait for a connection in three looks one after the other; over when it was less than half of that in five.
    pub fn waiting(mut self, callers: usize) -> Self {
        self.waiting = Some(callers.max(1));
        self
    }

    /// At this share of the memory that the machine or the container has, above 0 and up to 1; over when it was below 0.95 of that in
    /// five looks. Nine tenths, say.
    pub fn memory(mut self, share: f64) -> Self {
        self.memory = Some(share);
        self
    }
}

/// Looks that have to find it.
const TO_BEGIN: u32 = 3;
/// Looks that have to find it over.
const TO_END: u32 = 5;

/// Whether there is one.
#[derive(Debug, Default)]
pub(crate) struct Emergency {
    in_force: [AtomicBool; Pressure::ALL.len()],
    looks: Mutex<[u32; Pressure::ALL.len()]>,
}

impl Emergency {
    /// Whether something is to be shed for want of this.
    pub fn is(&self, pressure: Pressure) -> bool {
        self.in_force[pressure as usize].load(Relaxed)
    }

    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        Pressure::ALL.into_iter().any(|pressure| self.is(pressure))
    }

    /// One more look: is it too much by now, or is it well below? Tells whether it begins (`true`) or ends with that.
    pub fn looked(&self, pressure: Pressure, too_much: bool, well_below: bool) -> Option<bool> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = &mut looks[pressure as usize];
        let is = self.is(pressure);
        let (counts, enough) = if is { (well_below, TO_END) } else { (too_much, TO_BEGIN) };
        *looks = if counts { *looks + 1 } else { 0 };
        if *looks < enough {
            return None;
        }
        *looks = 0;
        self.in_force[pressure as usize].store(!is, Relaxed);
        Some(!is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_and_ends_by_itself_and_does_not_flicker() {
        let emergency = Emergency::default();
        let look = |too_much, well_below| emergency.looked(Pressure::Memory, too_much, well_below);
        assert_eq!([look(true, false), look(true, false), look(false, false)], [None; 3]);
        assert_eq!([look(true, false), look(true, false), look(true, false)], [None, None, Some(true)]);
        // Neither too much nor well below: it stays.
        for _ in 0..20 {
            assert_eq!(look(false, false), None);
        }
        for _ in 0..4 {
            assert_eq!(look(false, true), None);
        }
        assert_eq!(look(false, false), None);
        assert!(emergency.is(Pressure::Memory) && emergency.is_any() && !emergency.is(Pressure::Database));
        for _ in 0..4 {
            assert_eq!(look(false, true), None);
        }
        assert_eq!(look(false, true), Some(false));
        assert!(!emergency.is_any());
    }
}
