//! The survey of a real SQLite.

use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use super::super::Survey;
use super::super::sqlite::{session, survey};
use super::*;

struct Database {
    folder: tempfile::TempDir,
    options: SqliteConnectOptions,
    connection: SqliteConnection,
}

impl Database {
    /// A file of its own in which `sql` was run.
    async fn new(sql: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new().filename(folder.path().join("my data.db")).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        connection.execute(sql).await.unwrap();
        Self { folder, options, connection }
    }

    async fn look(&mut self) -> Survey {
        survey(&mut self.connection, &self.options).await.unwrap()
    }
}

#[tokio::test]
async fn each_kind_of_relation_has_its_verdict() {
    let mut database = Database::new(
        "CREATE TABLE Plain (id INTEGER PRIMARY KEY AUTOINCREMENT, n);
         CREATE TABLE rowless (id TEXT PRIMARY KEY, twice TEXT AS (id || id)) WITHOUT ROWID, STRICT;
         CREATE TABLE quoted (a);
         CREATE TABLE \"we.ird 🦀\" (a);
         CREATE VIEW a_view AS SELECT * FROM plain;
         CREATE VIEW broken AS SELECT * FROM nowhere;
         CREATE VIRTUAL TABLE found USING fts5(text);
         CREATE TABLE triggered (id);
         CREATE TRIGGER t AFTER INSERT ON Triggered BEGIN DELETE FROM plain; END;
         CREATE TABLE under_temporary (id);
         CREATE TEMP TRIGGER u AFTER INSERT ON under_temporary BEGIN DELETE FROM plain; END;
         CREATE TABLE kept (id PRIMARY KEY); CREATE TABLE gone (id PRIMARY KEY); CREATE TABLE moved (id PRIMARY KEY);
         CREATE TABLE pointing (
             a REFERENCES kept ON DELETE RESTRICT, b REFERENCES GONE ON DELETE CASCADE,
             c REFERENCES moved ON UPDATE SET NULL);
         CREATE TEMP TABLE quoted (a);
         CREATE TEMP TABLE tmp (a);
         ATTACH ':memory:' AS other;
         CREATE TABLE other.far (a);
         ANALYZE;",
    )
    .await;
    let seen = database.look().await;
    assert_eq!(seen.refusal, None);
    let gate = seen.gate;
    for name in ["plain", "PLAIN", "main.plain"] {
        assert_eq!(reading(&gate, &[name]), Ok(vec!["main.plain".into()]));
        assert_writes_itself(&gate, name, "main.plain");
    }
    assert_writes_itself(&gate, "rowless", "main.rowless");
    let odd = Facts { reads: [Name::new(["we.ird 🦀"])].into(), ..read(&[]) };
    assert_eq!(behind(gate.reads(&odd)), Ok(tables(&["main.\"we.ird 🦀\""])));
    assert_eq!(reading(&gate, &["a_view"]), Ok(vec!["main.plain".into()]));
    for name in ["broken", "found", "found_content", "far", "other.far", "nobody", "json_each", "pragma_table_list"] {
        assert_eq!(reading(&gate, &[name]), Err(Reason::NotAPlainTable), "{name}");
        assert_widens(&gate, name);
    }
    for name in ["tmp", "quoted", "temp.quoted"] {
        assert_eq!(reading(&gate, &[name]), Err(Reason::Temporary), "{name}");
        assert_widens(&gate, name);
    }
    assert_eq!(reading(&gate, &["main.quoted"]), Ok(vec!["main.quoted".into()]));
    for name in ["sqlite_schema", "sqlite_sequence", "sqlite_stat1"] {
        assert_eq!(reading(&gate, &[name]), Err(Reason::System), "{name}");
    }
    for (name, written) in [
        ("triggered", with_code(&["main.plain", "main.triggered"])),
        ("under_temporary", with_code(&["main.plain", "main.under_temporary"])),
        ("gone", only(&["main.gone", "main.pointing"])),
        ("moved", only(&["main.moved", "main.pointing"])),
    ] {
        assert_eq!(reading(&gate, &[name]), Ok(vec![format!("main.{name}")]));
        assert_eq!(gate.writes(&write(&[name])), Some(written), "{name}");
    }
    for name in ["kept", "pointing"] {
        assert_writes_itself(&gate, name, &format!("main.{name}"));
    }
}

#[tokio::test]
async fn built_in_functions_pass_and_others_do_not() {
    let mut database = Database::new("CREATE TABLE t (a)").await;
    let gate = database.look().await.gate;
    let refused = |name| gate.reads(&with_functions(read(&["t"]), &[name])).err().map(|refusal| refusal.reason);
    for name in ["lower", "LENGTH", "count", "max", "json_extract", "like", "glob", "->", "->>"] {
        assert_eq!(refused(name), None, "{name}");
    }
    assert_eq!(behind(gate.reads(&with_operators(read(&["t"]), &["LIKE", "->", "="]))), Ok(tables(&["main.t"])));
    assert_eq!(gate.writes(&calling_unknown(&["random", "snippet", "bm25"])), None);
    assert_eq!(gate.writes(&calling_unknown(&["mine"])), Some(Widened::Everything(Reason::OpaqueStatement)));
}

#[tokio::test]
async fn a_table_that_hides_a_pragma_closes_the_gate() {
    let mut database = Database::new(
        "CREATE TABLE t (id PRIMARY KEY); CREATE TABLE u (a REFERENCES t ON DELETE CASCADE);
         CREATE TABLE pragma_foreign_key_list (a, \"table\", on_update, on_delete, arg, schema);",
    )
    .await;
    let gate = database.look().await.gate;
    assert_eq!(reading(&gate, &["t"]), Err(Reason::System));
    assert_widens(&gate, "t");
}

#[tokio::test]
async fn each_setting_that_changes_an_answer_changes_the_session() {
    let mut database = Database::new("CREATE TABLE t (a)").await;
    let plain = database.look().await.session;
    assert_eq!(session(&mut database.connection).await.unwrap(), plain);
    let mut second = database.options.connect().await.unwrap();
    assert_eq!(session(&mut second).await.unwrap(), plain);
    for (change, back) in [
        ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"),
        ("PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers = OFF"),
        ("PRAGMA reverse_unordered_selects = ON", "PRAGMA reverse_unordered_selects = OFF"),
        ("PRAGMA read_uncommitted = ON", "PRAGMA read_uncommitted = OFF"),
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ("PRAGMA full_column_names = ON", "PRAGMA full_column_names = OFF"),
        ("PRAGMA case_sensitive_like = ON", ""),
        ("BEGIN", "ROLLBACK"),
        ("ATTACH ':memory:' AS b", "DETACH b"),
    ] {
        let mut connection = database.options.connect().await.unwrap();
        connection.execute(change).await.unwrap();
        assert_ne!(session(&mut connection).await.unwrap(), plain, "{change}");
        if !back.is_empty() {
            connection.execute(back).await.unwrap();
            assert_eq!(session(&mut connection).await.unwrap(), plain, "{back}");
        }
    }
    second.execute("CREATE TEMP TABLE x (a)").await.unwrap();
    assert_ne!(session(&mut second).await.unwrap(), plain);
}

#[tokio::test]
async fn within_a_transaction_nothing_passes_and_nothing_is_disturbed() {
    let mut database = Database::new("CREATE TABLE t (a)").await;
    database.connection.execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    let seen = database.look().await;
    assert_eq!(seen.refusal.unwrap().reason, Reason::Transaction);
    assert_eq!(reading(&seen.gate, &["t"]), Err(Reason::NotAPlainTable));
    database.connection.execute("COMMIT").await.unwrap();
    assert_eq!(database.look().await.refusal, None);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut database.connection).await.unwrap();
    assert_eq!(rows, 1);
    let mut transaction = sqlx::Connection::begin(&mut database.connection).await.unwrap();
    let seen = survey(&mut transaction, &database.options).await.unwrap();
    assert_eq!(seen.refusal.unwrap().reason, Reason::Transaction);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn dirty_reads_are_refused() {
    let mut database = Database::new("CREATE TABLE t (a); PRAGMA read_uncommitted = ON").await;
    assert_eq!(database.look().await.refusal.unwrap().reason, Reason::ReadUncommitted);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_is_one_database_whatever_path_leads_to_it() {
    let mut database = Database::new("CREATE TABLE t (a)").await;
    let seen = database.look().await;
    let folder = database.folder.path();
    let file = folder.join("my data.db");
    std::os::unix::fs::symlink(&file, folder.join("symbolic.db")).unwrap();
    std::os::unix::fs::symlink(folder, folder.join("folder")).unwrap();
    std::fs::hard_link(&file, folder.join("hard.db")).unwrap();
    for path in ["symbolic.db", "hard.db", "folder/my data.db", "./folder/./my data.db"] {
        let options = SqliteConnectOptions::new().filename(folder.join(path));
        let mut connection = options.connect().await.unwrap();
        let other = survey(&mut connection, &options).await.unwrap();
        assert_eq!(other.database, seen.database, "{path}");
        assert_eq!(other.refusal, None);
    }
    for options in [database.options.clone().read_only(true), database.options.clone().shared_cache(true)] {
        let mut connection = options.connect().await.unwrap();
        assert_eq!(survey(&mut connection, &options).await.unwrap().database, seen.database);
    }
    let mut other = Database::new("").await;
    assert_ne!(other.look().await.database, seen.database);
}

/// Whether what one connection writes is there for another, opened with the same options.
async fn shares(options: &SqliteConnectOptions) -> bool {
    let (mut first, mut second) = (options.connect().await.unwrap(), options.connect().await.unwrap());
    first.execute("CREATE TABLE shared (a)").await.unwrap();
    second.execute("SELECT * FROM shared").await.is_ok()
}

#[tokio::test]
async fn memory_is_one_database_only_where_connections_share_it() {
    let from = |url: &str| SqliteConnectOptions::from_str(url).unwrap();
    for (options, shared) in [
        (from("sqlite::memory:"), true),
        (from("sqlite://mine?mode=memory&cache=shared"), false),
        (from("sqlite://file:mine2?mode=memory&cache=shared"), true),
        (from("sqlite://mine3?mode=memory&cache=private"), false),
        (SqliteConnectOptions::new(), false),
        (SqliteConnectOptions::new().in_memory(true), false),
        (SqliteConnectOptions::new().filename(""), false),
        (SqliteConnectOptions::new().filename(":memory:").shared_cache(true), false),
        (SqliteConnectOptions::new().filename("a, in_memory: true, shared_cache: true").in_memory(true), false),
        (SqliteConnectOptions::new().filename("file:x?mode=memory"), false),
        (SqliteConnectOptions::new().filename("file:x?mode=memory&cache=shared"), false),
        (SqliteConnectOptions::new().filename("/mem").vfs("memdb").create_if_missing(true), false),
    ] {
        let mut connection = options.connect().await.unwrap();
        let seen = survey(&mut connection, &options).await.unwrap();
        match shared {
            true => assert_eq!(seen.refusal, None, "{options:?}"),
            false => assert_eq!(seen.refusal.unwrap().reason, Reason::PrivateDatabase, "{options:?}"),
        }
        // More may be shared than is recognised, never less.
        assert!(shares(&options).await || !shared, "{options:?}");
    }
    let (one, other) = (from("sqlite::memory:"), from("sqlite::memory:"));
    let (mut first, mut again) = (one.connect().await.unwrap(), one.connect().await.unwrap());
    let mut second = other.connect().await.unwrap();
    let seen = survey(&mut first, &one).await.unwrap().database;
    assert_eq!(survey(&mut again, &one).await.unwrap().database, seen);
    assert_ne!(survey(&mut second, &other).await.unwrap().database, seen);
}

#[tokio::test]
async fn three_thousand_tables_are_read_in_well_under_a_second() {
    let mut database = Database::new("").await;
    let mut sql = String::from("BEGIN;");
    // SQLite itself takes time by the square of this.
    for i in 0..3_000 {
        sql += &format!("CREATE TABLE t{i} (id INTEGER PRIMARY KEY, n REFERENCES t0);");
    }
    sql += "COMMIT";
    database.connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let mut connection = database.options.connect().await.unwrap();
    let start = std::time::Instant::now();
    let gate = survey(&mut connection, &database.options).await.unwrap().gate;
    let taken = start.elapsed();
    println!("3,000 tables: {taken:?}");
    assert_eq!(reading(&gate, &["t2999"]), Ok(vec!["main.t2999".into()]));
    assert!(taken < std::time::Duration::from_secs(2), "{taken:?}");
}

#[tokio::test]
async fn nothing_stays_behind_in_the_session() {
    let mut database = Database::new("CREATE TABLE t (a)").await;
    database.look().await;
    session(&mut database.connection).await.unwrap();
    assert_eq!(sqlx::Connection::cached_statements_size(&database.connection), 0);
    database.connection.execute("BEGIN; COMMIT").await.unwrap();
}

#[tokio::test]
async fn what_the_analysis_says_is_understood() {
    use crate::analysis::{Dialect, analyze};
    let mut database = Database::new(
        "CREATE TABLE Users (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE \"we.ird\" (a);
         CREATE VIEW v AS SELECT 1; CREATE VIRTUAL TABLE found USING fts5(text)",
    )
    .await;
    let gate = database.look().await.gate;
    let reading = |sql| {
        let facts = analyze(sql, Dialect::Sqlite);
        assert!(facts.cacheable(), "{sql}: {:?}", facts.refusals);
        behind(gate.reads(&facts)).map_err(|refusal| refusal.reason)
    };
    for sql in [
        "SELECT * FROM users WHERE name LIKE 'a%'",
        "SELECT lower(name), count(*) FROM USERS GROUP BY 1",
        "SELECT * FROM main.[Users] WHERE name GLOB ?",
    ] {
        assert_eq!(reading(sql), Ok(tables(&["main.users"])), "{sql}");
    }
    assert_eq!(reading("SELECT * FROM \"we.ird\", users"), Ok(tables(&["main.\"we.ird\"", "main.users"])));
    assert_eq!(reading("SELECT * FROM v"), Err(Reason::NoTables));
    let snippet = analyze("SELECT snippet(found, 0, '', '', '', 1) FROM found", Dialect::Sqlite);
    assert_eq!(gate.writes(&snippet), None, "{snippet:?}");
    for (sql, table) in [("UPDATE uSers SET name = 'x'", "main.users"), ("DELETE FROM \"we.ird\"", "main.\"we.ird\"")] {
        assert_eq!(gate.writes(&analyze(sql, Dialect::Sqlite)), Some(only(&[table])), "{sql}");
    }
    let mut strict = database.options.connect().await.unwrap();
    strict.execute("PRAGMA case_sensitive_like = ON").await.unwrap();
    // It puts another function behind LIKE.
    let gate = survey(&mut strict, &database.options).await.unwrap().gate;
    let like = analyze("SELECT * FROM users WHERE name LIKE 'a%'", Dialect::Sqlite);
    assert_eq!(gate.reads(&like).unwrap_err().reason, Reason::UserFunction);
    let glob = analyze("SELECT * FROM users WHERE name GLOB 'a*'", Dialect::Sqlite);
    assert!(gate.reads(&glob).is_ok());
}
