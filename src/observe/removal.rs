//! Why an entry left the memory, in words.

use moka::notification::RemovalCause;

/// The labels: its time to live was over; it could not be given back or the cache was cleared; a newer result took its
/// place; there was no room, or none for a result that is hardly asked for.
pub(super) const LABELS: [&str; 4] = ["expired", "explicit", "replaced", "size"];

/// The position of a cause among them.
pub(super) fn index(cause: RemovalCause) -> usize {
    match cause {
        RemovalCause::Expired => 0,
        RemovalCause::Explicit => 1,
        RemovalCause::Replaced => 2,
        RemovalCause::Size => 3,
    }
}
