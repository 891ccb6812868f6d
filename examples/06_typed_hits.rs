//! Lesson 6: where many ask for the same, rows need be decoded once: `cached` gives all of them one shared value.
//!
//! `cargo run --example 06_typed_hits`

use std::sync::Arc;
use std::time::Instant;

use larder::{QueryExt, SqlitePool};

#[derive(Debug, sqlx::FromRow)]
struct Product {
    id: i64,
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    sqlx::query("CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute(&pool).await?;
    let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
                INSERT INTO products (name) SELECT 'Product ' || i FROM n";
    sqlx::query(many).execute(&pool).await?;
    let all = || sqlx::query_as::<_, Product>("SELECT id, name FROM products ORDER BY id");

    // A hit on the pool makes rows and decodes them, every time.
    let mine: Vec<Product> = all().fetch_all(&pool).await?;
    // With `cached` in between, it is a matter of counting references.
    let shared: Arc<Vec<Product>> = all().cached(&pool).fetch_all().await?;
    let the_same: Arc<Vec<Product>> = all().cached(&pool).fetch_all().await?;
    assert_eq!((mine.len(), shared.len()), (500, 500));
    assert!(Arc::ptr_eq(&shared, &the_same));
    println!("{:?} and {} others, shared", shared[0], shared.len() - 1);

    let start = Instant::now();
    for _ in 0..20 {
        all().fetch_all(&pool).await?;
    }
    let rows = start.elapsed() / 20;
    let start = Instant::now();
    for _ in 0..20 {
        all().cached(&pool).fetch_all().await?;
    }
    let values = start.elapsed() / 20;
    println!("a hit: {rows:?} with rows of one's own, {values:?} with the shared value");
    assert!(values < rows);

    // Writes count as ever. Who holds the old value keeps it; who asks gets the new one.
    sqlx::query("UPDATE products SET name = 'Tea' WHERE id = 1").execute(&pool).await?;
    let new = all().cached(&pool).fetch_all().await?;
    println!("after a write: {:?} for who asks, {:?} for who held it", new[0].name, shared[0].name);
    assert_eq!((new[0].name.as_str(), shared[0].name.as_str(), shared[0].id), ("Tea", "Product 1", 1));
    Ok(())
}
