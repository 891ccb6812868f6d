//! Where results are kept.
//!
//! In: a key and an entry. Out: the entry, if it is still good, or why not.
//! It never gives out an entry whose stamp no longer holds or whose time is over.

mod memory;

pub(crate) use memory::{Found, Memory};
