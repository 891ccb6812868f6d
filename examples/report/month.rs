//! A month, as the report counts time.

use std::fmt;
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    year: u16,
    /// From 1.
    month: u16,
}

impl Month {
    /// The month of a day such as 2026-03-31.
    pub fn of(day: &str) -> Option<Self> {
        day.get(..7)?.parse().ok()
    }

    /// As days are written in the database.
    pub fn first_day(self) -> String {
        format!("{self}-01")
    }

    pub fn next(self) -> Self {
        match self.month {
            12 => Month { year: self.year + 1, month: 1 },
            _ => Month { month: self.month + 1, ..self },
        }
    }

    pub fn previous(self) -> Self {
        match self.month {
            1 => Month { year: self.year - 1, month: 12 },
            _ => Month { month: self.month - 1, ..self },
        }
    }
}

impl FromStr for Month {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('-').filter(|(year, month)| (year.len(), month.len()) == (4, 2));
        let month =
            parts.and_then(|(year, month)| Some(Month { year: year.parse().ok()?, month: month.parse().ok()? }));
        month
            .filter(|month| (1900..=2999).contains(&month.year) && (1..=12).contains(&month.month))
            .ok_or("a month is written like 2026-03")
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}
