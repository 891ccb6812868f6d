//! The survey of a real PostgreSQL: which database and which session.

use sqlx::{Connection, Executor};

use super::super::postgres::session;
use super::*;

#[tokio::test]
async fn a_database_has_one_name_for_all_roles_and_ways_to_it() {
    let server = servers::Postgres::shared();
    let (name, other) = (server.create_database(), server.create_database());
    let url = server.url(&name);
    let mut owner = connect(&url).await;
    let sql = format!("CREATE ROLE reader_{name} LOGIN");
    owner.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let mut reader = connect(&url.replace("postgres@", &format!("reader_{name}@"))).await;
    let mut socket = connect(&server.socket_url(&name)).await;
    let seen = look(&mut owner).await;
    assert_eq!(seen.database.split('/').count(), 3, "{}", seen.database);
    assert_eq!(look(&mut reader).await.database, seen.database);
    assert_eq!(look(&mut socket).await.database, seen.database);
    assert_eq!(look(&mut socket).await.session, seen.session);
    assert_ne!(look(&mut reader).await.session, seen.session);
    assert_ne!(look(&mut connect(&server.url(&other)).await).await.database, seen.database);

    // Where PUBLIC may not ask for the cluster's name, nobody uses it, not even who may.
    owner.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC").await.unwrap();
    let coarse = look(&mut owner).await.database;
    assert_ne!(coarse, seen.database);
    assert_eq!(look(&mut reader).await.database, coarse);
}

#[tokio::test]
async fn each_setting_that_changes_an_answer_changes_the_session() {
    let mut connection = database("CREATE SCHEMA a; CREATE ROLE someone_else").await;
    let plain = session(&mut connection).await.unwrap();
    assert_eq!(session(&mut connection).await.unwrap(), plain);
    assert_eq!(look(&mut connection).await.session, plain);
    for change in [
        "SET search_path = a",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET DateStyle = 'German'",
        "SET IntervalStyle = 'iso_8601'",
        "SET bytea_output = 'escape'",
        "SET extra_float_digits = -5",
        "SET lc_monetary = 'C.UTF-8'",
        "SET xmlbinary = 'hex'",
        "SET array_nulls = off",
        "SET transform_null_equals = on",
        "SET standard_conforming_strings = off",
        "SET row_security = off",
        "SET default_text_search_config = 'german'",
        "SET default_transaction_isolation = 'serializable'",
        "SET session_replication_role = 'replica'",
        "SET ROLE someone_else",
        "BEGIN",
    ] {
        connection.execute(change).await.unwrap();
        assert_ne!(session(&mut connection).await.unwrap(), plain, "{change}");
        connection.execute("ROLLBACK; RESET SESSION AUTHORIZATION; RESET ALL").await.unwrap();
        // The driver sets these when it connects.
        connection.execute("SET extra_float_digits = 2; SET TimeZone = 'UTC'").await.unwrap();
        assert_eq!(session(&mut connection).await.unwrap(), plain, "after {change}");
    }
}

#[tokio::test]
async fn within_a_transaction_nothing_passes_and_nothing_is_disturbed() {
    let mut connection = database("CREATE TABLE t (id int)").await;
    connection.execute("BEGIN; SET LOCAL search_path = public; INSERT INTO t VALUES (1)").await.unwrap();
    let seen = look(&mut connection).await;
    assert_eq!(seen.refusal.unwrap().reason, Reason::Transaction);
    assert_eq!(reading(&seen.gate, &["t"]), Err(Reason::NotAPlainTable));
    assert_widens(&seen.gate, "t");
    let path: String = sqlx::query_scalar("SHOW search_path").fetch_one(&mut connection).await.unwrap();
    assert_eq!(path, "public");
    connection.execute("COMMIT").await.unwrap();
    let seen = look(&mut connection).await;
    assert_eq!(seen.refusal, None);
    assert!(reading(&seen.gate, &["t"]).is_ok());
}

#[tokio::test]
async fn a_replica_is_refused() {
    let mut server = servers::Postgres::start();
    let url = server.fresh();
    let plain = session(&mut connect(&url).await).await.unwrap();
    server.stop();
    std::fs::write(server.folder().join("data/standby.signal"), "").unwrap();
    server.restart();
    let seen = look(&mut connect(&url).await).await;
    assert_eq!(seen.refusal.unwrap().reason, Reason::Replica);
    assert_ne!(seen.session, plain);
}

#[tokio::test]
async fn nothing_stays_behind_in_the_session() {
    let mut connection = database("CREATE TABLE t (id int)").await;
    look(&mut connection).await;
    session(&mut connection).await.unwrap();
    assert_eq!(connection.cached_statements_size(), 0);
    let prepared: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements WHERE statement NOT LIKE '%itself%' -- itself")
            .persistent(false)
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(prepared, 0);
}
