//! What triggers announce in SQLite, looked for in a table.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::feed::{Feed, Look};

struct Looking(SqliteConnection);

pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Box<dyn Feed>, sqlx::Error> {
    let options = options.clone().create_if_missing(false).disable_statement_logging();
    Ok(Box::new(Looking(options.connect().await?)))
}

impl Feed for Looking {
    fn look<'f>(&'f mut self, sum: &'f str) -> BoxFuture<'f, Result<Look, sqlx::Error>> {
        async move {
            let text = format!(
                "SELECT NULL, CAST(coalesce(sum(version), 0) AS TEXT) FROM main.larder_versions \
                UNION ALL SELECT table_name, CAST(version AS TEXT) FROM main.larder_versions \
                WHERE (SELECT CAST(coalesce(sum(version), 0) AS TEXT) FROM main.larder_versions) <> '{}'",
                sum.replace('\'', "")
            );
            let mut look = Look::default();
            for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut self.0).await? {
                match row.try_get::<Option<String>, _>(0)? {
                    Some(name) if name.is_empty() => {
                        look.tables.insert((String::new(), name), row.try_get(1)?);
                    }
                    Some(name) => drop(look.tables.insert(("main".into(), name), row.try_get(1)?)),
                    None => look.sum = row.try_get(1)?,
                }
            }
            Ok(look)
        }
        .boxed()
    }
}
