#![forbid(unsafe_code)]

pub mod analysis;
#[allow(dead_code)]
mod catalog;
mod reason;
mod replay;

pub use reason::{Reason, Refusal};
