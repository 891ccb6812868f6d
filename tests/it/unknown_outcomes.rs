//! A connection is lost under a running write. Until the server is known to be done with it, reads are right and nothing is
//! kept; afterwards caching resumes by itself.

use std::time::{Duration, Instant};

use larder::{CachedPool, PgPool, Sessions};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::servers::Postgres;
use crate::support::was_hit;

const N: &str = "SELECT n FROM t WHERE id = 1";
const RAISE: &str = "UPDATE t SET n = n + 1 WHERE id = 1";

async fn pool(url: &str) -> PgPool {
    let pool = sqlx::PgPool::connect(url).await.unwrap();
    let pool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO t VALUES (1, 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool
}

async fn n(pool: &PgPool) -> i64 {
    sqlx::query_scalar(N).fetch_one(pool).await.unwrap()
}

/// Compares with the database until the answer comes from memory.
async fn right_until_kept(pool: &PgPool, patience: Duration) -> i64 {
    let deadline = Instant::now() + patience;
    loop {
        let before: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
        let (n, hit) = was_hit(pool, sqlx::query_scalar::<_, i64>(N).fetch_one(pool)).await;
        let after: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
        assert!(before <= n && n <= after, "{n} is not from {before} to {after}");
        if hit {
            return n;
        }
        assert!(Instant::now() < deadline, "nothing is kept any more: {}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begins a write that waits for a lock which `holder` has, and returns once it waits.
async fn begin_write(pool: &PgPool, watch: &sqlx::PgPool) -> tokio::task::JoinHandle<Result<(), sqlx::Error>> {
    let writer = pool.clone();
    let write = tokio::spawn(async move { sqlx::query(RAISE).execute(&writer).await.map(drop) });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(watch).await.unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    write
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_by_somebody_else() {
    let url = Postgres::shared().fresh();
    let pool = pool(&url).await;
    let bystander = sqlx::PgPool::connect(&url).await.unwrap();
    assert_eq!(right_until_kept(&pool, Duration::from_secs(5)).await, 0);
    let mut holder = bystander.begin().await.unwrap();
    sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
    let write = begin_write(&pool, &bystander).await;
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
        .execute(&bystander)
        .await
        .unwrap();
    write.await.unwrap().unwrap_err();
    assert_eq!(n(&pool).await, 0);
    holder.rollback().await.unwrap();
    assert_eq!(right_until_kept(&pool, Duration::from_secs(15)).await, 0);
}

/// A proxy between pool and server. Cutting ends every connection to the pool, while the server goes on with what it got.
/// Silencing leaves them open, and nothing gets through in either direction any more.
pub struct Proxy {
    pub port: u16,
    cut: watch::Sender<u32>,
    silence: watch::Sender<u32>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((cut, cuts), (silence, silences)) = (watch::channel(0), watch::channel(0));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut cuts, mut silences) = (cuts.clone(), silences.clone());
                cuts.mark_unchanged();
                silences.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cuts.changed() => {
                            drop(client);
                            // What the server may notice of this is left open, as behind a firewall that forgot.
                            tokio::time::sleep(Duration::from_secs(60)).await;
                        }
                        _ = silences.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, cut, silence }
    }

    pub fn silence(&self) {
        self.silence.send_modify(|n| *n += 1);
    }

    pub fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }
}

/// Interleaving: the statement is at the server, waiting for a row. The connection is cut, the caller gets an error. Reads
/// find the old value, which must not be kept. The row is set free, the server commits the write that nobody waits for.
async fn cut_off(role: Option<&str>) {
    let server = Postgres::shared();
    let database = server.create_database();
    let bystander = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    if let Some(role) = role {
        let create = format!("CREATE ROLE {role} LOGIN; GRANT ALL ON SCHEMA public TO {role}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&bystander).await.unwrap();
    }
    let proxy = Proxy::start(server.port()).await;
    let user = role.unwrap_or("postgres");
    let url = format!("postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable", proxy.port);
    let pool = pool(&url).await;
    assert_eq!(right_until_kept(&pool, Duration::from_secs(5)).await, 0);

    let mut holder = bystander.begin().await.unwrap();
    sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
    let write = begin_write(&pool, &bystander).await;
    proxy.cut();
    let error = write.await.unwrap().unwrap_err();
    assert!(matches!(error, sqlx::Error::Io(_)), "{error}");
    let hits = pool.stats().hits;
    let begun = Instant::now();
    // Longer than the pool waits before it asks for the first time.
    while begun.elapsed() < Duration::from_millis(3500) {
        assert_eq!(n(&pool).await, 0);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(pool.stats().hits, hits, "kept while the outcome is unknown: {}", pool.stats());
    holder.rollback().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while n(&pool).await == 0 {
        assert!(Instant::now() < deadline, "the server was meant to go on with the write");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(right_until_kept(&pool, Duration::from_secs(15)).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_while_the_server_goes_on() {
    cut_off(None).await;
}

/// Of the sessions of others, such as the superuser's that are connected all the time, it is told next to nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_as_an_ordinary_role() {
    cut_off(Some("larder_ordinary")).await;
}

/// The same for a COMMIT whose answer is lost, and for a connection that was taken from the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_in_a_transaction_and_on_a_connection() {
    let server = Postgres::shared();
    let database = server.create_database();
    let proxy = Proxy::start(server.port()).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", proxy.port);
    let pool = pool(&url).await;
    for round in 0..12 {
        let wait = Duration::from_micros(200 * round);
        let cut = async {
            tokio::time::sleep(wait).await;
            proxy.cut();
        };
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(RAISE).execute(&mut *tx).await.unwrap();
        let _ = tokio::join!(tx.commit(), cut);
        let mut connection = pool.acquire().await.unwrap();
        let cut = async {
            tokio::time::sleep(wait).await;
            proxy.cut();
        };
        let _ = tokio::join!(sqlx::query(RAISE).execute(&mut *connection), cut);
        drop(connection);
        for _ in 0..5 {
            let before: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
            let found = n(&pool).await;
            let after: i64 = sqlx::query_scalar(N).fetch_one(pool.inner()).await.unwrap();
            assert!(before <= found && found <= after, "{found} is not from {before} to {after}");
        }
    }
    right_until_kept(&pool, Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_paused_servers() {
    let mut server = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let database = server.create_database();
    // What was committed has to survive the kill.
    server.psql(&database, &format!("ALTER DATABASE {database} SET synchronous_commit TO on"));
    let pool = pool(&server.url(&database)).await;
    let bystander = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    assert_eq!(right_until_kept(&pool, Duration::from_secs(5)).await, 0);

    let mut holder = bystander.begin().await.unwrap();
    sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
    let write = begin_write(&pool, &bystander).await;
    server = tokio::task::spawn_blocking(move || {
        server.kill();
        server.restart();
        server
    })
    .await
    .unwrap();
    write.await.unwrap().unwrap_err();
    drop(holder);
    drop(bystander);
    assert_eq!(right_until_kept(&pool, Duration::from_secs(20)).await, 0);

    // Paused under a write whose caller gives up; resumed, it goes on.
    let bystander = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    let mut holder = bystander.begin().await.unwrap();
    sqlx::query("SELECT n FROM t FOR UPDATE").execute(&mut *holder).await.unwrap();
    let write = begin_write(&pool, &bystander).await;
    server.pause();
    write.abort();
    // What rests on the table is void at once: a read waits for the server instead of being answered from memory.
    let read = tokio::time::timeout(Duration::from_millis(100), sqlx::query(N).fetch_one(&pool)).await;
    assert!(read.is_err(), "answered while a write is under way: {read:?}");
    server.resume();
    holder.rollback().await.unwrap();
    assert_eq!(right_until_kept(&pool, Duration::from_secs(20)).await, 1);
}
