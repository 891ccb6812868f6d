//! Postgres.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Ground, Lever, pool_options};
use crate::admin::Admin;
use crate::cli::Failure;
use crate::cli::demo::schema;
use crate::cli::demo::serve::watched;
use crate::{CachedPool, Sessions};

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
        let connection = super::reach(&options, &place).await?;
        Ok((options, connection))
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

    async fn served(&self, connections: u32) -> sqlx::Result<(Self::Cached, Lever)> {
        let (proxy, port) = super::way_to(self.options.get_host(), self.options.get_port()).await?;
        let pool: PgPoolOptions = pool_options(connections);
        let pool = pool.connect_with(self.options.clone().host("127.0.0.1").port(port)).await?;
        let pool = watched(CachedPool::builder(pool, Sessions::Uniform)).build().await?;
        Ok((pool, Lever::Server(proxy)))
    }

    fn show(admin: Admin, pool: &Self::Cached) -> Admin {
        admin.pool("shop", pool)
    }

    async fn leave(self, keep: bool) -> Result<Option<String>, Failure> {
        let Self { options, schema } = self;
        if keep {
            return Ok(Some(format!("schema {schema}")));
        }
        let drop = format!("DROP SCHEMA {schema} CASCADE");
        super::remove(&drop, async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::raw_sql(AssertSqlSafe(drop.clone())).execute(&mut connection).await?;
            connection.close().await
        })
        .await?;
        Ok(None)
    }
}
