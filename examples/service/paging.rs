//! Long lists, a page at a time.

use serde::{Deserialize, Serialize};

use crate::error::{AppError, Faults};

#[derive(Debug, Deserialize)]
pub struct Paging {
    page: Option<i64>,
    per_page: Option<i64>,
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub page: i64,
    pub per_page: i64,
    /// How many there are on all pages.
    pub total: i64,
}

impl Paging {
    pub fn page(&self) -> i64 {
        self.page.unwrap_or(1)
    }

    pub fn per_page(&self) -> i64 {
        self.per_page.unwrap_or(20)
    }

    pub fn offset(&self) -> i64 {
        (self.page() - 1) * self.per_page()
    }

    pub fn check(&self) -> Result<(), AppError> {
        Faults::default()
            .check((1..=1_000_000).contains(&self.page()), "page", "has to be between 1 and 1000000")
            .check((1..=100).contains(&self.per_page()), "per_page", "has to be between 1 and 100")
            .done()
    }

    pub fn of<T>(&self, items: Vec<T>, total: i64) -> Page<T> {
        Page { items, page: self.page(), per_page: self.per_page(), total }
    }
}
