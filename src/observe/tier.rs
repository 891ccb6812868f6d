//! Where an answer was kept.

use std::fmt;

/// Where an answer was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Tier {
    /// Rows in the memory of the process.
    Memory,
    /// Values that were decoded before, in the memory of the process.
    Typed,
    /// Rows in Redis, shared by many nodes.
    Redis,
}

impl Tier {
    /// Every tier, in the order of declaration.
    pub const ALL: [Tier; 3] = [Tier::Memory, Tier::Typed, Tier::Redis];

    /// The label used in metrics and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Tier::Memory => "memory",
            Tier::Typed => "typed",
            Tier::Redis => "redis",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// As its label.
impl serde::Serialize for Tier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

impl crate::json::Labelled for Tier {
    fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.label() == label)
    }
}
