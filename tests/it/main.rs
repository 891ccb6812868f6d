//! Every integration test, in one binary: linked once, and one server for all.

#[path = "../architecture.rs"]
mod architecture;
mod servers;
#[macro_use]
mod support;

#[cfg(feature = "admin")]
mod admin;
#[cfg(feature = "cli")]
mod adoption;
mod analysis;
mod analysis_properties;
#[cfg(feature = "mysql")]
mod as_mysql_runs_it;
mod auditing;
mod bad_input;
mod catalog_mysql_sqlite;
mod catalog_postgres;
mod catalog_properties;
mod configuration;
mod day_one;
#[cfg(feature = "cli")]
mod demo_serves_the_page;
#[cfg(feature = "cli")]
mod demo_shows_what_it_promises;
mod drop_in;
#[cfg(feature = "cli")]
mod explain;
mod gate;
#[cfg(feature = "postgres")]
mod guard;
mod known_mistakes;
mod lessons;
#[cfg(feature = "postgres")]
mod limits;
mod lives;
mod macros;
#[cfg(all(feature = "cli", feature = "postgres", feature = "redis"))]
mod monitoring;
mod mysql;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod nodes;
mod one_load_per_key;
mod opaque;
#[cfg(all(feature = "admin", feature = "postgres"))]
mod page;
mod policies;
mod reads_are_kept;
mod reads_never_go_back;
mod reasons;
mod reporting;
#[cfg(feature = "postgres")]
mod schema_changes_elsewhere;
mod servers_come_and_go;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod shared_through_redis;
#[cfg(feature = "postgres")]
mod silent_connections;
#[cfg(feature = "cli")]
mod snapshots;
#[cfg(feature = "cli")]
mod soak;
mod statistics;
#[cfg(feature = "postgres")]
mod typed_hits;
mod unknown_outcomes;
#[cfg(all(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod unnamed_columns;
#[cfg(feature = "cli")]
mod watching;
mod writes_run_on;
