//! Why a wait for a connection ended without one.

/// As far as it can be told from outside of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolTimeout {
    /// No new connection can be made.
    CannotConnect,
    /// Most connections are busy with statements.
    Busy,
    /// Most are held by callers who ask nothing.
    Held,
}

impl PoolTimeout {
    pub const ALL: [Self; 3] = [Self::CannotConnect, Self::Busy, Self::Held];
    pub const LABELS: [&'static str; 3] = ["cannot_connect", "busy", "held"];
}
