//! A read that was answered once is answered from memory until something it rests on is written.

on_each! {
    async fn a_second_read_is_a_hit(pool) {
        sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)").execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')").execute(&pool).await.unwrap();
        let name = || sqlx::query_scalar::<_, String>(spell("SELECT name FROM users WHERE id = $1")).bind(1_i32);
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Ada");
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Ada");
        eprintln!("{}", pool.stats());
        assert_eq!(pool.stats().hits, 1);
        sqlx::query(spell("UPDATE users SET name = $1 WHERE id = 1")).bind("Lovelace").execute(&pool).await.unwrap();
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Lovelace");
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Lovelace");
        eprintln!("{}", pool.stats());
        assert_eq!(pool.stats().hits, 2);
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(spell("UPDATE users SET name = $1 WHERE id = 1")).bind("X").execute(&mut *tx).await.unwrap();
        assert_eq!(name().fetch_one(&mut *tx).await.unwrap(), "X");
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Lovelace");
        tx.commit().await.unwrap();
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "X");
        eprintln!("{}", pool.stats());
    }

    /// Copies of a hot result are made ahead; not one of them may be given out after a write.
    async fn a_hot_result_ends_with_a_write(pool) {
        sqlx::query("CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)").execute(&pool).await.unwrap();
        sqlx::query("INSERT INTO counters VALUES (1, 0), (2, 0)").execute(&pool).await.unwrap();
        let read = || sqlx::query_scalar::<_, i32>(spell("SELECT n FROM counters WHERE id = $1")).bind(1_i32);
        let none = || sqlx::query_scalar::<_, i32>(spell("SELECT n FROM counters WHERE id = $1")).bind(7_i32);
        for n in 0..20 {
            for _ in 0..5 * n {
                assert_eq!(read().fetch_all(&pool).await.unwrap(), [n]);
                assert!(none().fetch_all(&pool).await.unwrap().is_empty());
            }
            sqlx::query("UPDATE counters SET n = n + 1").execute(&pool).await.unwrap();
        }
        assert_eq!(read().fetch_one(&pool).await.unwrap(), 20);
        assert!(pool.stats().hits > 1_000, "{}", pool.stats());
    }
}
