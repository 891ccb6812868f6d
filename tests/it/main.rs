//! Every integration test, in one binary: linked once, and one server for all.

#[path = "../architecture.rs"]
mod architecture;
#[cfg(feature = "cli")]
mod demo_shows_what_it_promises;
mod servers;
#[cfg(feature = "postgres")]
mod servers_come_and_go;
#[macro_use]
mod support;

mod drop_in;
mod known_mistakes;
mod macros;
mod one_load_per_key;
mod reads_are_kept;
