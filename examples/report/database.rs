//! The database of the shop.

use std::path::Path;

pub use larder::SqlitePool;
use sqlx::SqlSafeStr;
use sqlx::sqlite::SqliteConnectOptions;

use crate::Failure;

/// Opens a database that is there.
pub async fn open(file: &Path) -> Result<SqlitePool, Failure> {
    let failed = |source| Failure::Open { file: file.to_owned(), source };
    let options = SqliteConnectOptions::new().filename(file);
    let pool = SqlitePool::connect_with(options).await.map_err(failed)?;
    // SQLite opens whatever it is given, and looks into it when it is asked something.
    sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&pool).await.map_err(failed)?;
    Ok(pool)
}

/// Makes up a shop: three months, five countries, 900 orders.
pub async fn sample(file: &Path) -> Result<SqlitePool, Failure> {
    std::fs::File::create_new(file).map_err(Failure::Sample)?;
    let pool = open(file).await?;
    sqlx::raw_sql(include_str!("sample.sql").into_sql_str()).execute(&pool).await?;
    Ok(pool)
}
