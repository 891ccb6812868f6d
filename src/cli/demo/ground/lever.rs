//! Stops the shop's database, and starts it again.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::cli::proxy::{Proxy, Way};

/// What a database is stopped by.
pub enum Lever {
    /// A lock that nobody gets past.
    File { options: Box<SqliteConnectOptions>, lock: Option<SqliteConnection> },
    /// The way there.
    Server(Proxy),
}

impl Lever {
    pub async fn stop(&mut self) -> sqlx::Result<()> {
        match self {
            Self::File { options, lock } => {
                let mut connection = options.connect().await?;
                // Whoever is at it now has to end first.
                sqlx::raw_sql("PRAGMA busy_timeout = 10000; BEGIN EXCLUSIVE").execute(&mut connection).await?;
                *lock = Some(connection);
            }
            Self::Server(proxy) => proxy.set(Way::Cut),
        }
        Ok(())
    }

    pub async fn start(&mut self) -> sqlx::Result<()> {
        match self {
            Self::File { lock, .. } => {
                if let Some(connection) = lock.take() {
                    connection.close().await?;
                }
            }
            Self::Server(proxy) => proxy.set(Way::Open),
        }
        Ok(())
    }
}
