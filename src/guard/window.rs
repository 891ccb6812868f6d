//! What became of the last calls.

use std::collections::VecDeque;
use std::time::Duration;

use super::Window;

/// How the last calls ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub calls: u32,
    pub failed: u32,
    /// Answered or not, they took too long.
    pub slow: u32,
}

impl Tally {
    fn of(failed: bool, slow: bool) -> Self {
        Self { calls: 1, failed: failed.into(), slow: slow.into() }
    }

    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
    }

    fn take(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }

    /// The share of calls that failed, and that were slow.
    pub fn rates(self) -> (f64, f64) {
        let share = |part: u32| f64::from(part) / f64::from(self.calls.max(1));
        (share(self.failed), share(self.slow))
    }
}

/// A window of time is made of so many parts, of which the oldest leaves as a whole.
const PARTS: u32 = 10;

/// The last calls, by their number or by time. Of time it only knows what it is told.
#[derive(Debug)]
pub(super) struct Calls {
    window: Window,
    /// Each call, or each part of the window by its number.
    parts: VecDeque<(u64, Tally)>,
    sum: Tally,
}

impl Calls {
    pub fn new(window: Window) -> Self {
        Self { window, parts: VecDeque::new(), sum: Tally::default() }
    }

    /// A call ended at a time since some beginning.
    pub fn record(&mut self, at: Duration, failed: bool, slow: bool) {
        let call = Tally::of(failed, slow);
        self.sum.add(call);
        match self.window {
            Window::Calls(most) => {
                self.parts.push_back((0, call));
                while self.parts.len() > most.max(1) as usize {
                    self.leave();
                }
            }
            Window::Time(_) => {
                let part = self.part(at);
                match self.parts.back_mut() {
                    // Two that ended at the same time may come the wrong way round.
                    Some((last, tally)) if *last >= part => tally.add(call),
                    _ => self.parts.push_back((part, call)),
                }
                self.expire(at);
            }
        }
    }

    /// How the calls of the window ended.
    pub fn tally(&mut self, at: Duration) -> Tally {
        self.expire(at);
        self.sum
    }

    pub fn clear(&mut self) {
        self.parts.clear();
        self.sum = Tally::default();
    }

    fn part(&self, at: Duration) -> u64 {
        let Window::Time(length) = self.window else { return 0 };
        let part = (length / PARTS).max(Duration::from_millis(1));
        u64::try_from(at.as_nanos() / part.as_nanos()).unwrap_or(u64::MAX)
    }

    fn expire(&mut self, at: Duration) {
        if let Window::Time(_) = self.window {
            let oldest = self.part(at).saturating_sub(u64::from(PARTS) - 1);
            while self.parts.front().is_some_and(|(part, _)| *part < oldest) {
                self.leave();
            }
        }
    }

    fn leave(&mut self) {
        if let Some((_, tally)) = self.parts.pop_front() {
            self.sum.take(tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against every call ever made, looked through anew.
        #[test]
        fn it_is_what_the_last_calls_were(
            calls in prop::collection::vec((0_u64..400, any::<bool>(), any::<bool>()), 0..200),
            most in 1_u32..30,
        ) {
            let mut by_number = Calls::new(Window::Calls(most));
            let mut by_time = Calls::new(Window::Time(Duration::from_secs(1)));
            let mut now = Duration::ZERO;
            let mut all = Vec::new();
            for (later, failed, slow) in calls {
                now += Duration::from_millis(later);
                by_number.record(now, failed, slow);
                by_time.record(now, failed, slow);
                all.push((now, Tally::of(failed, slow)));
                let sum = |calls: &[(Duration, Tally)]| {
                    let mut sum = Tally::default();
                    calls.iter().for_each(|(_, call)| sum.add(*call));
                    sum
                };
                prop_assert_eq!(by_number.tally(now), sum(&all[all.len().saturating_sub(most as usize)..]));
                let part = |at: Duration| at.as_millis() / 100;
                let first = all.iter().position(|(at, _)| part(*at) + 10 > part(now)).unwrap_or(all.len());
                prop_assert_eq!(by_time.tally(now), sum(&all[first..]));
            }
            let much_later = now + Duration::from_secs(2);
            prop_assert_eq!(by_time.tally(much_later), Tally::default());
        }
    }
}
