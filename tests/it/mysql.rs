//! What only MySQL and MariaDB have.

use larder::{CachedPool, MySqlPool, Sessions};
use sqlx::Row;

use crate::servers::MariaDb;
use crate::support::was_hit;

async fn pool(url: &str) -> MySqlPool {
    let pool = sqlx::MySqlPool::connect(url).await.unwrap();
    CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    tracing_subscriber::fmt().init();
    let pool = pool(&MariaDb::shared().fresh()).await;
    sqlx::query("CREATE TABLE t (id INT PRIMARY KEY, name TEXT)").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (?, ?)").bind(1).bind("Ada").execute(&pool).await.unwrap();
    let read = || async { sqlx::query("SELECT name FROM t WHERE id = ?").bind(1).fetch_one(&pool).await };
    for _ in 0..3 {
        let (row, hit) = was_hit(&pool, read()).await;
        println!("{} {hit}", row.get::<String, _>(0));
    }
    println!("{}", pool.stats());
}
