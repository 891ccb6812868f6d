//! The query macros on a cached pool. They are checked against the committed data in `.sqlx`, so that no database is needed
//! to build; the tests then run them on real ones.

use crate::support::was_hit;

const SCHEMA: &str = "CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, city TEXT)";

#[derive(Debug, PartialEq)]
struct Customer {
    id: i64,
    name: String,
    city: Option<String>,
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn macros_work_unchanged_on_postgres() {
    let pool = crate::support::postgres().await;
    sqlx::query(SCHEMA).execute(&pool).await.unwrap();
    let inserted =
        sqlx::query!("INSERT INTO customers VALUES ($1, $2, $3), ($4, 'Grace', NULL)", 1, "Ada", "London", 2);
    assert_eq!(inserted.execute(&pool).await.unwrap().rows_affected(), 2);
    for hit in [false, true] {
        let read = sqlx::query!("SELECT id, name, city FROM customers WHERE id = $1", 1).fetch_one(&pool);
        let (row, was) = was_hit(&pool, read).await;
        assert_eq!((row.id, row.name.as_str(), row.city.as_deref(), was), (1, "Ada", Some("London"), hit));
        let read = sqlx::query_as!(Customer, "SELECT id, name, city FROM customers ORDER BY id").fetch_all(&pool);
        let (rows, was) = was_hit(&pool, read).await;
        assert_eq!((rows.len(), was), (2, hit));
        assert_eq!(rows[1], Customer { id: 2, name: "Grace".into(), city: None });
        let read = sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM customers"#).fetch_one(&pool);
        assert_eq!(was_hit(&pool, read).await, (2, hit));
        let read =
            sqlx::query!("SELECT name FROM customers WHERE id = $1", 9).map(|row| row.name).fetch_optional(&pool);
        assert_eq!(was_hit(&pool, read).await, (None, hit));
    }
    let mut tx = pool.begin().await.unwrap();
    sqlx::query!("UPDATE customers SET city = $1 WHERE id = $2", "Arlington", 2).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let city = sqlx::query_scalar!("SELECT city FROM customers WHERE id = 2").fetch_one(&pool).await.unwrap();
    assert_eq!(city.as_deref(), Some("Arlington"));
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn macros_work_unchanged_on_sqlite() {
    let pool = crate::support::sqlite().await;
    sqlx::query(SCHEMA).execute(&pool).await.unwrap();
    let inserted = sqlx::query!("INSERT INTO customers VALUES (?, ?, ?), (?, 'Grace', NULL)", 1, "Ada", "London", 2);
    assert_eq!(inserted.execute(&pool).await.unwrap().rows_affected(), 2);
    for hit in [false, true] {
        let read = sqlx::query!("SELECT id, name, city FROM customers WHERE id = ?", 1).fetch_one(&pool);
        let (row, was) = was_hit(&pool, read).await;
        assert_eq!((row.id, row.name.as_str(), row.city.as_deref(), was), (1, "Ada", Some("London"), hit));
        let read = sqlx::query_as!(Customer, "SELECT id, name, city FROM customers ORDER BY id ASC").fetch_all(&pool);
        let (rows, was) = was_hit(&pool, read).await;
        assert_eq!((rows.len(), was), (2, hit));
        assert_eq!(rows[1], Customer { id: 2, name: "Grace".into(), city: None });
        let read = sqlx::query_scalar!("SELECT count(*) FROM customers").fetch_one(&pool);
        assert_eq!(was_hit(&pool, read).await, (2, hit));
        let read = sqlx::query!("SELECT name FROM customers WHERE id = ?", 9).map(|row| row.name).fetch_optional(&pool);
        assert_eq!(was_hit(&pool, read).await, (None, hit));
    }
    let mut tx = pool.begin().await.unwrap();
    sqlx::query!("UPDATE customers SET city = ? WHERE id = ?", "Arlington", 2).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let city = sqlx::query_scalar!("SELECT city FROM customers WHERE id = 2 LIMIT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(city.as_deref(), Some("Arlington"));
}
