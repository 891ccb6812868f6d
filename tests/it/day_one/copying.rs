//! COPY in and out: a write of its table, and a read that is passed through.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use larder::PgPool;

use super::SETUP;
use crate::support::postgres;

const IN: &str = "COPY a (id, n) FROM STDIN (FORMAT csv)";
const OUT: &str = "COPY b TO STDOUT (FORMAT csv)";

async fn set_up() -> PgPool {
    let pool = postgres().await;
    sqlx::raw_sql(SETUP).execute(&pool).await.unwrap();
    keep!(pool, "a");
    keep!(pool, "b");
    pool
}

async fn count(pool: &PgPool) -> (i64, bool) {
    let ask = sqlx::query_scalar("SELECT count(*) FROM a").fetch_one(pool);
    crate::support::was_hit(pool, ask).await
}

async fn keep_count(pool: &PgPool) -> i64 {
    super::keep(pool, || sqlx::query_scalar("SELECT count(*) FROM a").fetch_one(pool)).await
}

fn text(chunks: Vec<sqlx_core::bytes::Bytes>) -> String {
    String::from_utf8(chunks.concat()).unwrap()
}

#[tokio::test]
async fn copy_in_through_the_pool() {
    let pool = set_up().await;
    keep_count(&pool).await;
    let mut copy = pool.copy_in_raw(IN).await.unwrap();
    assert!(copy.is_textual() && copy.column_is_textual(1));
    assert_eq!(copy.num_columns(), 2);
    copy.send(&b"2,2\n"[..]).await.unwrap().send("3,3\n".as_bytes()).await.unwrap();
    copy.read_from(&b"4,4\n"[..]).await.unwrap();
    assert_eq!(count(&pool).await, (1, false), "nothing is kept while it runs");
    assert_eq!(read!(pool, "b"), (0, true), "of another table all is");
    assert_eq!(copy.finish().await.unwrap(), 3);
    assert_eq!(count(&pool).await, (4, false));
    assert_eq!(keep_count(&pool).await, 4);

    let mut copy = pool.copy_in_raw(IN).await.unwrap();
    copy.send(&b"5,5\n"[..]).await.unwrap();
    copy.abort("enough").await.unwrap();
    assert_eq!(keep_count(&pool).await, 4);

    let mut copy = pool.copy_in_raw(IN).await.unwrap();
    copy.send(&b"1,1\n"[..]).await.unwrap();
    let duplicate = copy.finish().await.unwrap_err();
    assert!(duplicate.as_database_error().unwrap().is_unique_violation(), "{duplicate}");
    assert_eq!(keep_count(&pool).await, 4);
    assert_eq!(read!(pool, "b"), (0, true));
}

/// The server refuses the data before it is told that the COPY is to be aborted.
#[tokio::test]
async fn copy_in_that_failed_before_it_is_aborted() {
    let pool = set_up().await;
    for _ in 0..5 {
        let mut copy = pool.copy_in_raw(IN).await.unwrap();
        copy.send(&b"nonsense\nnonsense\n"[..]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = copy.abort("enough").await;
        in_step(&pool).await;
        assert_eq!(keep_count(&pool).await, 1);
    }
}

/// Each connection answers what it is asked.
async fn in_step(pool: &PgPool) {
    idle!(pool);
    let mut out = Vec::new();
    for _ in 0..pool.size().max(3) {
        out.push(pool.acquire().await.unwrap());
    }
    for connection in &mut out {
        for expected in [17, 18] {
            let ask = sqlx::query_scalar("SELECT $1 + 0").bind(expected);
            let answer: i32 = ask.fetch_one(&mut **connection).await.unwrap();
            assert_eq!(answer, expected);
        }
    }
}

/// Dropped in the middle, or in the middle of its end: what it may have written is not kept before it is known.
#[tokio::test]
async fn copy_in_that_is_not_finished() {
    let pool = set_up().await;
    let mut copy = pool.copy_in_raw(IN).await.unwrap();
    copy.send(&b"2,2\n"[..]).await.unwrap();
    drop(copy);
    assert_eq!(count(&pool).await.0, 1);
    assert_eq!(keep_count(&pool).await, 1);
    let mut expected = 1;
    for micros in [0, 50, 200] {
        let mut copy = pool.copy_in_raw(IN).await.unwrap();
        let row = format!("{},0\n", 10 + micros);
        copy.send(row.as_bytes()).await.unwrap();
        let finished = tokio::time::timeout(Duration::from_micros(micros), copy.finish()).await;
        assert!(finished.is_err() || finished.unwrap().unwrap() == 1);
        let kept = keep_count(&pool).await;
        assert!(kept == expected || kept == expected + 1);
        let truth: i64 = sqlx::query_scalar("SELECT count(*) FROM a").fetch_one(pool.inner()).await.unwrap();
        assert_eq!(kept, truth, "after {micros} µs");
        expected = truth;
        in_step(&pool).await;
    }
    assert_eq!(read!(pool, "b"), (0, true));
}

#[tokio::test]
async fn copy_in_on_a_connection_and_in_a_transaction() {
    let pool = set_up().await;
    keep_count(&pool).await;
    let mut connection = pool.acquire().await.unwrap();
    let mut copy = connection.copy_in_raw(IN).await.unwrap();
    copy.send(&b"2,2\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    assert_eq!(count(&pool).await, (2, false));
    let failed = connection.copy_in_raw("COPY nowhere FROM STDIN").await.unwrap_err();
    assert!(failed.as_database_error().is_some(), "{failed}");
    let mut copy = connection.copy_in_raw(IN).await.unwrap();
    copy.send(&b"nonsense\n"[..]).await.unwrap();
    copy.finish().await.unwrap_err();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(one, 1, "the connection goes on");
    drop(connection);
    keep_count(&pool).await;
    keep!(pool, "b");

    let mut tx = pool.begin().await.unwrap();
    let mut copy = tx.copy_in_raw(IN).await.unwrap();
    copy.send(&b"3,3\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    assert_eq!(count(&pool).await, (2, true), "nothing is dropped before the commit");
    tx.commit().await.unwrap();
    assert_eq!(count(&pool).await, (3, false));
    assert_eq!(read!(pool, "b"), (0, true));
    let mut tx = pool.begin().await.unwrap();
    keep_count(&pool).await;
    let mut copy = tx.copy_in_raw(IN).await.unwrap();
    copy.send(&b"4,4\n"[..]).await.unwrap();
    copy.finish().await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(count(&pool).await, (3, true));

    // Not finished: sqlx loses count of the answers, so that the connection is used by nobody any more.
    let mut tx = pool.begin().await.unwrap();
    let mut copy = tx.copy_in_raw(IN).await.unwrap();
    copy.send(&b"4,4\n"[..]).await.unwrap();
    drop(copy);
    let _ = tx.commit().await;
    idle!(pool);
    assert_eq!(keep_count(&pool).await, 3);
}

#[tokio::test]
async fn copy_out() {
    let pool = set_up().await;
    assert_eq!(text(pool.copy_out_raw(OUT).await.unwrap().try_collect().await.unwrap()), "1,0\n");
    let query = "COPY (SELECT n FROM b) TO STDOUT";
    assert_eq!(text(pool.copy_out_raw(query).await.unwrap().try_collect().await.unwrap()), "0\n");
    assert_eq!((read!(pool, "a"), read!(pool, "b")), ((0, true), (0, true)), "it reads");

    let delete = "COPY (DELETE FROM b RETURNING n) TO STDOUT";
    assert_eq!(text(pool.copy_out_raw(delete).await.unwrap().try_collect().await.unwrap()), "0\n");
    let left = sqlx::query_scalar::<_, i64>("SELECT n FROM b WHERE id = 1").fetch_optional(&pool).await.unwrap();
    assert_eq!(left, None, "it writes");
    assert_eq!(read!(pool, "a"), (0, true));

    let mut tx = pool.begin().await.unwrap();
    let delete = "COPY (DELETE FROM a RETURNING n) TO STDOUT";
    assert_eq!(text(tx.copy_out_raw(delete).await.unwrap().try_collect().await.unwrap()), "0\n");
    assert_eq!(read!(pool, "a"), (0, true), "nothing is dropped before the commit");
    tx.commit().await.unwrap();
    assert_eq!(count(&pool).await.0, 0);
}

/// Where it fails or is not read to its end, sqlx loses count of the answers: whoever got the connection next would be
/// given those to another question.
#[tokio::test]
async fn copy_out_that_is_not_finished() {
    let pool = set_up().await;
    sqlx::raw_sql("INSERT INTO b SELECT i, i FROM generate_series(2, 100000) i").execute(&pool).await.unwrap();
    for _ in 0..3 {
        let failed = pool.copy_out_raw("COPY nowhere TO STDOUT").await.map(drop).unwrap_err();
        assert!(failed.as_database_error().is_some(), "{failed}");
        let mut data = pool.copy_out_raw(OUT).await.unwrap();
        data.next().await.unwrap().unwrap();
        drop(data);
        let mut failing = pool.copy_out_raw("COPY (SELECT 1 / (500 - n) FROM b) TO STDOUT").await.unwrap();
        while let Some(Ok(_)) = failing.next().await {}
        drop(failing);
        let mut connection = pool.acquire().await.unwrap();
        let mut data = connection.copy_out_raw(OUT).await.unwrap();
        data.next().await.unwrap().unwrap();
        drop(data);
        drop(connection);
    }
    in_step(&pool).await;
    assert_eq!(keep!(pool, "a"), 0);
}

#[tokio::test]
async fn other_statements_are_refused() {
    let pool = set_up().await;
    for statement in
        ["SELECT n FROM a", "UPDATE a SET n = 5", "COPY a FROM STDIN; UPDATE a SET n = 5", "COPY a TO STDOUT"]
    {
        let refused = pool.copy_in_raw(statement).await.map(drop).unwrap_err();
        assert!(matches!(refused, sqlx::Error::InvalidArgument(_)), "{statement}: {refused}");
    }
    for statement in ["UPDATE a SET n = 5", "COPY a TO STDOUT; UPDATE a SET n = 5", ""] {
        let refused = pool.copy_out_raw(statement).await.map(drop).unwrap_err();
        assert!(matches!(refused, sqlx::Error::InvalidArgument(_)), "{statement}: {refused}");
    }
    assert_eq!(read!(pool, "a"), (0, true));
}
