//! Nodes that share results and invalidations through Redis.

use std::time::{Duration, Instant};

use larder::{CachedPool, Reason, RedisOptions, Sessions, Tier};
use sqlx::AssertSqlSafe;

use crate::nodes::{Node, Setup};
use crate::servers::{Cluster, Postgres, Redis, Replicated};

const READ: &str = "SELECT n FROM t WHERE id = 1 AND $1 = 0::bigint";

/// A database with a table of ten numbers.
async fn database() -> String {
    let url = Postgres::shared().fresh();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    sqlx::raw_sql(
        "CREATE TABLE t (id INT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO t SELECT i, 0 FROM generate_series(1, 10) i;
         CREATE TABLE u (id INT PRIMARY KEY, n BIGINT NOT NULL); INSERT INTO u VALUES (1, 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    url
}

async fn read(pool: &larder::PgPool) -> i64 {
    sqlx::query_scalar(READ).bind(0_i64).fetch_one(pool).await.unwrap()
}

async fn write(pool: &larder::PgPool, n: i64) {
    sqlx::query("UPDATE t SET n = $1 WHERE id = 1").bind(n).execute(pool).await.unwrap();
}

/// Reads until results are kept: after a start, marks of writes may be missing for one lease.
async fn until_kept(pool: &larder::PgPool) {
    let begun = Instant::now();
    loop {
        let hits = pool.stats().hits;
        read(pool).await;
        if pool.stats().hits > hits {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn node_until_kept(node: &mut Node) {
    let begun = Instant::now();
    loop {
        let hits = node.stats()["hits"].as_u64();
        node.read(READ);
        if node.stats()["hits"].as_u64() > hits {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", node.stats());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The token of a node, which has none until Redis was told of all that it wrote.
async fn once_told<T>(mut token: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(token) = token() {
            return token;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "Redis is not told what was written");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_writes_another_sees_at_once() {
    let setup = Setup::new(&database().await, &Redis::shared().url());
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    for n in 1..50 {
        write(&here, n).await;
        assert_eq!(read(&here).await, n);
        // The push is faster than the poll, but promised is only the bound.
        let begun = Instant::now();
        while there.read(READ) != Some(n) {
            assert!(begun.elapsed() < Duration::from_secs(1), "stale for longer than the bound");
        }
        there.write(&format!("UPDATE t SET n = {n} * 1000 WHERE id = 1")).unwrap();
        let token = once_told(|| there.token()).await;
        here.at_least(token.parse().unwrap()).await;
        assert_eq!(read(&here).await, n * 1000, "the token was there");
        write(&here, n * 1000 + 1).await;
        there.at_least(&once_told(|| here.token()).await.to_string());
        assert_eq!(there.read(READ), Some(n * 1000 + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_loaded_once_for_all() {
    let setup = Setup::new(&database().await, &Redis::shared().url());
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    // Other arguments of a statement whose columns both have seen.
    let sql = |id: i64| format!("SELECT n FROM t WHERE id = {id} AND $1 = 0::bigint");
    let misses = |node: &mut Node| node.stats()["misses"].as_u64().unwrap();
    for id in 2..8 {
        let _: Option<i64> =
            sqlx::query_scalar(AssertSqlSafe(sql(id))).bind(0_i64).fetch_optional(&here).await.unwrap();
        there.read(&sql(id));
    }
    // Bound values differ where the text does not.
    let ids = "SELECT n FROM t WHERE id = $1";
    let by_id =
        async |id: i32| -> Option<i64> { sqlx::query_scalar(ids).bind(id).fetch_optional(&here).await.unwrap() };
    by_id(1).await;
    write(&here, 7).await;
    read(&here).await;
    let (before, begun) = (misses(&mut there), Instant::now());
    while there.hits_in_redis() == 0 {
        there.read(READ);
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", there.stats());
        write(&here, 7).await;
        read(&here).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(misses(&mut there) <= before + 3, "{}", there.stats());
    assert_eq!(there.read(READ), Some(7));
    assert!(here.stats().hits_by_tier.contains_key(&Tier::Memory));
    assert!(here.stats().waits.redis.times > 0, "{}", here.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_readers_see_all_that_was_written_before() {
    let setup = Setup::new(&database().await, &Redis::shared().url()).consistency("strict");
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    for n in 1..100 {
        write(&here, n).await;
        assert_eq!(there.read(READ), Some(n));
        assert_eq!(there.read(READ), Some(n));
    }
    assert!(there.stats()["hits"].as_u64() > Some(50), "{}", there.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_writers_are_refused_without_redis() {
    let mut redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url()).consistency("strict");
    let here = setup.pool().await;
    until_kept(&here).await;
    redis.kill();
    let error = sqlx::query("UPDATE t SET n = 5").execute(&here).await.unwrap_err();
    let rejected = larder::Rejected::of(&error).unwrap_or_else(|| panic!("{error}"));
    assert!(rejected.retry_after().is_some() && rejected.to_string().contains("Redis"), "{rejected}");
    let mut tx = here.begin().await.unwrap();
    sqlx::query("UPDATE t SET n = 6").execute(&mut *tx).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(larder::Rejected::of(&error).is_some(), "{error}");
    assert_eq!(read(&here).await, 0, "reads go to the database, and nothing was written");
    redis.restart();
    until_kept(&here).await;
    write(&here, 9).await;
    assert_eq!(read(&here).await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_queries_run_and_nothing_old_is_given_out() {
    let mut redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url());
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    redis.kill();
    write(&here, 1).await;
    assert_eq!(read(&here).await, 1, "a node sees its own writes");
    assert_eq!((here.token(), here.unpublished()), (None, 1), "a token would promise what nobody was told");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(there.read(READ), Some(1), "without word, nothing is given out from memory");
    there.write("UPDATE t SET n = 2 WHERE id = 1").unwrap();
    assert_eq!(there.read(READ), Some(2));
    assert_eq!(read(&here).await, 2);
    let asked = Instant::now();
    for _ in 0..50 {
        read(&here).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(5), "nobody waits for a Redis that is known to be away");
    write(&here, 2).await;
    redis.restart();
    there.at_least(&once_told(|| here.token()).await.to_string());
    assert_eq!(there.read(READ), Some(2));
    until_kept(&here).await;
    node_until_kept(&mut there);
    write(&here, 3).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(there.read(READ), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_holds_without_redis_whatever_the_consistency() {
    for consistency in ["1000", "strict", "ttl"] {
        let mut redis = Redis::start();
        let setup = Setup::new(&database().await, &redis.url()).consistency(consistency);
        let here = setup.pool().await;
        until_kept(&here).await;
        let token = once_told(|| here.token()).await.to_string();
        // Of a node that knows more than this one will ever hear.
        let (epoch, seq) = token.rsplit_once('-').unwrap();
        let ahead = format!("{epoch}-{}", seq.parse::<u64>().unwrap() + 1000);
        redis.kill();
        sqlx::query("UPDATE t SET n = 7 WHERE id = 1").execute(here.inner()).await.unwrap();
        here.at_least(ahead.parse().unwrap()).await;
        assert_eq!(read(&here).await, 7, "{consistency}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_a_process_that_contradict_each_other_are_told() {
    let setup = Setup::new(&database().await, &Redis::shared().url());
    let first = setup.pool().await;
    until_kept(&first).await;
    let builder = |options: RedisOptions| async {
        let pool = sqlx::PgPool::connect(&setup.database).await.unwrap();
        CachedPool::builder(pool, Sessions::Uniform).redis(options)
    };
    for (options, told) in [
        (setup.consistency("strict").redis, "the consistency"),
        (setup.redis.clone().namespace("other"), "the namespace"),
        (setup.redis.clone().secret("other"), "the secret"),
    ] {
        let error = builder(options.clone()).await.build().await.expect_err("not what the first one does").to_string();
        assert!(error.contains(told) && error.contains("give both the same"), "{error}");
        // Built without a look at the database, it finds out at its first question.
        let lazy = builder(options).await.build_lazy();
        for n in 0..3 {
            assert_eq!(read(&lazy).await, n);
            write(&lazy, n + 1).await;
            assert_eq!(read(&first).await, n + 1, "its writes are seen");
        }
        let stats = lazy.stats();
        assert_eq!((stats.hits, stats.misses, stats.stored), (0, 0, 0), "{stats}");
        assert!(stats.bypasses_by_reason.contains_key(&Reason::TierDown), "{stats}");
        write(&first, 0).await;
    }
    // How fast, and over how many connections, is nobody else's business.
    let other =
        builder(setup.redis.clone().timeout(Duration::from_secs(1)).connections(2)).await.build().await.unwrap();
    until_kept(&other).await;
    // When the first ones are gone, others may say how.
    first.close().await;
    other.close().await;
    drop((first, other));
    let begun = Instant::now();
    let strict = loop {
        match builder(setup.consistency("strict").redis).await.build().await {
            Ok(pool) => break pool,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    until_kept(&strict).await;
}

/// What was written past Larder.
async fn write_unseen(pool: &larder::PgPool, n: i64) {
    sqlx::query("UPDATE t SET n = $1 WHERE id = 1").bind(n).execute(pool.inner()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_by_hand_is_dropped_everywhere() {
    let setup = Setup::new(&database().await, &Redis::shared().url());
    let here = setup.pool().await;
    let mut there = setup.node();
    let tagged = here.with(larder::Policy::default().tag("home"));
    node_until_kept(&mut there);
    until_kept(&tagged).await;
    for n in 1..20 {
        write_unseen(&here, n).await;
        match n % 3 {
            0 => here.clear(),
            1 => here.invalidate(["t"]),
            _ => here.invalidate(["t", "u"]),
        }
        there.at_least(&once_told(|| here.token()).await.to_string());
        assert_eq!(there.read(READ), Some(n));
        node_until_kept(&mut there);
    }
    // By somebody who has nothing under that tag.
    until_kept(&tagged).await;
    write_unseen(&here, 100).await;
    assert_ne!(read(&tagged).await, 100);
    there.invalidate_tags("home");
    here.at_least(once_told(|| there.token()).await.parse().unwrap()).await;
    assert_eq!(read(&tagged).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn close_waits_until_others_know_what_was_dropped() {
    let setup = Setup::new(&database().await, &Redis::shared().url());
    let mut there = setup.node();
    node_until_kept(&mut there);
    let here = setup.pool().await;
    until_kept(&here).await;
    write_unseen(&here, 1).await;
    here.invalidate(["t"]);
    here.close().await;
    assert_eq!(here.unpublished(), 0);
    let begun = Instant::now();
    while there.read(READ) != Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(2), "stale for longer than the bound");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_without_redis_is_voided_by_what_is_heard_later() {
    let mut redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url()).consistency("ttl");
    let here = setup.pool().await;
    let begun = Instant::now();
    while here.stats().hits == 0 {
        let _: i64 = sqlx::query_scalar("SELECT n FROM u").fetch_one(&here).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", here.stats());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    redis.kill();
    // Redis was never asked about this table.
    until_kept(&here).await;
    redis.restart();
    let mut there = setup.node();
    there.write("UPDATE t SET n = 5 WHERE id = 1").unwrap();
    here.at_least(once_told(|| there.token()).await.parse().unwrap()).await;
    assert_eq!(read(&here).await, 5);
}

/// As long as it may not look at the catalog, it knows neither what it writes nor who else does.
#[tokio::test(flavor = "multi_thread")]
async fn who_knows_nothing_of_the_database_tells_all_when_he_does() {
    let url = database().await;
    let admin = sqlx::PgPool::connect(&url).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&admin).await.unwrap();
    let role = format!("app_{name}");
    let grants = format!("CREATE ROLE {role} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}");
    sqlx::raw_sql(AssertSqlSafe(format!("{grants}; REVOKE SELECT ON pg_proc FROM PUBLIC")))
        .execute(&admin)
        .await
        .unwrap();
    let setup = Setup::new(&url, &Redis::shared().url());
    let mut there = setup.node();
    node_until_kept(&mut there);
    let app = url.parse::<sqlx::postgres::PgConnectOptions>().unwrap().username(&role);
    let pool = async |setup: &Setup| {
        let plain = sqlx::PgPool::connect_with(app.clone()).await.unwrap();
        let builder = larder::CachedPool::builder(plain, larder::Sessions::Uniform).redis(setup.redis.clone());
        builder.build().await.unwrap()
    };
    let strict = pool(&setup.consistency("strict")).await;
    let refused = sqlx::query("UPDATE t SET n = 1").execute(&strict).await.unwrap_err();
    assert_eq!(larder::Rejected::of(&refused).map(larder::Rejected::by), Some(larder::Guard::Consistency), "{refused}");
    drop(strict);
    let here = pool(&setup).await;
    write(&here, 2).await;
    assert_eq!(here.token(), None);
    sqlx::raw_sql("GRANT SELECT ON pg_proc TO PUBLIC").execute(&admin).await.unwrap();
    here.reload().await.unwrap();
    there.at_least(&once_told(|| here.token()).await.to_string());
    assert_eq!(there.read(READ), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flushed_or_paused_redis_loses_nothing() {
    let mut redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url());
    let here = setup.pool().await;
    let mut there = setup.node();
    for n in 1..6 {
        until_kept(&here).await;
        node_until_kept(&mut there);
        match n % 2 {
            0 => {
                redis.cli(&["FLUSHALL"]);
                write(&here, n).await;
            }
            _ => {
                redis.pause();
                write(&here, n).await;
                assert_eq!(read(&here).await, n);
                redis.resume();
            }
        }
        tokio::time::sleep(Duration::from_millis(1_600)).await;
        assert_eq!(there.read(READ), Some(n));
        assert_eq!(read(&here).await, n);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_dies_after_its_commit_is_found_out() {
    let setup = Setup::new(&database().await, &Redis::shared().url()).lease(Duration::from_secs(2));
    let here = setup.pool().await;
    until_kept(&here).await;
    for n in 1..3_i64 {
        let there = setup.node();
        there.write_and_die(&format!("UPDATE t SET n = {n}"));
        // No longer than the lease and the bound; mostly the table is in flight meanwhile and is asked for.
        let begun = Instant::now();
        while read(&here).await != n {
            assert!(begun.elapsed() < Duration::from_secs(4));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        until_kept(&here).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_entry_of_ours_is_a_miss() {
    let redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url());
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    // Names are bytes, which a client on a command line cannot spell: a script reaches them all.
    let spoil = |by: &str| {
        let script = format!(
            "for _, key in ipairs(redis.call('KEYS', 'larder:e:*')) do
               local entry = redis.call('GET', key); redis.call('SET', key, {by}) end"
        );
        redis.cli(&["EVAL", &script, "0"]);
    };
    let ways = [
        "''",
        "'x'",
        "string.sub(entry, 1, -2)",
        "string.sub(entry, 1, 40)",
        "entry .. 'x'",
        "'LRD' .. string.char(9) .. string.sub(entry, 5)",
        "string.rep('y', 3000000)",
    ];
    for (at, by) in ways.into_iter().enumerate() {
        let n = at as i64 + 1;
        write(&here, n).await;
        read(&here).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        spoil(by);
        let begun = Instant::now();
        while there.read(READ) != Some(n) {
            assert!(begun.elapsed() < Duration::from_secs(1));
        }
    }
    assert!(there.stats()["misses_by_reason"]["unreadable"].as_u64() > Some(0), "{}", there.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_what_was_signed_with_another_secret() {
    let redis = Redis::start();
    let setup = Setup::new(&database().await, &redis.url());
    let here = setup.secret("one").pool().await;
    let mut there = setup.secret("other").node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    for n in 1..5 {
        write(&here, n).await;
        read(&here).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        while there.read(READ) != Some(n) {
            assert!(begun.elapsed() < Duration::from_secs(1));
        }
    }
    assert_eq!(there.hits_in_redis(), 0);
    assert!(there.stats()["misses_by_reason"]["unreadable"].as_u64() > Some(0), "{}", there.stats());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_lead_to_the_primary_of_the_day() {
    let mut servers = Replicated::start();
    let setup = Setup::of(&database().await, Replicated::MASTER, &servers.urls(), "1000");
    let here = setup.pool().await;
    let mut there = setup.node();
    until_kept(&here).await;
    node_until_kept(&mut there);
    write(&here, 1).await;
    tokio::task::block_in_place(|| servers.fail_over());
    write(&here, 2).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!((read(&here).await, there.read(READ)), (2, Some(2)));
    // Nobody has to do anything for results to be shared again.
    until_kept(&here).await;
    node_until_kept(&mut there);
    write(&here, 3).await;
    there.at_least(&once_told(|| here.token()).await.to_string());
    assert_eq!(there.read(READ), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_as_one_server_does() {
    let mut cluster = tokio::task::block_in_place(Cluster::start);
    let setup = Setup::of(&database().await, "cluster", &cluster.urls(), "1000");
    let here = setup.pool().await;
    let mut there = setup.node();
    for round in 0..4_usize {
        until_kept(&here).await;
        node_until_kept(&mut there);
        for n in 1..10 {
            let n = n + 100 * round as i64;
            write(&here, n).await;
            there.at_least(&once_told(|| here.token()).await.to_string());
            assert_eq!((read(&here).await, there.read(READ)), (n, Some(n)));
        }
        // One of them has the versions.
        if round < 3 {
            cluster.servers[round].kill();
            write(&here, -1).await;
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            assert_eq!((read(&here).await, there.read(READ)), (-1, Some(-1)));
            if round < 2 {
                cluster.servers[round].restart();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_certificates_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate, authority) = (file("key.pem"), file("certificate.pem"), file("authority.pem"));
    let openssl = |arguments: &str| {
        let made = std::process::Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&folder)
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout authority.key -out authority.pem");
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem");
    std::fs::write(file("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
    openssl(
        "x509 -req -in request.pem -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names -out certificate.pem",
    );
    let tls_port = crate::servers::free_port().to_string();
    let redis = Redis::start_with(&[
        "--requirepass",
        "a password",
        "--tls-port",
        &tls_port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &authority,
        "--tls-auth-clients",
        "no",
    ]);
    let database = database().await;
    let keeps = async |options: larder::RedisOptions| {
        let pool = sqlx::PgPool::connect(&database).await.unwrap();
        let options = options.lease(Duration::from_millis(300)).timeout(Duration::from_millis(500));
        let builder = larder::CachedPool::builder(pool, larder::Sessions::Uniform).redis(options);
        let pool = builder.build().await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) && pool.stats().hits == 0 {
            read(&pool).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let kept = pool.stats().hits > 0;
        pool.close().await;
        drop(pool);
        // What is shared ends with the last pool on the database.
        tokio::time::sleep(Duration::from_millis(300)).await;
        kept
    };
    let url = |scheme: &str, password: &str, port: &str| format!("{scheme}://:{password}@127.0.0.1:{port}/");
    let plain_port = redis.port().to_string();
    let ca = std::fs::read(&authority).unwrap();
    assert!(!keeps(url("redis", "wrong", &plain_port).into()).await, "with a wrong password");
    assert!(keeps(url("redis", "a%20password", &plain_port).into()).await, "with the password");
    let tls = || larder::RedisOptions::new(url("rediss", "a%20password", &tls_port));
    assert!(!keeps(tls()).await, "a certificate that nobody knows");
    assert!(keeps(tls().certificate_authority(ca)).await, "with TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_at_once() {
    let pool = sqlx::PgPool::connect(&database().await).await.unwrap();
    for url in ["", "postgres://localhost", "redis://[", "rediss://"] {
        let builder = larder::CachedPool::builder(pool.clone(), larder::Sessions::Uniform).redis(url);
        let error = builder.build().await.unwrap_err();
        assert!(matches!(error, sqlx::Error::Configuration(_)), "{url}: {error}");
    }
}

/// A user who may do no more than docs/redis.md says.
#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_are_documented_are_enough() {
    let page = include_str!("../../docs/redis.md");
    let rights = page.split("User rights: `").nth(1).and_then(|rest| rest.split('`').next()).expect("the rights");
    let keys = page.split("`, on `").nth(1).and_then(|rest| rest.split('`').next()).expect("the keys");
    let redis = Redis::start();
    let rights: Vec<&str> = rights.split_whitespace().collect();
    let keys = [format!("~{keys}"), format!("&{keys}")];
    let user = ["ACL", "SETUSER", "app", "on", ">secret", "resetkeys", &keys[0], &keys[1], "-@all"];
    assert_eq!(redis.cli(&[&user[..], &rights].concat()).trim(), "OK");
    let pool = sqlx::PgPool::connect(&database().await).await.unwrap();
    let url = format!("redis://app:secret@127.0.0.1:{}/", redis.port());
    // Without room in memory, what is found is found in Redis.
    let options = larder::RedisOptions::new(url).lease(Duration::from_millis(300));
    let builder = larder::CachedPool::builder(pool, larder::Sessions::Uniform).redis(options).max_bytes(1);
    let pool = builder.build().await.unwrap();
    for n in 1..5 {
        write(&pool, n).await;
        until_kept(&pool).await;
        assert_eq!(read(&pool).await, n);
    }
    assert!(pool.stats().hits_by_tier[&Tier::Redis] >= 4, "{}", pool.stats());
    let denied = redis.cli(&["INFO", "errorstats"]);
    assert!(!denied.contains("NOPERM"), "{denied}");
}

/// Rows of MySQL come back out of Redis as those of PostgreSQL do.
#[cfg(feature = "mysql")]
#[test]
fn mysql_shares_through_redis() {
    crate::support::alone(async {
        let other = sqlx::MySqlPool::connect(&crate::servers::MariaDb::shared().fresh()).await.unwrap();
        sqlx::raw_sql("CREATE TABLE t (id INT PRIMARY KEY, n BIGINT, name TEXT, price DECIMAL(10, 2)); INSERT INTO t VALUES (1, 0, 'é', 1.50)")
            .execute(&other)
            .await
            .unwrap();
        let redis = Redis::shared().url();
        let options = || larder::RedisOptions::new(redis.clone()).lease(Duration::from_millis(300));
        let builder = larder::CachedPool::builder(other.clone(), larder::Sessions::Uniform).sole_writer();
        let pool = builder.redis(options()).max_bytes(1).build().await.unwrap();
        let read = "SELECT n, name, CAST(price AS CHAR) AS price FROM t WHERE id = ?";
        let row = async || sqlx::query_as::<_, (i64, String, String)>(read).bind(1).fetch_one(&pool).await.unwrap();
        let in_redis = || pool.stats().hits_by_tier.get(&Tier::Redis).copied().unwrap_or_default();
        for n in 1..5 {
            sqlx::query("UPDATE t SET n = ? WHERE id = 1").bind(n).execute(&pool).await.unwrap();
            let (before, begun) = (in_redis(), Instant::now());
            while in_redis() < before + 3 {
                assert_eq!(row().await, (n, "é".into(), "1.50".into()));
                assert!(begun.elapsed() < Duration::from_secs(20), "{}", pool.stats());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
}
