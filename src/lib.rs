#![forbid(unsafe_code)]

pub mod analysis;
mod catalog;
#[cfg(feature = "cli")]
pub mod cli;
mod reason;
mod replay;

pub use reason::{Reason, Refusal};
