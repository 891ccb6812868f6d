//! Why a wait for a connection ended without one.

/// As far as it can be told from outside of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolTimeout {
    /// No new connection can be made.
    CannotConnect,
    /// Most connections are at statements, of which none takes long: there are too many of them.
    Backlog,
    /// Most are at statements that take long.
    SlowQueries,
    /// Most are held by callers who ask nothing.
    LeakSuspected,
}

impl PoolTimeout {
    pub const ALL: [Self; 4] = [Self::CannotConnect, Self::Backlog, Self::SlowQueries, Self::LeakSuspected];
    pub const LABELS: [&'static str; 4] = ["cannot_connect", "backlog", "slow_queries", "leak_suspected"];
}
