//! Lesson 3: what a transaction writes is seen by others when it is committed, and not at all if it is rolled back.
//!
//! `cargo run --example 03_transactions`

use larder::{Reason, SqliteConnection, SqlitePool};

/// As any helper for sqlx, but with Larder's connection: what it writes is watched.
async fn rename(connection: &mut SqliteConnection, to: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET name = $1 WHERE id = 1").bind(to).execute(connection).await.map(|_| ())
}

/// A helper that knows sqlx alone works as well, but nobody sees what it does.
async fn rename_unseen(connection: &mut sqlx::SqliteConnection, to: &str) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE users SET name = $1 WHERE id = 1").bind(to).execute(connection).await.map(|_| ())
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    // A file: with SQLite's memory, a reader would wait for the writer's transaction to end.
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}?mode=rwc", folder.path().join("users.db").display());
    let pool = SqlitePool::connect(&url).await?;
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(pool.inner()).await?;
    sqlx::raw_sql("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE news (title TEXT)")
        .execute(&pool)
        .await?;
    sqlx::query("INSERT INTO users (name) VALUES ('Ada')").execute(&pool).await?;
    let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = 1");
    assert_eq!(name().fetch_one(&pool).await?, "Ada");

    let mut tx = pool.begin().await?;
    rename(&mut tx, "Grace").await?;
    let (inside, outside) = (name().fetch_one(&mut *tx).await?, name().fetch_one(&pool).await?);
    println!("before the commit:   {inside} inside, {outside} outside, {} hit", pool.stats().hits);
    assert_eq!((inside.as_str(), outside.as_str(), pool.stats().hits), ("Grace", "Ada", 1));
    tx.commit().await?;
    println!("after the commit:    {}", name().fetch_one(&pool).await?);
    assert_eq!(name().fetch_one(&pool).await?, "Grace");

    let before = pool.stats();
    let mut tx = pool.begin().await?;
    rename(&mut tx, "Eve").await?;
    tx.rollback().await?;
    println!("after a rollback:    {}", name().fetch_one(&pool).await?);
    assert_eq!((pool.stats().hits, pool.stats().invalidations), (before.hits + 1, before.invalidations));

    let mut tx = pool.begin().await?;
    rename_unseen(&mut tx, "Barbara").await?;
    tx.commit().await?;
    println!("after a raw helper:  {}, and everything was dropped", name().fetch_one(&pool).await?);
    assert_eq!(name().fetch_one(&pool).await?, "Barbara");
    assert_eq!(pool.stats().invalidations_by_reason[&Reason::OpaqueConnection], 1);
    Ok(())
}
