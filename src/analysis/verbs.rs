//! What a statement does to the rows of a table.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Which of INSERT, UPDATE, DELETE and TRUNCATE a statement may do to a table: a superset.
///
/// ```
/// use larder::analysis::Verbs;
/// assert_eq!((Verbs::INSERT | Verbs::UPDATE).to_string(), "insert, update");
/// assert!(Verbs::ALL.any_of(Verbs::DELETE) && !Verbs::INSERT.any_of(Verbs::DELETE | Verbs::TRUNCATE));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Verbs(u8);

impl Verbs {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// It adds rows.
    pub const INSERT: Self = Self(1);
    /// It changes rows.
    pub const UPDATE: Self = Self(2);
    /// It removes rows.
    pub const DELETE: Self = Self(4);
    /// It removes all rows at once.
    pub const TRUNCATE: Self = Self(8);
    /// Any of them.
    pub const ALL: Self = Self(15);

    const NAMES: [(Self, &'static str); 4] =
        [(Self::INSERT, "insert"), (Self::UPDATE, "update"), (Self::DELETE, "delete"), (Self::TRUNCATE, "truncate")];

    /// Whether they have one in common.
    pub const fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Those of `self` that are not among `others`.
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl BitOr for Verbs {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Verbs {
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// In lower case, with commas between them.
impl fmt::Display for Verbs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Self::NAMES.iter().filter(|(verb, _)| self.any_of(*verb)).map(|(_, name)| *name).collect();
        f.write_str(&names.join(", "))
    }
}
