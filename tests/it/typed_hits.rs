//! Decoded results are shared: made once by sqlx, given to all who ask for the same until something they rest on is written.

use std::sync::Arc;
use std::time::Duration;

use larder::{Policy, QueryExt};
use sqlx::Row;

use crate::support::was_hit;

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct User {
    id: i64,
    name: String,
}

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Name {
    name: String,
}

const USERS: &str = "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL)";
const ALL: &str = "SELECT id, name FROM users ORDER BY id";
const ONE: &str = "SELECT id, name FROM users WHERE id = $1";

/// Makes the table on this pool.
macro_rules! users {
    ($pool:expr) => {
        sqlx::query(USERS).execute($pool).await.unwrap();
        sqlx::query("INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')").execute($pool).await.unwrap();
    };
}

on_each! {
    async fn a_value_is_made_once(pool) {
        users!(&pool);
        let all = || sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_all();
        let (first, hit) = was_hit(&pool, all()).await;
        assert!(!hit);
        let (second, hit) = was_hit(&pool, all()).await;
        assert!(hit && Arc::ptr_eq(&first, &second));
        assert_eq!(*first, sqlx::query_as::<_, User>(ALL).fetch_all(pool.inner()).await.unwrap());

        sqlx::query("UPDATE users SET name = 'Lovelace' WHERE id = 1").execute(&pool).await.unwrap();
        let (third, hit) = was_hit(&pool, all()).await;
        assert!(!hit);
        assert_eq!((first[0].name.as_str(), third[0].name.as_str()), ("Ada", "Lovelace"));
        assert!(Arc::ptr_eq(&third, &all().await.unwrap()));
    }

    /// A result that is there as rows need not be asked for again to become a value.
    async fn rows_that_are_kept_become_a_value(pool) {
        users!(&pool);
        sqlx::query(ALL).fetch_all(&pool).await.unwrap();
        for _ in 0..2 {
            let (names, hit) = was_hit(&pool, sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_all()).await;
            assert!(hit);
            assert_eq!(names.len(), 2);
        }
        assert_eq!(pool.stats().misses, 1);
        // And the other way round.
        sqlx::query_as::<_, User>(spell(ONE)).bind(2_i64).cached(&pool).fetch_one().await.unwrap();
        let (row, hit) = was_hit(&pool, sqlx::query_as::<_, User>(spell(ONE)).bind(2_i64).fetch_one(&pool)).await;
        assert!(hit);
        assert_eq!(row.name, "Grace");
    }

    async fn every_kind_of_query_can_be_shared(pool) {
        users!(&pool);
        for hit in [false, true] {
            let scalar = || sqlx::query_scalar::<_, String>(spell("SELECT name FROM users WHERE id = $1"));
            let (name, was) = was_hit(&pool, scalar().bind(1_i64).cached(&pool).fetch_one()).await;
            assert_eq!((name.as_str(), was), ("Ada", hit));
            let (names, was) = was_hit(&pool, scalar().bind(2_i64).cached(&pool).fetch_all()).await;
            assert_eq!((names.as_slice(), was), (&["Grace".to_owned()][..], hit));
            let (none, was) = was_hit(&pool, scalar().bind(3_i64).cached(&pool).fetch_optional()).await;
            assert_eq!((none, was), (None, hit));
            let missing = scalar().bind(3_i64).cached(&pool).fetch_one().await;
            assert!(matches!(missing, Err(sqlx::Error::RowNotFound)));

            let mapped = sqlx::query("SELECT id FROM users").map(|row: DbRow| row.get::<i64, _>(0) + 1);
            let (ids, was) = was_hit(&pool, mapped.cached(&pool).fetch_all()).await;
            assert_eq!((ids.as_slice(), was), (&[2, 3][..], hit));
            let tried = sqlx::query("SELECT id FROM users WHERE id = 2").try_map(|row: DbRow| row.try_get::<i64, _>(0));
            let (id, was) = was_hit(&pool, tried.map(|id| -id).cached(&pool).fetch_optional()).await;
            assert_eq!((id.as_deref(), was), (Some(&-2), hit));

            let (rows, was) = was_hit(&pool, sqlx::query("SELECT name FROM users").cached(&pool).fetch_all()).await;
            assert_eq!((rows[1].get::<String, _>(0).as_str(), was), ("Grace", hit));
        }
    }

    /// The same rows through different mappers, as one and as all.
    async fn values_of_different_making_are_kept_apart(pool) {
        users!(&pool);
        for _ in 0..3 {
            let users = sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_all().await.unwrap();
            let names = sqlx::query_as::<_, Name>(ALL).cached(&pool).fetch_all().await.unwrap();
            let first = sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_one().await.unwrap();
            let tuples = sqlx::query_as::<_, (i64, String)>(ALL).cached(&pool).fetch_all().await.unwrap();
            let id = sqlx::query_scalar::<_, i64>(ALL).cached(&pool).fetch_one().await.unwrap();
            let one_tuple = sqlx::query_as::<_, (i64,)>(ALL).cached(&pool).fetch_one().await.unwrap();
            assert_eq!((users.len(), names.len(), tuples.len()), (2, 2, 2));
            assert_eq!((users[1].id, names[1].name.as_str(), &tuples[1]), (2, "Grace", &(2, "Grace".to_owned())));
            assert_eq!((first.name.as_str(), *id, one_tuple.0), ("Ada", 1, 1));
            // Closures of one type of value, but not of one type.
            let plus = sqlx::query(ALL).map(|row: DbRow| row.get::<i64, _>(0) + 10).cached(&pool);
            let times = sqlx::query(ALL).map(|row: DbRow| row.get::<i64, _>(0) * 10).cached(&pool);
            assert_eq!(*plus.fetch_all().await.unwrap(), [11, 12]);
            assert_eq!(*times.fetch_all().await.unwrap(), [10, 20]);
        }
        assert_eq!(pool.stats().misses, 1, "one query is enough for all of them");
    }

    /// One function for all types: the code is one, what it makes is not.
    async fn a_generic_mapper_is_as_many_as_its_types(pool) {
        trait Named: Send + Sync + Unpin + 'static {
            const NAME: &str;
        }
        #[derive(Debug)]
        struct A;
        struct B;
        impl Named for A {
            const NAME: &str = "a";
        }
        impl Named for B {
            const NAME: &str = "b";
        }
        fn name<T: Named>(row: DbRow) -> String {
            format!("{} {}", T::NAME, row.get::<String, _>(1))
        }
        users!(&pool);
        for _ in 0..2 {
            let a = sqlx::query(ALL).map(name::<A>).cached(&pool).fetch_one().await.unwrap();
            let b = sqlx::query(ALL).map(name::<B>).cached(&pool).fetch_one().await.unwrap();
            assert_eq!((a.as_str(), b.as_str()), ("a Ada", "b Ada"));
        }
    }

    async fn values_are_kept_apart_as_rows_are(pool) {
        users!(&pool);
        let views = [
            pool.clone(),
            pool.scoped("a"),
            pool.scoped("b"),
            pool.with(Policy::default().tag("home")),
            pool.with(Policy::default().tag("home").tag("shop")),
        ];
        let mut values = Vec::new();
        for view in &views {
            for id in [1_i64, 2] {
                let query = || sqlx::query_as::<_, User>(spell(ONE)).bind(id).cached(view);
                let value = query().fetch_one().await.unwrap();
                assert_eq!(value.id, id);
                assert!(Arc::ptr_eq(&value, &query().fetch_one().await.unwrap()));
                assert!(values.iter().all(|other| !Arc::ptr_eq(other, &value)));
                values.push(value);
            }
        }
        assert_eq!(pool.stats().misses, values.len() as u64);
        pool.invalidate_tags(["shop"]);
        for (view, left) in views.iter().zip([true, true, true, true, false]) {
            let read = sqlx::query_as::<_, User>(spell(ONE)).bind(1_i64).cached(view).fetch_one();
            assert_eq!(was_hit(&pool, read).await.1, left);
        }
    }

    async fn fresh_views_decode_afresh(pool) {
        users!(&pool);
        let query = || sqlx::query_as::<_, User>(ALL);
        let old = query().cached(&pool).fetch_all().await.unwrap();
        sqlx::query("UPDATE users SET name = 'Lovelace' WHERE id = 1").execute(pool.inner()).await.unwrap();
        assert!(Arc::ptr_eq(&old, &query().cached(&pool).fetch_all().await.unwrap()), "nobody saw that write");
        let new = query().cached(&pool.fresh()).fetch_all().await.unwrap();
        assert_eq!(new[0].name, "Lovelace");
        assert!(Arc::ptr_eq(&new, &query().cached(&pool).fetch_all().await.unwrap()), "it took the place of the old one");
    }

    /// Whatever found it and whatever it is made into: nobody gets less than somebody before him.
    async fn fresh_answers_take_every_value_along(pool) {
        users!(&pool);
        let name = || sqlx::query_scalar::<_, String>("SELECT name FROM users WHERE id = 1");
        let raise = async |to: &str| {
            sqlx::query(spell("UPDATE users SET name = $1")).bind(to.to_owned()).execute(pool.inner()).await.unwrap();
        };
        let fresh = pool.fresh();
        assert_eq!(*name().cached(&pool).fetch_one().await.unwrap(), "Ada");
        raise("one").await;
        assert_eq!(name().fetch_one(&fresh).await.unwrap(), "one");
        assert_eq!(*name().cached(&pool).fetch_one().await.unwrap(), "one", "found as a row");
        raise("two").await;
        assert_eq!(*name().cached(&fresh).fetch_all().await.unwrap(), ["two"]);
        assert_eq!(*name().cached(&pool).fetch_one().await.unwrap(), "two", "found as another value");
        assert_eq!(name().fetch_one(&pool).await.unwrap(), "two");
    }

    async fn what_was_decoded_slowly_replaces_nothing_newer(pool) {
        static SLOW: std::sync::Mutex<Option<std::sync::mpsc::Receiver<()>>> = std::sync::Mutex::new(None);
        fn decode(row: DbRow) -> String {
            // The first of all waits until it is told to go on.
            let wait = SLOW.lock().unwrap().take();
            if let Some(wait) = wait {
                wait.recv().unwrap();
            }
            row.get(0)
        }
        users!(&pool);
        let name = || sqlx::query("SELECT name FROM users WHERE id = 1").map(decode);
        let (go_on, wait) = std::sync::mpsc::channel();
        *SLOW.lock().unwrap() = Some(wait);
        let other = pool.clone();
        let slow = std::thread::spawn(move || {
            let query = async { name().cached(&other).fetch_one().await.unwrap() };
            // Its workers go on with the connections that it makes.
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(query)
        });
        while SLOW.lock().unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sqlx::query("UPDATE users SET name = 'Lovelace'").execute(pool.inner()).await.unwrap();
        assert_eq!(*name().cached(&pool.fresh()).fetch_one().await.unwrap(), "Lovelace");
        go_on.send(()).unwrap();
        assert_eq!(*slow.join().unwrap(), "Ada");
        assert_eq!(*name().cached(&pool).fetch_one().await.unwrap(), "Lovelace");
    }

    async fn a_value_ends_with_its_time(pool) {
        users!(&pool);
        let view = pool.with(Policy::ttl(Duration::from_millis(60)));
        let query = || sqlx::query_as::<_, User>(ALL);
        let value = query().cached(&view).fetch_all().await.unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
        let (again, hit) = was_hit(&pool, query().cached(&view).fetch_all()).await;
        assert!(!hit && !Arc::ptr_eq(&value, &again));
        // By other terms it is still good, whoever made it.
        tokio::time::sleep(Duration::from_millis(80)).await;
        let long = pool.with(Policy::ttl(Duration::from_secs(60)));
        let reread = query().cached(&long).fetch_all().await.unwrap();
        let (value, hit) = was_hit(&pool, query().cached(&long).fetch_all()).await;
        assert!(hit && Arc::ptr_eq(&value, &reread));
    }

    /// What cannot be decoded is an error each time, and what cannot be cached is asked for each time.
    async fn what_cannot_be_kept_is_not_shared(pool) {
        users!(&pool);
        for _ in 0..2 {
            let wrong = sqlx::query_as::<_, (String, String)>(ALL).cached(&pool).fetch_all().await;
            assert!(matches!(wrong, Err(sqlx::Error::ColumnDecode { .. })), "{wrong:?}");
        }
        let random = "SELECT id, name FROM users ORDER BY random() LIMIT 1";
        let (one, hit) = was_hit(&pool, sqlx::query_as::<_, User>(spell(random)).cached(&pool).fetch_one()).await;
        let (other, again) = was_hit(&pool, sqlx::query_as::<_, User>(spell(random)).cached(&pool).fetch_one()).await;
        assert!(!hit && !again && !Arc::ptr_eq(&one, &other));
        let missing = sqlx::query_as::<_, User>("SELECT id, name FROM nowhere").cached(&pool).fetch_all().await;
        assert!(matches!(missing, Err(sqlx::Error::Database(_))), "{missing:?}");
        pool.close().await;
        let closed = sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_all().await;
        assert!(matches!(closed, Err(sqlx::Error::PoolClosed)), "{closed:?}");
    }

    /// Many at once, on entries that come and go: each gets what it asked for.
    async fn many_ask_at_once(pool) {
        users!(&pool);
        let tasks: Vec<_> = (0..16_i64).map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for round in 0..60 {
                    let id = 1 + (task + round) % 3;
                    let query = sqlx::query_as::<_, User>(spell(ONE)).bind(id).cached(&pool);
                    let user = query.fetch_optional().await.unwrap();
                    assert_eq!(user.map(|user| user.id), (id < 3).then_some(id));
                    if round % 20 == task % 20 {
                        pool.invalidate(["users"]);
                    }
                }
            })
        }).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(pool.stats().hits > 50, "{}", pool.stats());
    }
}

/// sqlx changes the values of an SQLite row when it decodes them, and would do so on several threads at once.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn rows_of_sqlite_are_not_shared() {
    let pool = crate::support::sqlite().await;
    users!(&pool);
    let plain = || sqlx::query(ALL).cached(&pool).fetch_all();
    let mapped = || sqlx::query(ALL).map(|row| row).cached(&pool).fetch_all();
    assert!(!Arc::ptr_eq(&plain().await.unwrap(), &plain().await.unwrap()));
    assert!(!Arc::ptr_eq(&mapped().await.unwrap(), &mapped().await.unwrap()));
    assert_eq!((pool.stats().misses, pool.stats().hits), (1, 3));
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn rows_of_postgres_are_shared() {
    let pool = crate::support::postgres().await;
    users!(&pool);
    let rows = || sqlx::query(ALL).cached(&pool).fetch_all();
    assert!(Arc::ptr_eq(&rows().await.unwrap(), &rows().await.unwrap()));
}

/// Values count for the memory that results may take.
#[cfg(feature = "sqlite")]
#[tokio::test]
async fn values_take_room() {
    let pool = crate::support::sqlite().await;
    users!(&pool);
    sqlx::query_as::<_, User>(ALL).fetch_all(&pool).await.unwrap();
    let before = pool.stats();
    sqlx::query_as::<_, User>(ALL).cached(&pool).fetch_all().await.unwrap();
    let after = pool.stats();
    assert_eq!((before.entries, after.entries), (1, 1));
    assert!(after.bytes > before.bytes + 2 * size_of::<User>() as u64, "{after}");
}
