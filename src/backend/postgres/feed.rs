//! What triggers announce in PostgreSQL: looked for in a table, and pushed to whoever listens.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};

use crate::feed::{Feed, Look};

struct Listening(PgListener);

pub(super) async fn open(options: &PgConnectOptions) -> Result<Box<dyn Feed>, sqlx::Error> {
    let options = options.clone().disable_statement_logging();
    let alone = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&alone).await?;
    listener.listen("larder").await?;
    Ok(Box::new(Listening(listener)))
}

impl Feed for Listening {
    fn look<'f>(&'f mut self, sum: &'f str) -> BoxFuture<'f, Result<Look, sqlx::Error>> {
        async move {
            let text = format!(
                "WITH total AS (SELECT coalesce(sum(version), 0)::text AS sum FROM larder.versions)
                SELECT NULL, NULL, sum FROM total
                UNION ALL
                SELECT schema_name, table_name, sum(version)::text FROM larder.versions
                WHERE (SELECT sum FROM total) <> '{}' GROUP BY schema_name, table_name",
                sum.replace('\'', "")
            );
            let mut look = Look::default();
            for row in sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(&mut self.0).await? {
                match (row.try_get(0)?, row.try_get(1)?) {
                    (Some(schema), Some(name)) => drop(look.tables.insert((schema, name), row.try_get(2)?)),
                    _ => look.sum = row.try_get(2)?,
                }
            }
            Ok(look)
        }
        .boxed()
    }

    fn pause(&mut self, at_most: Duration) -> BoxFuture<'_, ()> {
        async move {
            // What was pushed before the last look, that look has told.
            while self.0.next_buffered().is_some() {}
            let _ = tokio::time::timeout(at_most, self.0.try_recv()).await;
            while self.0.next_buffered().is_some() {}
        }
        .boxed()
    }
}
