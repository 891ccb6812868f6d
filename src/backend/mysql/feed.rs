//! What triggers announce in MySQL and MariaDB, looked for in a table.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::feed::{Feed, Look};

struct Looking(MySqlConnection);

pub(super) async fn open(options: &MySqlConnectOptions) -> Result<Box<dyn Feed>, sqlx::Error> {
    let mut connection = options.clone().disable_statement_logging().connect().await?;
    // Whatever the server does first: each look sees what was committed before it.
    sqlx::raw_sql("SET autocommit = 1").execute(&mut connection).await?;
    Ok(Box::new(Looking(connection)))
}

impl Feed for Looking {
    fn look<'f>(&'f mut self, sum: &'f str) -> BoxFuture<'f, Result<Look, sqlx::Error>> {
        async move {
            let total = "CAST(COALESCE(SUM(version), 0) AS CHAR)";
            let text = format!(
                "SELECT NULL, {total} FROM larder_versions \
                UNION ALL SELECT CONVERT(table_name USING utf8mb4), {total} FROM larder_versions \
                WHERE (SELECT {total} FROM larder_versions) <> '{}' GROUP BY table_name",
                sum.replace(['\'', '\\'], "")
            );
            let mut look = Look::default();
            for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut self.0).await? {
                match row.try_get(0)? {
                    // In the current database, or none: the one that tells the installation.
                    Some(name) => drop(look.tables.insert((String::new(), name), row.try_get(1)?)),
                    None => look.sum = row.try_get(1)?,
                }
            }
            Ok(look)
        }
        .boxed()
    }
}
