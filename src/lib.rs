#![forbid(unsafe_code)]

pub mod analysis;
mod catalog;
mod reason;
mod replay;

pub use reason::{Reason, Refusal};
