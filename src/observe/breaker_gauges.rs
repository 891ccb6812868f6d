//! The state that one breaker is in.

use super::catalogue;
use super::counters::Level;
use crate::guard::BreakerState;

/// Told by the breaker itself, which there may be one of for several pools.
pub(crate) struct BreakerGauges {
    backend: &'static str,
    states: [Level; BreakerState::ALL.len()],
}

impl BreakerGauges {
    /// For a breaker before `backend` that is made in `state`.
    pub fn new(backend: &'static str, state: BreakerState) -> Self {
        let level = |state: BreakerState| Level::new(catalogue::BREAKERS.gauge(&[backend, state.label()]));
        let gauges = Self { backend, states: BreakerState::ALL.map(level) };
        gauges.states[state as usize].set(1);
        gauges
    }

    /// It turned.
    pub fn turned(&self, from: BreakerState, to: BreakerState) {
        self.states[from as usize].set(0);
        self.states[to as usize].set(1);
        catalogue::TRANSITIONS.counter(&[self.backend, from.label(), to.label()]).increment(1);
    }
}
