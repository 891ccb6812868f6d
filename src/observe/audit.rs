//! What came of looking into an answer from the cache.

/// Whether it was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audit {
    /// The database answers the same.
    Good,
    /// It answers something else, and nobody was seen to write.
    Stale,
    /// Somebody wrote meanwhile, rows came in another order, or the database did not answer.
    Undecided,
}

impl Audit {
    pub const ALL: [Self; 3] = [Self::Good, Self::Stale, Self::Undecided];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Stale => "stale",
            Self::Undecided => "undecided",
        }
    }
}
