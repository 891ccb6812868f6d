//! Whatever works on an sqlx pool works on a cached one.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use larder::{CachedPool, Sessions};
use sqlx::{Column, ConnectOptions, Either, Executor, FromRow, QueryBuilder, Row, SqlSafeStr, Statement, TypeInfo};

#[derive(Debug, FromRow, PartialEq)]
struct User {
    id: i32,
    name: String,
}

const SETUP: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL); \
                     INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Barbara')";
const ALL: &str = "SELECT id, name FROM users ORDER BY id";

on_each! {
    /// Twice each: once from the database, once from memory.
    async fn every_way_to_ask_gives_what_sqlx_gives(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let straight = pool.inner().clone();
        let names = |rows: &[User]| rows.iter().map(|user| user.name.clone()).collect::<Vec<_>>();
        for round in 0..2 {
            let users: Vec<User> = sqlx::query_as(ALL).fetch_all(&pool).await.unwrap();
            assert_eq!(names(&users), ["Ada", "Grace", "Barbara"], "round {round}");
            let user: User = sqlx::query_as(spell("SELECT id, name FROM users WHERE id = $1")).bind(2_i32).fetch_one(&pool).await.unwrap();
            assert_eq!(user, User { id: 2, name: "Grace".into() });
            let none: Option<User> = sqlx::query_as(spell("SELECT id, name FROM users WHERE id = $1")).bind(9_i32).fetch_optional(&pool).await.unwrap();
            assert_eq!(none, None);
            let missing = sqlx::query(spell("SELECT id FROM users WHERE id = $1")).bind(9_i32).fetch_one(&pool).await.unwrap_err();
            assert!(matches!(missing, sqlx::Error::RowNotFound), "{missing}");
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&pool).await.unwrap();
            assert_eq!(count, 3);
            let lengths: Vec<usize> = sqlx::query("SELECT name FROM users ORDER BY id")
                .map(|row: DbRow| row.get::<String, _>(0).len()).fetch_all(&pool).await.unwrap();
            assert_eq!(lengths, [3, 5, 7]);
            let tried: Result<Vec<i32>, _> = sqlx::query("SELECT name FROM users ORDER BY id")
                .try_map(|row: DbRow| row.try_get::<i32, _>("nothing")).fetch_all(&pool).await;
            assert!(matches!(tried.unwrap_err(), sqlx::Error::ColumnNotFound(name) if name == "nothing"));
            let mut builder = QueryBuilder::new("SELECT id, name FROM users WHERE id IN (");
            let mut ids = builder.separated(", ");
            ids.push_bind(1_i32);
            ids.push_bind(3_i32);
            builder.push(") ORDER BY id");
            let users: Vec<User> = builder.build_query_as().fetch_all(&pool).await.unwrap();
            assert_eq!(names(&users), ["Ada", "Barbara"]);
            let streamed: Vec<User> = sqlx::query_as(ALL).fetch(&pool).try_collect().await.unwrap();
            assert_eq!(streamed.len(), 3);
            let items: Vec<_> = pool.fetch_many(sqlx::query(ALL)).try_collect().await.unwrap();
            assert_eq!(items.iter().filter(|item| item.is_right()).count(), 3);
            assert!(matches!(items.last(), Some(Either::Left(_))));
            let results: Vec<_> = pool.execute_many(sqlx::query(ALL)).try_collect().await.unwrap();
            assert_eq!(results.len(), 1);
            sqlx::query(ALL).execute(&pool).await.unwrap();
            let statement = pool.prepare("SELECT id, name FROM users".into_sql_str()).await.unwrap();
            assert_eq!(statement.columns().len(), 2);
            assert_eq!(statement.query().fetch_all(&pool).await.unwrap().len(), 3);
            assert_eq!(statement.query_as::<User>().fetch_all(&pool).await.unwrap().len(), 3);
            let described = pool.describe("SELECT name, id FROM users".into_sql_str()).await.unwrap();
            assert_eq!(described.columns().len(), 2);
            assert_eq!(sqlx::raw_sql(ALL).fetch_all(&pool).await.unwrap().len(), 3);
            assert_eq!(pool.fetch_all(ALL).await.unwrap().len(), 3);
        }
        assert!(pool.stats().hits >= 10, "{}", pool.stats());
        // The rows themselves: columns, types and values are those of a direct query.
        let (cached, direct) = (sqlx::query(ALL).fetch_all(&pool).await.unwrap(), sqlx::query(ALL).fetch_all(&straight).await.unwrap());
        // Where a column comes from is left out: sqlx knows it only on connections that were asked to prepare something.
        let columns = |row: &DbRow| row.columns().iter().map(|c| format!("{} {} {:?}", c.ordinal(), c.name(), c.type_info())).collect::<Vec<_>>();
        for (a, b) in cached.iter().zip(&direct) {
            assert_eq!((format!("{a:?}"), columns(a)), (format!("{b:?}"), columns(b)));
            assert_eq!(a.column(1).name(), "name");
            assert_eq!(a.column(1).type_info().name(), b.column(1).type_info().name());
            let wrong = |row: &DbRow| format!("{:?}", row.try_get::<i64, _>("name").map_err(|e| e.to_string()));
            assert_eq!(wrong(a), wrong(b));
        }
    }

    /// Where a column has no alias, SQLite calls it as it is written.
    async fn columns_are_called_as_the_text_calls_them(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for sql in ["SELECT id+1 FROM users", "SELECT id + 1 FROM users", "SELECT id  +  1 FROM users", "SELECT id /* x */ + 1 FROM users", "SELECT  id  FROM users"] {
            for _ in 0..2 {
                let name = |row: DbRow| row.column(0).name().to_owned();
                let (ours, theirs) = (sqlx::query(sql).fetch_one(&pool).await.unwrap(), sqlx::query(sql).fetch_one(pool.inner()).await.unwrap());
                assert_eq!(name(ours), name(theirs), "{sql}");
            }
        }
    }

    async fn errors_are_those_of_sqlx(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        for sql in ["SELEC 1", "SELECT nothing FROM users", "SELECT id FROM nowhere", "SELECT id FROM users WHERE id = $1 +", "", ";"] {
            for _ in 0..2 {
                let ours = sqlx::query(sql).fetch_all(&pool).await.map(|rows| rows.len()).map_err(|error| error.to_string());
                let theirs = sqlx::query(sql).fetch_all(pool.inner()).await.map(|rows| rows.len()).map_err(|error| error.to_string());
                assert_eq!(ours, theirs, "{sql}");
            }
        }
        let duplicate = sqlx::query("INSERT INTO users VALUES (1, 'Eve')").execute(&pool).await.unwrap_err();
        assert!(duplicate.as_database_error().unwrap().is_unique_violation());
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&pool).await.unwrap();
        assert_eq!(count, 3);
    }

    async fn pool_methods_are_those_of_sqlx(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        assert!(pool.size() >= 1);
        assert!(pool.num_idle() <= pool.size() as usize);
        assert_eq!(pool.options().get_max_connections(), pool.inner().options().get_max_connections());
        assert!(!pool.is_closed());
        assert!(format!("{pool:?}").contains("CachedPool"));
        {
            let mut connection = pool.acquire().await.unwrap();
            connection.ping().await.unwrap();
            assert_eq!(sqlx::query(ALL).fetch_all(&mut *connection).await.unwrap().len(), 3);
            let mut inside = connection.begin().await.unwrap();
            sqlx::query("INSERT INTO users VALUES (4, 'Joan')").execute(&mut *inside).await.unwrap();
            inside.commit().await.unwrap();
        }
        assert_eq!(sqlx::query(ALL).fetch_all(&pool).await.unwrap().len(), 4);
        let mut tx = pool.begin_with("BEGIN").await.unwrap();
        assert_eq!(sqlx::query(ALL).fetch_all(&mut *tx).await.unwrap().len(), 4);
        tx.rollback().await.unwrap();
        if let Some(tx) = pool.try_begin().await.unwrap() {
            tx.commit().await.unwrap();
        }
        let event = pool.close_event();
        pool.close().await;
        event.await;
        assert!(pool.is_closed());
        for sql in [ALL, "INSERT INTO users VALUES (5, 'Eve')"] {
            let closed = sqlx::query(sql).fetch_all(&pool).await.unwrap_err();
            assert!(matches!(closed, sqlx::Error::PoolClosed), "{closed}");
        }
    }

    /// As in axum: the pool is state, cloned into handlers whose futures are spawned.
    async fn it_can_be_carried_anywhere(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        async fn helper<'e>(executor: impl Executor<'e>) -> usize {
            executor.fetch_all(ALL).await.unwrap().len()
        }
        fn borrowed(pool: &(impl Clone + Send + Sync + 'static)) -> impl Clone + Send + Sync + 'static { pool.clone() }
        let _ = borrowed(&pool);
        assert_eq!(helper(&pool).await, 3);
        let mut tx = pool.begin().await.unwrap();
        assert_eq!(helper(&mut *tx).await, 3);
        tx.commit().await.unwrap();
        let tasks: Vec<_> = (0..8).map(|_| { let pool = pool.clone(); tokio::spawn(async move { helper(&pool).await }) }).collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 3);
        }
        // A stream outlives the reference it was made with.
        let stream = { let short = pool.clone(); sqlx::query(ALL).fetch(&short) };
        assert_eq!(stream.count().await, 3);
    }

    async fn scopes_and_fresh_reads(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = 1");
        let (a, b) = (pool.scoped("tenant:1"), pool.scoped("tenant:2"));
        for scoped in [&a, &b, &pool] {
            assert_eq!(crate::support::was_hit(&pool, name().fetch_one(scoped)).await, ("Ada".into(), false));
            assert_eq!(crate::support::was_hit(&pool, name().fetch_one(scoped)).await, ("Ada".into(), true));
        }
        // Written behind the cache's back, as another program would.
        sqlx::query("UPDATE users SET name = 'Augusta' WHERE id = 1").execute(pool.inner()).await.unwrap();
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "Ada");
        assert_eq!(name().fetch_one(&pool.fresh()).await.unwrap(), "Augusta");
        assert_eq!(crate::support::was_hit(&pool, name().fetch_one(&pool)).await, ("Augusta".into(), true));
        assert_eq!(name().fetch_one(&a).await.unwrap(), "Ada");
        pool.invalidate(["users"]);
        assert_eq!(name().fetch_one(&a).await.unwrap(), "Augusta");
        sqlx::query("UPDATE users SET name = 'Byron' WHERE id = 1").execute(pool.inner()).await.unwrap();
        pool.invalidate(["no such table"]);
        assert_eq!(name().fetch_one(&a).await.unwrap(), "Byron");
        pool.clear();
        assert_eq!(pool.stats().entries, 0);
    }

    async fn nothing_is_given_out_beyond_its_time(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let ttl = Duration::from_millis(300);
        let short = CachedPool::builder(pool.inner().clone(), Sessions::Uniform).ttl(ttl).build().await.unwrap();
        let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = 1");
        let begun = std::time::Instant::now();
        name().fetch_one(&short).await.unwrap();
        sqlx::query("UPDATE users SET name = 'Augusta' WHERE id = 1").execute(short.inner()).await.unwrap();
        loop {
            let answer = name().fetch_one(&short).await.unwrap();
            let after = begun.elapsed();
            if answer == "Augusta" {
                break;
            }
            assert!(after < ttl + Duration::from_millis(100), "still {answer} after {after:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(short.stats().misses_by_reason.get(&larder::Reason::Expired), Some(&1));
    }

    async fn what_is_too_large_streams_through(pool) {
        sqlx::raw_sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)").execute(&pool).await.unwrap();
        let mut insert = QueryBuilder::new("INSERT INTO t ");
        insert.push_values(0..2000_i32, |mut row, i| { row.push_bind(i).push_bind("x".repeat(100)); });
        insert.build().execute(&pool).await.unwrap();
        let small = CachedPool::builder(pool.inner().clone(), Sessions::Uniform).max_entry_bytes(10_000).build().await.unwrap();
        for _ in 0..2 {
            let rows: Vec<(i32, String)> = sqlx::query_as("SELECT id, v FROM t ORDER BY id").fetch_all(&small).await.unwrap();
            assert_eq!(rows.len(), 2000);
            assert!(rows.iter().enumerate().all(|(i, row)| row.0 == i as i32 && row.1.len() == 100));
        }
        let mut some = sqlx::query("SELECT id, v FROM t ORDER BY id").fetch(&small);
        some.next().await.unwrap().unwrap();
        drop(some);
        let (stats, whole) = (small.stats(), pool.stats());
        assert_eq!((stats.hits, stats.entries), (0, 0), "{stats}");
        assert_eq!(stats.not_stored_by_reason.get(&larder::Reason::TooLarge), Some(&3));
        assert_eq!(whole.hits, 0);
        let rows = || sqlx::query("SELECT id, v FROM t ORDER BY id").fetch_all(&pool);
        rows().await.unwrap();
        assert_eq!(crate::support::was_hit(&pool, rows()).await.0.len(), 2000);
        assert_eq!(pool.stats().hits, 1);
    }

    async fn pools_on_one_database_see_each_others_writes(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let options = (*pool.connect_options()).clone();
        let other = Pool::connect_with(options.clone().disable_statement_logging()).await.unwrap();
        let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM users");
        for i in 0..3_i64 {
            assert_eq!(count().fetch_one(&pool).await.unwrap(), 3 + 2 * i);
            assert_eq!(crate::support::was_hit(&pool, count().fetch_one(&pool)).await, (3 + 2 * i, true));
            sqlx::query(spell("INSERT INTO users VALUES ($1, 'x')")).bind(10 + 2 * i as i32).execute(&other).await.unwrap();
            assert_eq!(count().fetch_one(&pool).await.unwrap(), 4 + 2 * i);
            let lazy = Pool::connect_lazy_with(options.clone());
            sqlx::query(spell("INSERT INTO users VALUES ($1, 'x')")).bind(11 + 2 * i as i32).execute(&lazy).await.unwrap();
        }
        assert_eq!(count().fetch_one(&pool).await.unwrap(), 9);
        // A schema changed through the one is known to be changed by the other.
        sqlx::query("CREATE TABLE base (id INTEGER PRIMARY KEY)").execute(&other).await.unwrap();
        sqlx::query("DROP TABLE users").execute(&other).await.unwrap();
        sqlx::query("CREATE VIEW users AS SELECT id FROM base").execute(&other).await.unwrap();
        assert_eq!(count().fetch_one(&pool).await.unwrap(), 0);
        sqlx::query("INSERT INTO base VALUES (1)").execute(&other).await.unwrap();
        assert_eq!(count().fetch_one(&pool).await.unwrap(), 1);
    }

    async fn a_lazy_pool_caches_once_it_has_seen_a_session(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        let lazy = Pool::connect_lazy_with((*pool.connect_options()).clone());
        let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = 1");
        assert_eq!(name().fetch_one(&lazy).await.unwrap(), "Ada");
        // The database was looked at before: the read might have been of a view that writes.
        assert_eq!(lazy.stats().misses, 1, "{}", lazy.stats());
        while lazy.stats().hits == 0 {
            assert_eq!(name().fetch_one(&lazy).await.unwrap(), "Ada");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
