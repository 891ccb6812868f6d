//! Connections and servers that are lost: under a write, whose outcome is then unknown, and under reads that an old answer
//! may serve.

use larder::{CachedPool, Policy, Sessions};
use sqlx::mysql::MySqlPoolOptions;

use super::*;
use crate::unknown_outcomes::Proxy;

const T: &str = "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL); INSERT INTO t VALUES (1, 0)";
const N: &str = "SELECT n FROM t";
const RAISE: &str = "UPDATE t SET n = n + 1";

async fn n(pool: &sqlx::MySqlPool) -> i32 {
    sqlx::query_scalar(N).fetch_one(pool).await.unwrap()
}

/// Compares with the database until the answer comes from memory.
async fn right_until_kept(pool: &MySqlPool) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let before = n(pool.inner()).await;
        let (found, hit) = was_hit(pool, sqlx::query_scalar::<_, i32>(N).fetch_one(pool)).await;
        let after = n(pool.inner()).await;
        assert!(before <= found && found <= after, "{found} is not from {before} to {after}");
        if hit {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing is kept any more: {}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins a write that waits for a row that somebody holds; tells by which session once it waits.
async fn begin_write(
    pool: &MySqlPool,
    watch: &sqlx::MySqlPool,
) -> (tokio::task::JoinHandle<Result<(), sqlx::Error>>, u64) {
    let writer = pool.clone();
    let write = tokio::spawn(async move { sqlx::query(RAISE).execute(&writer).await.map(drop) });
    let waits = "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX WHERE trx_state = 'LOCK WAIT'";
    loop {
        if let Some(session) = sqlx::query_scalar::<_, u64>(waits).fetch_optional(watch).await.unwrap() {
            return (write, session);
        }
        // What that table shows is a tenth of a second old.
        tokio::time::sleep(Duration::from_millis(110)).await;
    }
}

#[test]
fn a_session_killed_under_its_write() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, T);
        let pool = mysql_of(&server.url(&database)).await;
        let bystander = sqlx::MySqlPool::connect(&server.url(&database)).await.unwrap();
        assert_eq!(right_until_kept(&pool).await, 0);
        let mut holder = bystander.begin().await.unwrap();
        sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
        let (write, session) = begin_write(&pool, &bystander).await;
        sqlx::raw_sql(AssertSqlSafe(format!("KILL {session}"))).execute(&bystander).await.unwrap();
        write.await.unwrap().unwrap_err();
        assert_eq!(n(pool.inner()).await, 0);
        right(&pool, N, "killed").await;
        holder.rollback().await.unwrap();
        assert_eq!(right_until_kept(&pool).await, 0);
    });
}

/// Interleaving: the statement is at the server, waiting for a row. The connection is cut, the caller gets an error. Reads
/// find the old value, which must not be kept. The row is set free, the server commits the write that nobody waits for.
#[test]
fn cut_off_while_the_server_goes_on() {
    alone(async {
        let server = MariaDb::shared();
        let database = server.create_database();
        server.mysql(&database, T);
        let user = format!("plain_{database}");
        server.mysql(&database, &format!("CREATE USER {user}; GRANT ALL ON {database}.* TO {user}"));
        let proxy = Proxy::start(server.port()).await;
        let url = server.url_of(&user, &database).replace(&server.port().to_string(), &proxy.port.to_string());
        let pool = mysql_of(&url).await;
        let bystander = sqlx::MySqlPool::connect(&server.url(&database)).await.unwrap();
        assert_eq!(right_until_kept(&pool).await, 0);
        let mut holder = bystander.begin().await.unwrap();
        sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
        let (write, _) = begin_write(&pool, &bystander).await;
        proxy.cut();
        let error = write.await.unwrap().unwrap_err();
        assert!(matches!(error, sqlx::Error::Io(_)), "{error}");
        let (hits, begun) = (pool.stats().hits, Instant::now());
        // Longer than the pool waits before it asks for the first time.
        while begun.elapsed() < Duration::from_millis(3500) {
            right(&pool, N, "cut off").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(pool.stats().hits, hits, "kept while the outcome is unknown: {}", pool.stats());
        holder.rollback().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while sqlx::query_scalar::<_, i32>(N).fetch_one(&pool).await.unwrap() == 0 {
            assert!(Instant::now() < deadline, "the server was meant to go on with the write");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(right_until_kept(&pool).await, 1);
    });
}

#[test]
fn an_old_answer_is_better_than_none_for_those_who_say_so() {
    alone(async {
        let mut server = MariaDb::start();
        let database = server.create_database();
        server.mysql(&database, T);
        let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_secs(1));
        let pool = pool.connect(&server.url(&database)).await.unwrap();
        let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
        let ms = Duration::from_millis;
        let stale = pool.with(Policy::ttl(ms(50)).stale_if_error(ms(600_000)));
        let strict = pool.with(Policy::ttl(ms(50)));
        let ask = || sqlx::query_scalar::<_, i32>(N);
        assert_eq!(ask().fetch_one(&stale).await.unwrap(), 0);
        tokio::time::sleep(ms(60)).await;
        server.stop();
        assert_eq!(ask().fetch_one(&stale).await.unwrap(), 0);
        assert_eq!(ask().fetch_all(&stale).await.unwrap(), [0]);
        assert_eq!(pool.stats().stale, 2, "{}", pool.stats());
        assert!(ask().fetch_one(&strict).await.is_err(), "who did not ask for it gets the error");
        assert!(sqlx::query(RAISE).execute(&pool).await.is_err());
        server.restart();
        server.mysql(&database, "UPDATE t SET n = 7");
        let begun = Instant::now();
        while ask().fetch_one(&stale).await.unwrap() != 7 {
            assert!(begun.elapsed() < ms(20_000), "it does not come back");
            tokio::time::sleep(ms(20)).await;
        }
        // A server that dies under a write.
        keep(&pool, N).await;
        server.kill();
        assert!(sqlx::query(RAISE).execute(&pool).await.is_err());
        server.restart();
        assert_eq!(right_until_kept(&pool).await, 7);
    });
}
