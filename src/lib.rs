#![forbid(unsafe_code)]

pub mod analysis;
mod catalog;
mod reason;
mod replay;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

pub use reason::{Reason, Refusal};
