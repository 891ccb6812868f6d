//! Which prepared statement a result belongs to.

use sqlx::Arguments;
use sqlx::postgres::PgConnectOptions;

use super::*;

#[tokio::test]
async fn results_of_a_statement_share_a_shape() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int8, m mood)").await;
    let sql = "SELECT id, m FROM t";
    let (_, first) = scene.load(sql).await;
    let (_, other) = scene.load("SELECT id, m AS n FROM t").await;
    let rows = sqlx::query(sql).fetch_all(&mut scene.connection).await.unwrap();
    let again = scene.keep(sql, &rows, Some(&first.shape)).await.unwrap();
    assert!(Arc::ptr_eq(&first.shape, &again.shape));
    let another = scene.keep(sql, &rows, Some(&other.shape)).await.unwrap();
    assert!(!Arc::ptr_eq(&other.shape, &another.shape));

    // Another connection has a statement of its own, with equal columns, until the enum changes.
    let url = servers::Postgres::shared().fresh();
    let mut second = Scene { connection: PgConnection::connect(&url).await.unwrap(), ..scene };
    second.run("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (id int8, m mood)").await;
    let rows = sqlx::query(sql).fetch_all(&mut second.connection).await.unwrap();
    let unlike = second.keep(sql, &rows, Some(&first.shape)).await.unwrap();
    // Another database: the types and tables have other numbers.
    assert!(!Arc::ptr_eq(&first.shape, &unlike.shape));
    second.connection = PgConnection::connect(&url).await.unwrap();
    let rows = sqlx::query(sql).fetch_all(&mut second.connection).await.unwrap();
    let alike = second.keep(sql, &rows, Some(&unlike.shape)).await.unwrap();
    assert!(Arc::ptr_eq(&unlike.shape, &alike.shape));
    second.run("ALTER TYPE mood ADD VALUE 'happy'").await;
    second.connection = PgConnection::connect(&url).await.unwrap();
    let rows = sqlx::query(sql).fetch_all(&mut second.connection).await.unwrap();
    let changed = second.keep(sql, &rows, Some(&unlike.shape)).await.unwrap();
    assert!(!Arc::ptr_eq(&unlike.shape, &changed.shape));
}

#[tokio::test]
async fn text_format_is_refused() {
    let mut scene = Scene::new().await;
    scene.comes_back("SELECT 1 AS a").await;
    let rows = sqlx::raw_sql("SELECT 1 AS a").fetch_all(&mut scene.connection).await.unwrap();
    assert!(scene.keep("SELECT 1 AS a", &rows, None).await.is_err());
}

#[tokio::test]
async fn statements_that_are_not_kept_are_refused() {
    let mut scene = Scene::new().await;
    let rows = sqlx::query("SELECT 1 AS a").persistent(false).fetch_all(&mut scene.connection).await.unwrap();
    let refused = scene.keep("SELECT 1 AS a", &rows, None).await.unwrap_err();
    assert_eq!(refused.to_string(), "the pool keeps no prepared statements");
    scene.comes_back("SELECT 2").await;
    let rows = sqlx::query("SELECT 3 AS a").persistent(false).fetch_all(&mut scene.connection).await.unwrap();
    assert!(scene.keep("SELECT 3 AS a", &rows, None).await.is_err());

    let options: PgConnectOptions = servers::postgres().parse().unwrap();
    scene.connection = PgConnection::connect_with(&options.clone().statement_cache_capacity(0)).await.unwrap();
    let rows = sqlx::query("SELECT 4").fetch_all(&mut scene.connection).await.unwrap();
    assert!(scene.keep("SELECT 4", &rows, None).await.is_err());

    // A full cache changes places, not size: only the rows tell.
    scene.connection = PgConnection::connect_with(&options.statement_cache_capacity(1)).await.unwrap();
    let rows = sqlx::query("SELECT 5").fetch_all(&mut scene.connection).await.unwrap();
    scene.comes_back("SELECT 6").await;
    assert!(scene.keep("SELECT 5", &rows, None).await.is_err());
}

#[tokio::test]
async fn rows_of_another_result_are_refused() {
    let mut scene = Scene::new().await;
    let (mut rows, _) = scene.load("SELECT 1 AS a").await;
    rows.extend(scene.load("SELECT 2 AS a").await.0);
    assert!(scene.keep("SELECT 1 AS a", &rows, None).await.is_err());
}

/// sqlx finds a prepared statement by its text. Executed again with arguments of other types on the same connection, the
/// bytes of a float are read as an integer.
#[tokio::test]
async fn arguments_of_other_types_are_refused() {
    let mut scene = Scene::new().await;
    let sql = text("SELECT $1 AS a");
    let mut expected = [true, false, false, true].into_iter();
    for round in 0..4 {
        let mut arguments = PgArguments::default();
        match round {
            0 | 3 => arguments.add(7_i64).unwrap(),
            1 => arguments.add(0.5_f64).unwrap(),
            _ => arguments.add("textlike").unwrap(),
        }
        let debug = format!("{arguments:?}");
        let rows = sqlx::query_with(sql.clone(), arguments).fetch_all(&mut scene.connection).await.unwrap();
        let kept = scene.replay.store(&mut scene.connection, &sql, &debug, &rows, None).await;
        assert_eq!(kept.is_ok(), expected.next().unwrap(), "{debug}");
    }
}

#[tokio::test]
async fn arguments_of_every_kind_of_type_fit() {
    let mut scene = Scene::new().await;
    scene.run("CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TYPE place AS (name text, at point, mood mood)").await;
    let mut arguments = PgArguments::default();
    arguments.add(alike::Mood::Sad).unwrap();
    arguments.add(vec![alike::Mood::Sad]).unwrap();
    arguments.add(vec![Some("a".to_owned()), None]).unwrap();
    arguments.add(sqlx::types::Json(vec![1])).unwrap();
    arguments.add(alike::Place { name: None, at: None, mood: None }).unwrap();
    arguments.add(None::<sqlx::types::Uuid>).unwrap();
    let sql = text("SELECT $1, $2, $3, $4, $5, $6");
    let debug = format!("{arguments:?}");
    let rows = sqlx::query_with(sql.clone(), arguments).fetch_all(&mut scene.connection).await.unwrap();
    let stored = scene.replay.store(&mut scene.connection, &sql, &debug, &rows, None).await.unwrap();
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
    for unreadable in ["", "PgArguments { types: [], buffer: ", &debug[..40]] {
        assert!(scene.replay.store(&mut scene.connection, &sql, unreadable, &rows, None).await.is_err());
    }
}

/// More shapes than a client keeps statements for.
#[tokio::test]
async fn more_shapes_than_a_link_keeps() {
    let mut scene = Scene::new().await;
    let (rows, stored) = scene.load("SELECT 1 AS a, 'x' AS b").await;
    for _ in 0..2_500 {
        let shape = Arc::new(Shape::new(stored.shape.statement.clone()));
        let replayed = scene.replay.replay(&Stored { shape, ..stored.clone() }).await.unwrap();
        assert_eq!(encode(&replayed.rows, &stored.shape.statement).unwrap(), *stored.bytes);
    }
    alike::assert_same(&rows, &scene.replay.replay(&stored).await.unwrap().rows);
}
