//! Lesson 1: a pool that remembers. The first reader asks the database, the second is answered from memory.
//!
//! `cargo run --example 01_hello`

use larder::SqlitePool; // the one line: it was `use sqlx::SqlitePool;`

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct User {
    id: i64,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute(&pool).await?;
    sqlx::query("INSERT INTO users (name) VALUES ($1), ($2)").bind("Ada").bind("Grace").execute(&pool).await?;

    // Any query of sqlx works, with whatever sqlx makes of its rows.
    let user = |id: i64| sqlx::query_as::<_, User>("SELECT id, name FROM users WHERE id = $1").bind(id);

    let ada = user(1).fetch_one(&pool).await?;
    println!("asked the database:     {ada:?}");
    assert_eq!((pool.stats().misses, pool.stats().hits), (1, 0));

    let again = user(1).fetch_one(&pool).await?;
    println!("answered from memory:   {again:?}");
    assert_eq!(again, ada);
    assert_eq!((pool.stats().misses, pool.stats().hits), (1, 1));

    // Another argument is another question.
    println!("asked the database:     {:?}", user(2).fetch_one(&pool).await?);
    assert_eq!((pool.stats().misses, pool.stats().hits), (2, 1));

    // That there is nothing is remembered, too.
    assert_eq!(user(3).fetch_optional(&pool).await?, None);
    assert_eq!(user(3).fetch_optional(&pool).await?, None);
    println!("nobody, twice:          {} misses, {} hits in all", pool.stats().misses, pool.stats().hits);
    assert_eq!((pool.stats().misses, pool.stats().hits), (3, 2));
    Ok(())
}
