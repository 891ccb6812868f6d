//! Where results are kept.
//!
//! In: a key and an entry. Out: the entry, if it is still good, or why not.
//! It never gives out an entry whose stamp no longer holds or whose time is over.

#[cfg(feature = "redis")]
mod codec;
#[cfg(feature = "redis")]
mod entries;
mod expired;
mod memory;
#[cfg(feature = "redis")]
mod options;
#[cfg(feature = "redis")]
mod redis;

#[cfg(feature = "redis")]
pub(crate) use self::redis::{Down, Redis};
#[cfg(feature = "redis")]
pub(crate) use codec::{Parcel, random};
#[cfg(feature = "redis")]
pub(crate) use entries::Entries;
pub(crate) use memory::{Found, Memory};
#[cfg(feature = "redis")]
pub use options::{Consistency, RedisOptions};
