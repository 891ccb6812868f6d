//! A pool for sqlx that answers reads from memory and never gives a wrong answer.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

// The words.
mod entry;
mod key;
mod policy;
mod reason;
mod stamp;

// The rooms.
pub mod analysis;
mod backend;
mod catalog;
mod flight;
mod observe;
mod plan;
mod replay;
mod tier;
mod versions;

// The corridors, and what they run through.
mod inner;
mod read;
mod write;

#[cfg(test)]
mod interleavings;

// The public face.
mod connection;
mod pool;
mod transaction;

// The visitors.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use backend::Backend;
pub use connection::CachedConnection;
pub use observe::Stats;
pub use pool::{Builder, CachedPool, Sessions};
pub use reason::{Reason, Refusal};
pub use transaction::Transaction;

#[cfg(feature = "postgres")]
pub use pool::PgPool;
#[cfg(feature = "sqlite")]
pub use pool::SqlitePool;
