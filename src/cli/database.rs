//! The database that a command asks about statements and itself. It is only read.

use std::time::Duration;

use sqlx::{Connection, MySqlConnection, PgConnection};

use crate::analysis::Dialect;
use crate::cli::Failure;
use crate::{Explanation, Limit, MySqlPool, PgPool, SqlitePool};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) enum Database {
    Postgres(PgPool),
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

impl Database {
    /// Connects to the database at `url`.
    pub async fn open(url: &str) -> Result<Self, Failure> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            // A connection first: a pool tries again where there is none to be had.
            Some("postgres" | "postgresql") => {
                answer(PgConnection::connect(url)).await?;
                answer(PgPool::connect(url)).await.map(Self::Postgres)
            }
            Some("mysql" | "mariadb") => {
                answer(MySqlConnection::connect(url)).await?;
                answer(MySqlPool::connect(url)).await.map(Self::MySql)
            }
            Some("sqlite") => answer(SqlitePool::connect(url)).await.map(Self::Sqlite),
            _ => Err(Failure::Usage(
                "--database-url must begin with postgres://, mysql://, mariadb:// or sqlite:".into(),
            )),
        }
    }

    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::MySql(_) => Dialect::MySql,
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    pub async fn explain(&self, sql: &str) -> Result<Explanation, Failure> {
        match self {
            Self::Postgres(pool) => answer(pool.explain(sql)).await,
            Self::MySql(pool) => answer(pool.explain(sql)).await,
            Self::Sqlite(pool) => answer(pool.explain(sql)).await,
        }
    }

    pub async fn limits(&self) -> Result<Vec<Limit>, Failure> {
        match self {
            Self::Postgres(pool) => answer(pool.limits()).await,
            Self::MySql(pool) => answer(pool.limits()).await,
            Self::Sqlite(pool) => answer(pool.limits()).await,
        }
    }
}

/// Waits for the database, but not for ever. Of the URL, which may hold a password, nothing is told.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(sqlx::Error::Configuration(error))) => {
            Err(Failure::Usage(format!("--database-url cannot be read: {error}")))
        }
        Ok(Err(error)) => Err(Failure::failed(format!("the database cannot be asked: {error}"))),
        Err(_) => Err(Failure::failed(format!("the database cannot be asked: no answer for {PATIENCE:?}"))),
    }
}
