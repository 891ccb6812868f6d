//! Lesson 2: a write drops what rests on the tables it writes, and nothing else. No key is named, no cache is cleared.
//!
//! `cargo run --example 02_writes_invalidate`

use larder::SqlitePool;

/// Runs one query, and says whether it was answered from memory.
async fn ask(pool: &SqlitePool, sql: &'static str) -> Result<(i64, &'static str), sqlx::Error> {
    let hits = pool.stats().hits;
    let answer: i64 = sqlx::query_scalar(sql).fetch_one(pool).await?;
    let how = if pool.stats().hits > hits { "hit" } else { "miss" };
    println!("  {how:<4}  {answer:>5}  {sql}");
    Ok((answer, how))
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    let tables = "CREATE TABLE products (id INTEGER PRIMARY KEY, price INTEGER NOT NULL);
                  CREATE TABLE orders (id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL);
                  INSERT INTO products VALUES (1, 500), (2, 700);
                  INSERT INTO orders (product_id) VALUES (1), (2)";
    sqlx::raw_sql(tables).execute(&pool).await?;

    let dearest = "SELECT max(price) FROM products";
    let placed = "SELECT count(*) FROM orders";
    let revenue = "SELECT sum(p.price) FROM orders o JOIN products p ON p.id = o.product_id";

    println!("first and second time:");
    for how in ["miss", "hit"] {
        assert_eq!(ask(&pool, dearest).await?, (700, how));
        assert_eq!(ask(&pool, placed).await?, (2, how));
        assert_eq!(ask(&pool, revenue).await?, (1200, how));
    }

    println!("after an order was placed:");
    sqlx::query("INSERT INTO orders (product_id) VALUES ($1)").bind(2).execute(&pool).await?;
    assert_eq!(ask(&pool, dearest).await?, (700, "hit")); // rests on products alone
    assert_eq!(ask(&pool, placed).await?, (3, "miss"));
    assert_eq!(ask(&pool, revenue).await?, (1900, "miss"));

    println!("after a price was changed:");
    sqlx::query("UPDATE products SET price = 800 WHERE id = 2").execute(&pool).await?;
    assert_eq!(ask(&pool, dearest).await?, (800, "miss"));
    assert_eq!(ask(&pool, placed).await?, (3, "hit")); // rests on orders alone
    assert_eq!(ask(&pool, revenue).await?, (2100, "miss"));
    Ok(())
}
