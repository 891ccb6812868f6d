//! What other nodes know of a read: the versions of its tables, and perhaps its result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Load;
use crate::backend::Driver;
use crate::chance::dice;
use crate::entry::{Entry, Life, Stored};
use crate::inner::Kept;
use crate::policy::Age;
use crate::reason::Reason;
use crate::replay::Replay;
use crate::replay::spares::Spares;
use crate::stamp::Stamp;
use crate::tier::Parcel;
use crate::versions::{Node, Ticket};

/// Under what a result is put where others find it.
pub(super) struct Shared {
    node: Arc<Node>,
    name: [u8; 32],
    ticket: Ticket,
}

/// What others said.
pub(super) struct Said<DB: Driver> {
    /// Whether they said anything: only then is what this node knows as good as what they do.
    pub heard: bool,
    /// The result, as somebody left it.
    pub entry: Option<Arc<Kept<DB>>>,
    /// Why not.
    pub missed: Option<Reason>,
}

impl<DB: Driver> Load<DB> {
    /// Asks others for the versions that the result rests on, and for the result itself unless it has to be `fresh`.
    pub(super) async fn ask_others(&mut self, node: &Arc<Node>, fresh: bool) -> Said<DB> {
        let (Some(known), Ok(reads)) = (&self.plan.known, &self.plan.reads) else {
            return Said { heard: false, entry: None, missed: None };
        };
        let rests_on = match self.terms.tags.is_empty() {
            true => reads.cells.clone(),
            false => known.versions.tagged(&reads.cells, &self.terms.tags),
        };
        let name = node.entries().name(|part| {
            self.key.parts().into_iter().for_each(&mut *part);
            rests_on.iter().for_each(|cell| part(cell.name().as_bytes()));
        });
        let most = self.terms.max_entry_bytes;
        // Of another node, the columns are told by what this one has seen itself.
        let shape = self.plan.shape().filter(|_| !fresh);
        let fetched = node.fetch(&rests_on, shape.is_some().then_some((&name, most))).await;
        let Some(fetched) = fetched else {
            self.stamp = None;
            if node.keeps_alone() {
                // A later word voids it.
                node.meets(&rests_on);
                self.stamp = Stamp::take(&rests_on).filter(|_| self.plan.holds());
            }
            return Said { heard: false, entry: None, missed: Some(Reason::TierDown) };
        };
        let Some((ticket, stamp)) = fetched.ticket.filter(|_| self.plan.holds()) else {
            self.stamp = None;
            return Said { heard: true, entry: None, missed: None };
        };
        self.stamp = Some(stamp.clone());
        let mut missed = None;
        let entry = fetched.entry.zip(shape).and_then(|(bytes, shape)| {
            let parcel = match node.entries().read(&name, &bytes, most) {
                Ok(parcel) => parcel,
                Err(why) => {
                    tracing::warn!(target: "larder::tier", %why, "a result in Redis cannot be read");
                    missed = Some(Reason::Unreadable);
                    return None;
                }
            };
            if parcel.epoch != ticket.epoch || parcel.versions != ticket.numbers {
                missed = Some(Reason::Invalidated);
                return None;
            }
            let has_columns = parcel.rows > 0 || DB::Replay::EMPTY_HAS_COLUMNS;
            if has_columns && parcel.shape != DB::Replay::digest(&shape) {
                missed = Some(Reason::Unreplayable);
                return None;
            }
            // A clock that was put back says nothing about an age.
            let age = fetched.now.checked_sub(parcel.begun).map(Duration::from_millis);
            let begun = age.and_then(|age| Instant::now().checked_sub(age))?;
            let life = Life {
                stamp,
                begun,
                cost: Duration::from_micros(parcel.cost),
                dice: parcel.dice,
                empty: parcel.rows == 0,
            };
            if self.terms.age(&life, Instant::now, dice) == Age::Over {
                missed = Some(Reason::Expired);
                return None;
            }
            let of_use = self.terms.of_use(&life);
            let stored = Stored { shape, bytes: parcel.bytes, rows: parcel.rows };
            Some(Arc::new(Entry::new(stored, Spares::none(), life, of_use)))
        });
        self.shared = Some(Shared { node: node.clone(), name, ticket });
        Said { heard: true, entry, missed }
    }

    /// Puts a result where others find it.
    pub(super) fn share(&self, entry: &Kept<DB>) {
        let Some(Shared { node, name, ticket }) = &self.shared else { return };
        let parcel = Parcel {
            epoch: ticket.epoch,
            versions: ticket.numbers.clone(),
            shape: DB::Replay::digest(&entry.stored.shape),
            begun: ticket.now,
            cost: u64::try_from(entry.life.cost.as_micros()).unwrap_or(u64::MAX),
            dice: entry.life.dice,
            rows: entry.stored.rows,
            bytes: entry.stored.bytes.clone(),
        };
        node.entries().put(*name, parcel, entry.of_use);
    }
}
