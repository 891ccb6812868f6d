//! Lesson 4: what other programs write, and what must not be shared.
//!
//! `cargo run --example 04_fresh_and_scoped`

use larder::SqlitePool;

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE prices (item TEXT PRIMARY KEY, cents INTEGER NOT NULL)").execute(&pool).await?;
    sqlx::query("INSERT INTO prices VALUES ('tea', 500)").execute(&pool).await?;
    let price = || sqlx::query_scalar::<_, i64>("SELECT cents FROM prices WHERE item = 'tea'");
    assert_eq!(price().fetch_one(&pool).await?, 500);

    // Somebody else writes: the sqlx pool stands for another program here. Nobody tells this one.
    sqlx::query("UPDATE prices SET cents = 600").execute(pool.inner()).await?;
    println!("for ten seconds at most, or the `ttl` you set: {}", price().fetch_one(&pool).await?);
    assert_eq!(price().fetch_one(&pool).await?, 500);

    // `fresh` asks the database, for this query, and tells all others what it found.
    println!("who must know asks for a fresh answer:         {}", price().fetch_one(&pool.fresh()).await?);
    assert_eq!(price().fetch_one(&pool).await?, 600);

    // Who is told of a change by other means, a message or a webhook, names the table.
    sqlx::query("UPDATE prices SET cents = 700").execute(pool.inner()).await?;
    pool.invalidate(["prices"]);
    println!("or the table is named that was written:        {}", price().fetch_one(&pool).await?);
    assert_eq!(price().fetch_one(&pool).await?, 700);

    // The same query in another scope is another question: whatever decides what a tenant may see, results are not shared.
    let (mut misses, hits) = (pool.stats().misses, pool.stats().hits);
    for tenant in ["tenant:1", "tenant:2"] {
        price().fetch_one(&pool.scoped(tenant)).await?;
        misses += 1;
        assert_eq!((pool.stats().misses, pool.stats().hits), (misses, hits));
    }
    price().fetch_one(&pool.scoped("tenant:1")).await?;
    println!("each tenant asked once for itself, then it is a hit: {}", pool.stats().hits > hits);
    assert_eq!((pool.stats().misses, pool.stats().hits), (misses, hits + 1));

    // A write is for all scopes.
    sqlx::query("UPDATE prices SET cents = 800").execute(&pool.scoped("tenant:1")).await?;
    assert_eq!(price().fetch_one(&pool.scoped("tenant:2")).await?, 800);
    assert_eq!(price().fetch_one(&pool).await?, 800);
    Ok(())
}
