//! Pool, connections and transactions, lent in every way that sqlx knows.

use futures::TryStreamExt;
use larder::Reason;
use sqlx::{Executor, QueryBuilder};

use super::{RAISE, SETUP};

on_each! {
    /// Queries, builders, streams and plain text: nothing changes but the import of the pool.
    async fn every_kind_of_query(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        let mut builder = QueryBuilder::new("INSERT INTO a (id, n) ");
        builder.push_values([(2_i64, 2_i64), (3, 3)], |mut row, (id, n)| {
            row.push_bind(id).push_bind(n);
        });
        builder.build().execute(&pool).await.unwrap();
        assert_eq!(read!(pool, "a"), (0, false));
        assert_eq!(read!(pool, "b"), (0, true));
        let ask = || sqlx::query_as::<_, (i64, i64)>("SELECT id, n FROM a ORDER BY id").fetch(&pool);
        for hit in [false, true] {
            let before = pool.stats().hits;
            let rows: Vec<_> = ask().try_collect().await.unwrap();
            assert_eq!(rows, [(1, 0), (2, 2), (3, 3)]);
            assert_eq!(pool.stats().hits > before, hit);
        }
        // Several statements at once: nothing is kept of them, and all is dropped, since they may do anything.
        sqlx::raw_sql("UPDATE a SET n = 7 WHERE id = 1; UPDATE b SET n = 8").execute(&pool).await.unwrap();
        assert_eq!((read!(pool, "a"), read!(pool, "b")), ((7, false), (8, false)));
    }

    /// A function for anything that runs queries.
    async fn generic_over_executors(pool) {
        async fn raise<'e>(executor: impl Executor<'e, Database = Db>) {
            executor.execute(RAISE).await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        raise(&pool).await;
        assert_eq!(read!(pool, "a"), (1, false));
        let mut connection = pool.acquire().await.unwrap();
        keep!(pool, "a");
        raise(&mut *connection).await;
        assert_eq!(read!(pool, "a"), (2, false));
        drop(connection);
        let mut tx = pool.begin().await.unwrap();
        keep!(pool, "a");
        raise(&mut *tx).await;
        assert_eq!(read!(pool, "a"), (2, true));
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "a"), (3, false));
        assert_eq!(read!(pool, "b"), (0, true), "nothing else was dropped");
    }

    /// A function that takes a transaction: of Larder, by changing the import.
    async fn functions_that_take_a_transaction(pool) {
        async fn raise(tx: &mut larder::Transaction<'_, Db>) {
            sqlx::query(RAISE).execute(&mut **tx).await.unwrap();
        }
        async fn raise_and_commit(mut tx: larder::Transaction<'_, Db>) {
            raise(&mut tx).await;
            let mut savepoint = tx.begin().await.unwrap();
            raise(&mut savepoint).await;
            savepoint.rollback().await.unwrap();
            tx.commit().await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        raise_and_commit(pool.begin().await.unwrap()).await;
        assert_eq!(read!(pool, "a"), (1, false));
        assert_eq!(read!(pool, "b"), (0, true));
    }

    /// A function that takes a transaction of sqlx's, whose import cannot be changed: it gets one that begins and ends on a
    /// raw connection, so that everything is dropped and nothing kept until that is given back.
    async fn functions_that_take_sqlx_s_transaction(pool) {
        async fn raise(mut tx: sqlx::Transaction<'_, Db>) {
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        let mut connection = pool.acquire().await.unwrap();
        raise(sqlx::Connection::begin(&mut **connection).await.unwrap()).await;
        assert_eq!(read!(pool, "a"), (1, false));
        assert_eq!(read!(pool, "b"), (0, false));
        assert_eq!(read!(pool, "b"), (0, false), "nothing is kept while the connection is out");
        drop(connection);
        keep!(pool, "a");
    }

    /// A function that takes whatever connections can be got from.
    async fn functions_that_acquire(pool) {
        // A helper of MySQL's may commit without a word.
        const COMMITS_UNSEEN: bool = matches!(<Db as sqlx::Database>::NAME.as_bytes(), b"MySQL");
        async fn raise<'a>(source: impl sqlx::Acquire<'a, Database = Db>) {
            let mut tx = source.begin().await.unwrap();
            sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        raise(&mut **pool.acquire().await.unwrap()).await;
        assert_eq!(read!(pool, "a"), (1, false));
        keep!(pool, "a");
        let mut tx = pool.begin().await.unwrap();
        raise(&mut **tx).await;
        assert_eq!(read!(pool, "a"), (1, !COMMITS_UNSEEN), "a savepoint within the transaction");
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "a"), (2, false));
        // Over the pool below, nothing is seen.
        keep!(pool, "a");
        raise(pool.inner()).await;
        pool.invalidate(["a"]);
        assert_eq!(read!(pool, "a"), (3, false));
    }

    /// A function that takes sqlx's connection.
    async fn functions_that_take_a_connection(pool) {
        // A helper of MySQL's may commit without a word.
        const COMMITS_UNSEEN: bool = matches!(<Db as sqlx::Database>::NAME.as_bytes(), b"MySQL");
        type Raw = <Db as sqlx::Database>::Connection;
        async fn raise(connection: &mut Raw) {
            sqlx::query(RAISE).execute(connection).await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        let mut connection = pool.acquire().await.unwrap();
        raise(&mut connection).await;
        assert_eq!((read!(pool, "a"), read!(pool, "b")), ((1, false), (0, false)));
        assert!(!read!(pool, "b").1, "nothing is kept while the connection is out");
        drop(connection);
        keep!(pool, "b");
        let mut tx = pool.begin().await.unwrap();
        raise(&mut tx).await;
        assert_eq!(read!(pool, "b"), (0, !COMMITS_UNSEEN), "before the commit, nobody else can see it");
        tx.commit().await.unwrap();
        assert_eq!(read!(pool, "a"), (2, false));
    }

    /// The same with one changed import: the connection is Larder's, and watched.
    async fn functions_that_take_a_watched_connection(pool) {
        async fn raise(connection: &mut Watched) {
            sqlx::query(RAISE).execute(connection).await.unwrap();
        }
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        keep!(pool, "b");
        let mut connection = pool.acquire().await.unwrap();
        raise(&mut connection).await;
        assert_eq!((read!(pool, "a"), read!(pool, "b")), ((1, false), (0, true)));
        keep!(pool, "a");
        drop(connection);
        let mut tx = pool.begin().await.unwrap();
        raise(&mut tx).await;
        assert_eq!(read!(pool, "a"), (1, true));
        tx.commit().await.unwrap();
        assert_eq!((read!(pool, "a"), read!(pool, "b")), ((2, false), (0, true)));
    }

    /// Settings that a statement through the pool changes are those of one of its connections, whichever it was.
    async fn settings_through_the_pool(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        pool.execute(crate::day_one::differ::<Db>()).await.unwrap();
        let bypasses = |pool: &Pool| pool.stats().bypasses_by_reason.get(&Reason::SessionChanged).copied();
        read!(pool, "a");
        assert_eq!(bypasses(&pool), Some(1), "{}", pool.stats());
    }

    async fn a_closed_pool_gives_out_nothing(pool) {
        sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
        keep!(pool, "a");
        assert!(pool.options().get_max_connections() > 0);
        pool.close().await;
        let closed = sqlx::query("SELECT n FROM a").fetch_all(&pool).await.unwrap_err();
        assert!(matches!(closed, sqlx::Error::PoolClosed), "{closed}");
        assert_eq!(pool.stats().entries, 0);
    }
}

/// A query in a file of its own, checked when the program is built.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn queries_in_files() {
    let pool = crate::support::postgres().await;
    sqlx::raw_sql("CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT NOT NULL, city TEXT); INSERT INTO customers VALUES (1, 'Ada', NULL)")
        .execute(&pool)
        .await
        .unwrap();
    for hit in [false, true] {
        let read = sqlx::query_file!("tests/it/day_one/name.sql", 1).fetch_one(&pool);
        let (row, was) = crate::support::was_hit(&pool, read).await;
        assert_eq!((row.name.as_str(), was), ("Ada", hit));
    }
}

/// `use larder::..` in the place of `use sqlx::..` gives the names that applications import.
#[cfg(all(feature = "postgres", feature = "sqlite"))]
#[test]
fn one_changed_import() {
    mod postgres {
        use larder::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow, PgTransaction};
        use larder::{Pool, Transaction};
        use sqlx::{Postgres, Row};

        pub struct State {
            pub pool: PgPool,
        }

        pub fn start(options: PgConnectOptions) -> State {
            let pool: Pool<Postgres> = PgPoolOptions::new().max_connections(3).connect_lazy_with(options);
            State { pool }
        }

        pub fn first(row: &PgRow) -> i64 {
            row.get(0)
        }

        pub async fn within(tx: &mut Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
            sqlx::query("SELECT 1").execute(&mut **tx).await.map(drop)
        }

        pub async fn on(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
            sqlx::query("SELECT 1").execute(&mut *connection).await?;
            sqlx::query("SELECT 1").execute(connection).await.map(drop)
        }

        pub async fn all(state: &State) -> Result<(), sqlx::Error> {
            let mut tx: PgTransaction<'static> = state.pool.begin().await?;
            within(&mut tx).await?;
            on(&mut tx).await?;
            let row = sqlx::query("SELECT 1::bigint").fetch_one(&mut *tx).await?;
            assert_eq!(first(&row), 1);
            tx.commit().await
        }
    }
    mod sqlite {
        use larder::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

        pub fn start() -> SqlitePool {
            let options = SqliteConnectOptions::new().filename(crate::support::file()).create_if_missing(true);
            SqlitePoolOptions::new().connect_lazy_with(options.journal_mode(SqliteJournalMode::Wal))
        }
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let state = postgres::start(crate::servers::postgres().parse().unwrap());
        postgres::all(&state).await.unwrap();
        assert_eq!(state.pool.options().get_max_connections(), 3);
        sqlx::query("CREATE TABLE t (id INTEGER)").execute(&sqlite::start()).await.unwrap();
    });
}
