//! What Larder itself refuses to do.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why a statement was not sent to the database though the database could have been asked.
///
/// It comes as the source of an [`sqlx::Error::Io`].
///
/// ```
/// # fn retry_later(_: Option<std::time::Duration>) {}
/// # fn look(error: sqlx::Error) {
/// if let Some(rejected) = larder::Rejected::of(&error) {
///     retry_later(rejected.retry_after());
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    by: Guard,
    retry_after: Option<Duration>,
}

/// What refused a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// The breaker before the database: it is in trouble, and spared.
    Breaker,
    /// As many results are being loaded as may be at a time.
    LoadLimit,
    /// The rate of reads that its scope may send to the database.
    RateLimit,
    /// An emergency: too many wait for a connection.
    Emergency,
    /// Strict consistency: other nodes cannot be told of a write, since Redis is out of reach.
    Consistency,
}

impl Guard {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::Breaker, Self::LoadLimit, Self::RateLimit, Self::Emergency, Self::Consistency];

    /// As in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::LoadLimit => "load_limit",
            Self::RateLimit => "rate_limit",
            Self::Emergency => "emergency",
            Self::Consistency => "consistency",
        }
    }
}

impl Rejected {
    pub(crate) fn new(by: Guard, retry_after: Option<Duration>) -> Self {
        Self { by, retry_after }
    }

    /// The refusal that an error stands for, if it is one.
    pub fn of(error: &sqlx::Error) -> Option<&Self> {
        match error {
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// What refused it.
    pub fn by(&self) -> Guard {
        self.by
    }

    /// After how long it may be worth another try.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            Guard::Breaker => f.write_str("not sent: the database is in trouble, and its breaker is open"),
            Guard::LoadLimit => f.write_str("not sent: as many results are being loaded as may be at a time"),
            Guard::RateLimit => f.write_str("not sent: its scope has sent as many reads to the database as it may"),
            Guard::Emergency => f.write_str("not sent: too many wait for a connection to the database already"),
            Guard::Consistency => f.write_str(
                "not written: other nodes cannot be told of it while Redis is out of reach, and the consistency is strict",
            ),
        }
    }
}

impl std::error::Error for Rejected {}

impl From<Rejected> for sqlx::Error {
    fn from(rejected: Rejected) -> Self {
        Self::Io(io::Error::other(rejected))
    }
}
