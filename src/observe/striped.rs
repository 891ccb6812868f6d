//! Counters of which several threads count in at once.
//!
//! A cache line that two cores write by turns costs more than all else that a hit counts. So each thread has a stripe of its own, as far
//! as there are some, and what was counted is the sum of them all.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// More threads than that share some.
pub(super) const STRIPES: usize = 8;

/// One stripe at first, since most counters are hardly ever met by two threads; more from [`Striped::spread`] on.
#[derive(Debug, Default)]
pub(super) struct Striped<T> {
    first: T,
    others: OnceLock<Box<[T]>>,
}

impl<T: Default> Striped<T> {
    /// The stripe that this thread counts in.
    pub fn mine(&self) -> &T {
        let others = self.others.get().map(|others| &**others).unwrap_or_default();
        // The first thread has the first, the others what is theirs if there is any.
        of_this_thread().checked_sub(1).and_then(|at| others.get(at)).unwrap_or(&self.first)
    }

    /// Has each thread count in its own stripe from now on.
    pub fn spread(&self) {
        self.others.get_or_init(|| (1..STRIPES).map(|_| T::default()).collect());
    }

    pub fn all(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(self.others.get().into_iter().flatten())
    }
}

/// Which stripe is this thread's.
pub(super) fn of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<usize> = const { Cell::new(STRIPES) });
    match MINE.get() {
        STRIPES => {
            let mine = NEXT.fetch_add(1, Relaxed) % STRIPES;
            MINE.set(mine);
            mine
        }
        mine => mine,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nothing_is_lost_while_it_is_spread() {
        const THREADS: usize = 3 * STRIPES;
        let counts = Striped::<AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for n in 0..10_000 {
                        counts.mine().fetch_add(1, Relaxed);
                        if n == 5_000 {
                            counts.spread();
                        }
                    }
                });
            }
        });
        let counted: Vec<u64> = counts.all().map(|count| count.load(Relaxed)).collect();
        assert_eq!((counted.len(), counted.iter().sum::<u64>()), (STRIPES, THREADS as u64 * 10_000));
        assert!(counted.iter().all(|count| *count > 0), "each thread has its own: {counted:?}");
    }
}
