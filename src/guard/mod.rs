//! Spares a database that is in trouble.
//!
//! In: calls that are about to be made, and what became of them. Out: whether to make them.
//! It never knows what a call is about, and never makes one.
//!
//! - `window` holds what became of the last calls;
//! - `breaker` decides on them: its states are those of the failsafe crate, behind a gate for half-open and for orders by hand;
//! - `emergency` tells whether something has to be shed;
//! - `options` are what is asked of a breaker.

mod breaker;
mod emergency;
mod options;
mod window;

pub(crate) use breaker::Call;
pub use breaker::{Breaker, BreakerState, BreakerStatus, Forced, Transition};
pub(crate) use emergency::Emergency;
pub use emergency::{EmergencyOptions, Pressure};
pub use options::{BreakerOptions, Window};

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was answered, if only by an objection to what was asked.
    Answered,
    /// The database is in trouble.
    Failed,
}
