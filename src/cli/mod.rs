//! The commands of the `larder` binary, one file each.

pub mod explain;
