//! Starts real database servers for tests and benches, private to the process: own port, own data folder, gone when the
//! process is gone, whatever ended it.
//!
//! In: the servers installed on this machine. Out: URLs of fresh databases, and servers that a test may kill or pause.
//! It never uses a server that was already running, never leaves one behind, and never skips: no server, a failed test.
//!
//! It stands alone, so that unit tests and benches can take it too:
//! `#[path = "../tests/it/servers/mod.rs"] mod servers;`
//!
//! A test that only reads and writes takes a database of its own in the shared server:
//!
//! ```ignore
//! let pool = larder::PgPool::connect(&servers::postgres()).await?;
//! ```
//!
//! One that disturbs the server starts its own. The calls block for as long as the server takes.
//!
//! ```ignore
//! let mut server = Postgres::start();
//! let pool = larder::PgPool::connect(&server.fresh()).await?;
//! server.pause();
//! ```

#![allow(dead_code, unused_imports, reason = "each test binary that takes this folder uses a part of it")]

mod chromium;
mod daemon;
mod mariadb;
mod postgres;
mod prometheus;
mod redis;

pub use chromium::{Chromium, Page};
pub use daemon::{Daemon, command, free_port, run, signal};
pub use mariadb::MariaDb;
pub use postgres::Postgres;
pub use prometheus::{Alertmanager, Prometheus, amtool, promtool};
pub use redis::{Cluster, Redis, Replicated};

/// The URL (TCP) of a fresh, empty database in the PostgreSQL server that all tests of this process share.
pub fn postgres() -> String {
    Postgres::shared().fresh()
}

/// The URL (TCP) of a fresh, empty database in the MariaDB server that all tests of this process share.
pub fn mariadb() -> String {
    MariaDb::shared().fresh()
}
