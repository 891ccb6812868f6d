//! MySQL and MariaDB.

use std::fmt;
use std::str::FromStr;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

use super::{Ground, Lever, pool_options};
use crate::admin::Admin;
use crate::cli::Failure;
use crate::cli::demo::schema;
use crate::cli::demo::serve::watched;
use crate::{CachedPool, Sessions};

/// A database with a name that nobody else uses.
pub struct MySqlGround {
    options: MySqlConnectOptions,
    database: String,
}

impl MySqlGround {
    /// Reads the URL and reaches the server.
    pub async fn reach(url: &str) -> Result<(MySqlConnectOptions, MySqlConnection), Failure> {
        let options = MySqlConnectOptions::from_str(url)
            .map_err(|error| Failure::Usage(format!("--database-url is no MySQL URL: {error}")))?;
        let place = format!("{} at {}:{}", options.get_username(), options.get_host(), options.get_port());
        let connection = super::reach(&options, &place).await?;
        Ok((options, connection))
    }

    /// Creates the database. From here on `leave` must be called.
    pub async fn create((options, mut connection): (MySqlConnectOptions, MySqlConnection)) -> Result<Self, Failure> {
        let database = format!("larder_demo_{:08x}", rand::random::<u32>());
        // Without IF NOT EXISTS: a database that is there already belongs to somebody else.
        let create = format!("CREATE DATABASE {database} CHARACTER SET utf8mb4");
        let create = sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await;
        create.map_err(|error| Failure::failed(format!("cannot create a database for the shop: {error}")))?;
        let options = options.database(&database);
        Ok(Self { options, database })
    }
}

impl fmt::Display for MySqlGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MySQL, in database {}", self.database)
    }
}

impl Ground for MySqlGround {
    type Straight = sqlx::MySqlPool;
    type Cached = crate::MySqlPool;

    async fn clear(&self) -> sqlx::Result<()> {
        let mut connection = MySqlConnection::connect_with(&self.options).await?;
        // Those that refer to others first.
        let drop = "DROP TABLE IF EXISTS order_lines, reviews, stock, orders, products, customers";
        sqlx::raw_sql(drop).execute(&mut connection).await?;
        sqlx::raw_sql(schema::TABLES).execute(&mut connection).await?;
        connection.close().await
    }

    async fn run(&self, pool: &Self::Straight, sql: String) -> sqlx::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(drop)
    }

    async fn settle(&self, pool: &Self::Straight) -> sqlx::Result<()> {
        let analyze = "ANALYZE TABLE customers, products, stock, orders, order_lines, reviews";
        sqlx::raw_sql(analyze).execute(pool).await.map(drop)
    }

    async fn straight(&self, connections: u32) -> sqlx::Result<Self::Straight> {
        let options: MySqlPoolOptions = pool_options(connections);
        options.connect_with(self.options.clone()).await
    }

    async fn cached(&self, connections: u32) -> sqlx::Result<Self::Cached> {
        let pool = self.straight(connections).await?;
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await
    }

    async fn served(&self, connections: u32) -> sqlx::Result<(Self::Cached, Lever)> {
        let (proxy, port) = super::way_to(self.options.get_host(), self.options.get_port()).await?;
        let pool: MySqlPoolOptions = pool_options(connections);
        let pool = pool.connect_with(self.options.clone().host("127.0.0.1").port(port)).await?;
        let pool = watched(CachedPool::builder(pool, Sessions::Uniform)).build().await?;
        Ok((pool, Lever::Server(proxy)))
    }

    fn show(admin: Admin, pool: &Self::Cached) -> Admin {
        admin.pool("shop", pool)
    }

    async fn leave(self, keep: bool) -> Result<Option<String>, Failure> {
        let Self { options, database } = self;
        if keep {
            return Ok(Some(format!("database {database}")));
        }
        let drop = format!("DROP DATABASE {database}");
        super::remove(&drop, async {
            let mut connection = MySqlConnection::connect_with(&options).await?;
            sqlx::raw_sql(AssertSqlSafe(drop.clone())).execute(&mut connection).await?;
            connection.close().await
        })
        .await?;
        Ok(None)
    }
}
