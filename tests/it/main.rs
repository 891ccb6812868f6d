//! Every integration test, in one binary: linked once, and one server for all.

mod servers;
#[cfg(feature = "postgres")]
mod servers_come_and_go;
