//! Lesson 8: the same rules in a file and in the environment, where whoever runs the program can change them.
//!
//! `cargo run --example 08_config`

use std::time::Duration;

use larder::{CachedPool, Config, Reason, Sessions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A program would say `Config::load()?`, which reads `larder.toml` and the environment.
    let file: Config = r#"
        profile = "production"
        ttl = "1h"

        [never_cache]
        columns = ["users.password_hash"]

        [tables.prices]
        ttl = "300ms"
    "#
    .parse()?;
    // A variable is stronger than the file.
    let config = file.with_env([("LARDER_TTL", "5m")])?;
    println!("{config}");
    assert!(config.to_string().contains("ttl = \"5m\""), "{config}");

    let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
    let pool = CachedPool::builder(pool, Sessions::Uniform).config(config).build().await?;
    let tables = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, password_hash TEXT);
                  CREATE TABLE prices (item TEXT, cents INTEGER)";
    sqlx::raw_sql(tables).execute(&pool).await?;

    // Secrets are never in memory for longer than their query.
    for _ in 0..2 {
        sqlx::query("SELECT name, password_hash FROM users").fetch_all(&pool).await?;
        sqlx::query("SELECT name FROM users").fetch_all(&pool).await?;
    }
    let stats = pool.stats();
    println!("with the hash: {} bypasses; without it: {} hit", stats.bypasses, stats.hits);
    assert_eq!((stats.bypasses_by_reason[&Reason::NeverCache], stats.hits), (2, 1), "{stats}");

    // Each table has a time of its own; where a query reads several, the shortest counts.
    let queries =
        ["SELECT id FROM users", "SELECT cents FROM prices", "SELECT cents FROM prices JOIN users ON name = item"];
    for query in queries {
        sqlx::query(query).fetch_all(&pool).await?;
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    for (query, expired) in queries.into_iter().zip([false, true, true]) {
        let before = pool.stats();
        sqlx::query(query).fetch_all(&pool).await?;
        println!("{} after 0.4 s: {query}", if expired { "expired" } else { "a hit" });
        assert_eq!(pool.stats().hits > before.hits, !expired);
    }
    assert_eq!(pool.stats().misses_by_reason[&Reason::Expired], 2);

    // What is wrong is said where it stands, and stops the program instead of being passed over.
    let fault = "profile = 'production'\nttls = '1m'".parse::<Config>().unwrap_err();
    println!("{fault}");
    assert_eq!(fault.to_string(), "line 2, column 1: unknown key `ttls`: did you mean `ttl`?");
    Ok(())
}
