//! Where the shop stands: a SQLite file in a temporary folder, or a schema of its own in the given Postgres.
//!
//! In: `--database-url`. Out: pools that see the shop's tables and nothing else.
//! It never touches a table that it did not create, and takes everything away again unless told to keep it.

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use tempfile::TempDir;

use super::schema;
use super::shop::Shop;
use crate::cli::Failure;
use crate::{CachedPool, Sessions};

/// How long the database may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// A place for the shop.
pub trait Ground: fmt::Display + Send + Sync {
    type Straight: Shop;
    type Cached: Shop;

    /// Takes what is there away and creates the empty tables.
    fn clear(&self) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Runs statements that bring their values in their text.
    fn run(&self, pool: &Self::Straight, sql: String) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// Lets the database look at its new rows, so that it need not do so while it is measured.
    fn settle(&self, pool: &Self::Straight) -> impl Future<Output = sqlx::Result<()>> + Send;
    /// A pool of sqlx.
    fn straight(&self, connections: u32) -> impl Future<Output = sqlx::Result<Self::Straight>> + Send;
    /// The same pool, through Larder.
    fn cached(&self, connections: u32) -> impl Future<Output = sqlx::Result<Self::Cached>> + Send;
    /// Takes the shop away, or tells where it is kept.
    fn leave(self, keep: bool) -> impl Future<Output = Result<Option<String>, Failure>> + Send;
}

/// The same for every pool, whichever way it leads.
fn pool_options<DB: sqlx::Database>(connections: u32) -> PoolOptions<DB> {
    PoolOptions::new().min_connections(connections).max_connections(connections).acquire_timeout(PATIENCE)
}

/// A file in a temporary folder, which is removed with this.
pub struct SqliteGround {
    folder: TempDir,
}

impl SqliteGround {
    pub fn new() -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("larder-demo-").tempdir();
        let folder = folder.map_err(|error| Failure::failed(format!("cannot create a temporary folder: {error}")))?;
        Ok(Self { folder })
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(self.folder.path().join("shop.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
    }
}

impl fmt::Display for SqliteGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SQLite, in a temporary file")
    }
}

impl Ground for SqliteGround {
    type Straight = sqlx::SqlitePool;
    type Cached = crate::SqlitePool;

    async fn clear(&self) -> sqlx::Result<()> {
        for file in ["shop.db", "shop.db-wal", "shop.db-shm"] {
            match std::fs::remove_file(self.folder.path().join(file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let mut connection = self.options().connect().await?;
        sqlx::raw_sql(schema::TABLES).execute(&mut connection).await?;
        connection.close().await
    }

    async fn run(&self, pool: &Self::Straight, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
    }

    async fn settle(&self, pool: &Self::Straight) -> sqlx::Result<()> {
        sqlx::raw_sql("ANALYZE").execute(pool).await.map(drop)
    }

    async fn straight(&self, connections: u32) -> sqlx::Result<Self::Straight> {
        let options: SqlitePoolOptions = pool_options(connections);
        options.connect_with(self.options()).await
    }

    async fn cached(&self, connections: u32) -> sqlx::Result<Self::Cached> {
        let pool = self.straight(connections).await?;
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await
    }

    async fn leave(self, keep: bool) -> Result<Option<String>, Failure> {
        if keep {
            return Ok(Some(self.folder.keep().join("shop.db").display().to_string()));
        }
        let path = self.folder.path().to_owned();
        let close = |error| Failure::failed(format!("cannot remove {}: {error}", path.display()));
        self.folder.close().map_err(close).map(|()| None)
    }
}

/// A schema with a name that nobody else uses.
pub struct PostgresGround {
    options: PgConnectOptions,
    schema: String,
}

impl PostgresGround {
    /// Reads the URL and reaches the server.
    pub async fn reach(url: &str) -> Result<(PgConnectOptions, PgConnection), Failure> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| Failure::Usage(format!("--database-url is no Postgres URL: {error}")))?;
        let place = format!("{} at {}:{}", options.get_username(), options.get_host(), options.get_port());
        // Not through a pool, whose time limit would hide why the server cannot be reached.
        match tokio::time::timeout(PATIENCE, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => Ok((options, connection)),
            Ok(Err(error)) => Err(Failure::failed(format!("cannot connect as {place}: {error}"))),
            Err(_) => Err(Failure::failed(format!("cannot connect as {place}: no answer for {PATIENCE:?}"))),
        }
    }

    /// Creates the schema. From here on `leave` must be called.
    pub async fn create((options, mut connection): (PgConnectOptions, PgConnection)) -> Result<Self, Failure> {
        let schema = format!("larder_demo_{:08x}", rand::random::<u32>());
        // Without IF NOT EXISTS: a schema that is there already belongs to somebody else.
        let create = format!("CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS 'made by larder demo'");
        let create = sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await;
        create.map_err(|error| Failure::failed(format!("cannot create a schema for the shop: {error}")))?;
        let options = options.options([("search_path", &schema)]).application_name("larder demo");
        Ok(Self { options, schema })
    }
}

impl fmt::Display for PostgresGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres, in schema {}", self.schema)
    }
}

impl Ground for PostgresGround {
    type Straight = sqlx::PgPool;
    type Cached = crate::PgPool;

    async fn clear(&self) -> sqlx::Result<()> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let drop = "DROP TABLE IF EXISTS customers, products, stock, orders, order_lines, reviews";
        sqlx::raw_sql(drop).execute(&mut connection).await?;
        sqlx::raw_sql(schema::TABLES).execute(&mut connection).await?;
        connection.close().await
    }

    async fn run(&self, pool: &Self::Straight, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
    }

    async fn settle(&self, pool: &Self::Straight) -> sqlx::Result<()> {
        let vacuum = "VACUUM (ANALYZE) customers, products, stock, orders, order_lines, reviews";
        sqlx::raw_sql(vacuum).execute(pool).await.map(drop)
    }

    async fn straight(&self, connections: u32) -> sqlx::Result<Self::Straight> {
        let options: PgPoolOptions = pool_options(connections);
        options.connect_with(self.options.clone()).await
    }

    async fn cached(&self, connections: u32) -> sqlx::Result<Self::Cached> {
        let pool = self.straight(connections).await?;
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await
    }

    async fn leave(self, keep: bool) -> Result<Option<String>, Failure> {
        let Self { options, schema } = self;
        if keep {
            return Ok(Some(format!("schema {schema}")));
        }
        let drop = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE"))).execute(&mut connection).await?;
            connection.close().await
        };
        let dropped = match tokio::time::timeout(PATIENCE, drop).await {
            Ok(dropped) => dropped.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer for {PATIENCE:?}")),
        };
        dropped.map_err(|error| {
            Failure::failed(format!("the shop's schema is still there ({error}): DROP SCHEMA {schema} CASCADE"))
        })?;
        Ok(None)
    }
}
