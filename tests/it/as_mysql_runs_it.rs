//! What the analysis says of statements of MySQL, held against a server that runs them.
//!
//! Three oracles know better than any manual. A user who has rights on the tables that a statement is said to touch, and
//! on no other, is refused whatever touches another. What was written in a transaction that is rolled back is gone, unless a
//! statement committed it. And an answer that is another one tomorrow depends on the clock.
//!
//! Replay with `LARDER_TEST_SEED=<seed>`, which the test prints; more with `LARDER_TEST_SECONDS=<seconds>`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use larder::analysis::{Dialect, Facts, Outcome, SqlMode, TransactionControl, Writes, analyze, analyze_in};
use larder::{CachedPool, Sessions};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::mysql::MySqlConnection;
use sqlx::mysql::types::MySqlTime;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::servers::MariaDb;
use crate::support::{alone, was_hit};

const TABLES: [&str; 4] = ["a", "b", "c", "dual"];

fn seed() -> u64 {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    std::env::var("LARDER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(now)
}

fn how_long(usual: f64) -> Duration {
    let seconds = std::env::var("LARDER_TEST_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(usual))
}

/// Makes statements of pieces: all that the grammar has for tables, in the spellings that lexers stumble over.
struct Maker(SmallRng);

impl Maker {
    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.choose(&mut self.0).copied().unwrap_or_default()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn table(&mut self) -> String {
        let name = self.one(&["a", "b", "c", "`a`", "`b`", "`c`", "`dual`", "\"b\""]);
        match self.0.random_range(0..12) {
            0 => format!("DB.{name}"),
            1 => format!("`DB` . {name}"),
            2 => format!("DB/**/.{name}"),
            _ => name.to_owned(),
        }
    }

    fn alias(&mut self) -> &'static str {
        self.one(&["a", "b", "p", "q", "`c`", "A"])
    }

    fn source(&mut self, depth: u32) -> String {
        match self.0.random_range(0..if depth > 0 { 16 } else { 5 }) {
            0 | 1 => self.table(),
            2 => format!("{} AS {}", self.table(), self.alias()),
            3 => format!("{} {}", self.table(), self.alias()),
            4 => format!("{} AS p USE INDEX (PRIMARY)", self.table()),
            5 => format!("({}) AS {}", self.query(depth - 1), self.alias()),
            6 => format!("{} JOIN {} ON 1", self.source(depth - 1), self.source(depth - 1)),
            7 => format!("{} STRAIGHT_JOIN {}", self.source(depth - 1), self.source(depth - 1)),
            8 => format!("{}, {}", self.source(depth - 1), self.source(depth - 1)),
            9 => format!("({}, {})", self.source(depth - 1), self.source(depth - 1)),
            10 => format!("{{oj {} LEFT JOIN {} ON 1}}", self.source(depth - 1), self.source(depth - 1)),
            11 => format!("{} LEFT JOIN ({} JOIN {}) ON 1", self.table(), self.source(depth - 1), self.table()),
            12 => format!("{} NATURAL JOIN {}", self.table(), self.table()),
            13 => format!("{} p CROSS JOIN {} q USING (id)", self.table(), self.table()),
            14 => format!("({} RIGHT JOIN {} ON 1)", self.source(depth - 1), self.source(depth - 1)),
            _ => format!("{}, JSON_TABLE('[1]', '$[*]' COLUMNS (id FOR ORDINALITY)) jt", self.table()),
        }
    }

    fn value(&mut self, depth: u32) -> String {
        match self.0.random_range(0..if depth > 0 { 15 } else { 8 }) {
            0..3 => "1".to_owned(),
            3 => "1.5".to_owned(),
            4 => "'x'' FROM c'".to_owned(),
            5 => "\"it\\\"s\"".to_owned(),
            6 => self.one(&["'a;b # -- /*'", r"'c:\'", r"'\''", "\"x\"", r#""\""#, r#""a\", ' FROM c'"#]).to_owned(),
            7 => "_utf8mb4'z'".to_owned(),
            8 => format!("({} LIMIT 1)", self.query(depth - 1)),
            9 => format!("EXISTS ({})", self.query(depth - 1)),
            10 => format!("1 IN ({})", self.query(depth - 1)),
            11 => format!("CASE WHEN {} THEN 1 ELSE {} END", self.value(depth - 1), self.value(depth - 1)),
            12 => format!("COALESCE({}, {})", self.value(depth - 1), self.value(depth - 1)),
            13 => format!("1 >= ALL ({})", self.query(depth - 1)),
            _ => format!("{} BETWEEN 1 AND {}", self.value(depth - 1), self.value(depth - 1)),
        }
    }

    fn query(&mut self, depth: u32) -> String {
        if depth > 0 && self.chance(12) {
            let operator = self.one(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "MINUS"]);
            return format!("{} {operator} {}", self.query(depth - 1), self.query(depth - 1));
        }
        if depth > 0 && self.chance(15) {
            let (recursive, name) = (self.one(&["", "RECURSIVE "]), self.one(&["a", "b", "w", "`dual`"]));
            return match self.chance(50) {
                true => format!(
                    "WITH {recursive}{name} AS ({}) SELECT 1 FROM {}",
                    self.query(depth - 1),
                    self.source(depth - 1)
                ),
                false => {
                    let (one, two) = (self.query(depth - 1), self.query(depth - 1));
                    format!(
                        "WITH {recursive}{name} AS ({one}), v AS ({two}) SELECT 1 FROM {name}, v, {}",
                        self.source(0)
                    )
                }
            };
        }
        let modifier =
            self.one(&["", "", "", "DISTINCT ", "SQL_NO_CACHE ", "STRAIGHT_JOIN ", "HIGH_PRIORITY ", "SQL_CACHE ALL "]);
        let mut text = match self.0.random_range(0..10) {
            // A number ends where a word may begin.
            0 => format!("SELECT {modifier}1e5FROM {}", self.source(depth)),
            1 => format!("SELECT {modifier}1.5FROM {}", self.source(depth)),
            2 => format!("SELECT {modifier}{}/* FROM c */FROM {}", self.value(depth), self.source(depth)),
            _ => format!("SELECT {modifier}{} FROM {}", self.value(depth), self.source(depth)),
        };
        if self.chance(40) {
            text = format!("{text} WHERE {}", self.value(depth));
        }
        if self.chance(15) {
            text = format!("{text} GROUP BY {} HAVING {}", self.value(depth), self.value(depth));
        }
        if depth == 0 {
            return text;
        }
        match self.0.random_range(0..10) {
            0 => format!("{text} ORDER BY {}", self.value(depth - 1)),
            1 => format!("({text} LIMIT 1)"),
            2 => format!("({text})"),
            _ => text,
        }
    }

    fn write(&mut self) -> String {
        let (t, u, v) = (self.table(), self.table(), self.table());
        let (p, q) = (self.one(&["p", "a", "b", "A"]), self.one(&["q", "c", "b"]));
        let (value, query) = (self.value(2), self.query(2));
        let bare = t.rsplit(['.', ' ']).next().unwrap_or_default().trim_matches('`').to_owned();
        match self.0.random_range(0..34) {
            0 => format!("INSERT INTO {t} (x) VALUES ({value})"),
            1 => format!("INSERT IGNORE {t} (x) VALUE ({value}), (2)"),
            2 => format!("INSERT INTO {t} SET x = {value}"),
            3 => format!("INSERT INTO {t} (id, x) VALUES (1, 1) ON DUPLICATE KEY UPDATE x = {value}"),
            4 => format!("INSERT INTO {t} (x) {query}"),
            5 => format!("REPLACE {t} SET id = 1, x = {value}"),
            6 => format!("REPLACE LOW_PRIORITY INTO {t} (x) {query}"),
            7 => format!("INSERT INTO {t} (x) VALUES (1) RETURNING {value}"),
            8 => format!("UPDATE {t} SET x = {value}"),
            9 => format!("UPDATE LOW_PRIORITY IGNORE {t} {p} SET {p}.x = {value} WHERE {value}"),
            10 => format!("UPDATE {t} {p}, {u} {q} SET {p}.x = {q}.x"),
            11 => format!("UPDATE {t} AS {p} JOIN {u} AS {q} ON 1 SET {q}.x = {value}"),
            12 => format!("UPDATE {t} {p}, {u} {q} SET {p}.x = 1, {q}.x = 2"),
            13 => format!("UPDATE {t}, {u} SET `{bare}`.x = 5"),
            14 => format!("UPDATE {t} {p}, ({query}) r SET x = 1"),
            15 => format!("UPDATE {t} {p} LEFT JOIN ({u} {q}, {v} r) ON 1 SET r.x = 3"),
            16 => format!("UPDATE {t} {p} STRAIGHT_JOIN {u} {q} SET DB.{p}.x = 4"),
            17 => format!("UPDATE {{oj {t} {p} LEFT JOIN {u} {q} ON 1}} SET {q}.x = 4"),
            18 => format!("DELETE FROM {t} WHERE {value}"),
            19 => format!("DELETE QUICK IGNORE FROM {t} LIMIT 1"),
            20 => format!("DELETE FROM {t} WHERE {value} RETURNING {value}"),
            21 => format!("DELETE {p} FROM {t} AS {p}, {u} AS {q} WHERE {value}"),
            22 => format!("DELETE {q}, {p} FROM {t} {p} JOIN {u} {q} ON 1"),
            23 => format!("DELETE {p}.*, {q}.* FROM {t} {p} JOIN {u} {q} ON 1"),
            24 => format!("DELETE FROM {q} USING {t} {p}, {u} {q}"),
            25 => format!("DELETE FROM {p}.* USING {t} {p} JOIN {u} {q} ON 1"),
            26 => format!("DELETE {t} FROM {t}, {u} {q}"),
            27 => format!("DELETE `{bare}` FROM {t} JOIN {u} {q} ON {value}"),
            28 => format!("DELETE FROM DB.`{bare}` USING {t} JOIN ({query}) r"),
            29 => format!("UPDATE {t} PARTITION (p0) SET x = {value}"),
            30 => format!("ANALYZE FORMAT=JSON DELETE FROM {t} WHERE {value}"),
            31 => format!("SET STATEMENT max_statement_time = 100 FOR INSERT INTO {t} (x) {query}"),
            32 => format!("EXECUTE IMMEDIATE 'DELETE FROM {t}'"),
            _ => format!("SELECT 1 FROM {t} p WHERE {value} FOR UPDATE"),
        }
    }

    /// A piece goes, or comes, or the text is spelled otherwise.
    fn twist(&mut self, sql: &str) -> String {
        let mut words: Vec<&str> = sql.split(' ').collect();
        let at = self.0.random_range(0..words.len());
        match self.0.random_range(0..8) {
            0 => drop(words.remove(at)),
            1 => words.insert(at, "/* ' */"),
            2 => words.insert(at, "# '\n"),
            3 => words.insert(at, "-- \"\n"),
            4 => words.insert(at, "/*! */"),
            5 => words.insert(at, "/*!99999 ' */"),
            6 => {
                let pieces = [
                    "SQL_CALC_FOUND_ROWS",
                    "AS",
                    "IGNORE",
                    "ALL",
                    "(",
                    ")",
                    ",",
                    "FROM",
                    "`a`",
                    "1a",
                    ".5",
                    "a.",
                    "--",
                ];
                words.insert(at, self.one(&pieces));
            }
            _ => return sql.replace(' ', "\n\t"),
        }
        words.join(" ")
    }
}

/// What a user may do with each table: nothing, read it, or write it as well.
fn rights(facts: &Facts, database: &str) -> Option<[u8; 4]> {
    let mut rights = [0_u8; 4];
    if facts.outcome == Outcome::Unknown {
        rights = [1; 4];
    }
    let mut give = |name: &larder::analysis::Name, right: u8| {
        let own = match name.parts() {
            [_] => true,
            [schema, _] => schema == database,
            _ => false,
        };
        if let Some(at) = TABLES.iter().position(|table| own && name.parts().last().is_some_and(|last| last == table)) {
            rights[at] = rights[at].max(right);
        }
    };
    facts.reads.iter().for_each(|name| give(name, 1));
    match &facts.writes {
        Writes::Nothing => {}
        Writes::Tables(names) => names.keys().for_each(|name| give(name, 2)),
        // Nothing is left to be wrong about.
        Writes::Everything => return None,
    }
    Some(rights)
}

/// Whether the table that a user was refused, which may be none of those there are, is among those told.
fn is_told(facts: &Facts, database: &str, refusal: &str) -> bool {
    let told: Vec<&larder::analysis::Name> = match &facts.writes {
        Writes::Tables(names) if !refusal.starts_with("SELECT") => names.keys().collect(),
        Writes::Tables(names) => names.keys().chain(&facts.reads).collect(),
        Writes::Nothing | Writes::Everything => facts.reads.iter().collect(),
    };
    told.iter().any(|name| {
        let (schema, table) = match name.parts() {
            [table] => (database, table),
            [schema, table] => (schema.as_str(), table),
            _ => return false,
        };
        refusal.ends_with(&format!("`{schema}`.`{table}`"))
    })
}

/// A session of a user with these rights, and a new one.
async fn enter(server: &MariaDb, root: &mut MySqlConnection, database: &str, rights: [u8; 4]) -> MySqlConnection {
    let user = format!("{database}_{}", rights.map(|right| right.to_string()).concat());
    // One without any right may not even enter.
    let mut grants = format!(
        "CREATE USER {user}@'%'; CREATE TABLE IF NOT EXISTS door (x INT); GRANT SELECT ON {database}.door TO {user}@'%';"
    );
    for (table, right) in TABLES.iter().zip(rights) {
        grants += match right {
            0 => continue,
            1 => "GRANT SELECT",
            _ => "GRANT SELECT, INSERT, UPDATE, DELETE",
        };
        grants += &format!(" ON {database}.`{table}` TO {user}@'%';");
    }
    root.execute(AssertSqlSafe(grants)).await.unwrap();
    let mut session = MySqlConnection::connect(&server.url_of(&user, database)).await.unwrap();
    session.execute("SET SESSION max_statement_time = 10").await.unwrap();
    session
}

const MODES: &[&str] = &[
    "ANSI_QUOTES",
    "NO_BACKSLASH_ESCAPES",
    "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
    "ANSI,IGNORE_SPACE",
    "PIPES_AS_CONCAT,HIGH_NOT_PRECEDENCE,EMPTY_STRING_IS_NULL,SIMULTANEOUS_ASSIGNMENT",
];

#[tokio::test]
async fn no_table_is_touched_that_is_not_told() {
    const DENIED: [u16; 5] = [1142, 1143, 1044, 1227, 1370];
    let server = MariaDb::aside();
    let database = server.create_database();
    let mut root = MySqlConnection::connect(&server.url(&database)).await.unwrap();
    for table in TABLES {
        let sql = format!(
            "CREATE TABLE `{table}` (id INT PRIMARY KEY AUTO_INCREMENT, x INT); INSERT INTO `{table}` (x) VALUES (1), (2)"
        );
        root.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let mut users: BTreeMap<[u8; 4], MySqlConnection> = BTreeMap::new();
    let seed = seed();
    println!("LARDER_TEST_SEED={seed}");
    let mut maker = Maker(SmallRng::seed_from_u64(seed));
    let until = Instant::now() + how_long(4.0);
    let (mut ran, mut wrote, mut unread, mut wrong) = (0, 0, 0, Vec::new());
    while Instant::now() < until || ran < 150 || wrote < 30 {
        let mut sql = if maker.chance(50) { maker.query(3) } else { maker.write() }.replace("DB", &database);
        if maker.chance(25) {
            sql = maker.twist(&sql);
        }
        let modes = if maker.chance(60) { "" } else { maker.one(MODES) };
        let facts = analyze_in(&sql, Dialect::MySql, SqlMode::of(modes, "utf8mb4"));
        let Some(rights) = rights(&facts, &database) else {
            unread += 1;
            continue;
        };
        let user = match users.entry(rights) {
            Entry::Occupied(user) => user.into_mut(),
            Entry::Vacant(place) => place.insert(enter(server, &mut root, &database, rights).await),
        };
        user.execute(AssertSqlSafe(format!("SET sql_mode = '{modes}'"))).await.unwrap();
        user.execute("BEGIN").await.unwrap();
        let outcome = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut *user).await;
        user.execute("ROLLBACK").await.unwrap();
        match outcome {
            Ok(_) => {
                ran += 1;
                wrote += u32::from(facts.writes != Writes::Nothing);
            }
            Err(sqlx::Error::Database(error)) => {
                let number = error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number();
                if DENIED.contains(&number) && !is_told(&facts, &database, error.message()) {
                    wrong.push(format!("{modes}: {sql}\n    {error}\n    {:?} {:?}", facts.reads, facts.writes));
                }
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    println!("{ran} ran, {wrote} of them wrote, {unread} may do anything");
    assert!(wrong.is_empty(), "{} touched more than was told:\n{}", wrong.len(), wrong.join("\n"));
}

/// Statements of every kind; `t` and `m` are tables, and `m` has an index and no transactions.
const ANY: &[&str] = &[
    "SELECT 1",
    "SELECT * FROM t FOR UPDATE",
    "INSERT INTO t VALUES (5)",
    "REPLACE INTO m VALUES (5)",
    "UPDATE t SET a = 5",
    "DELETE FROM t WHERE a = 77",
    "VALUES (1)",
    "ANALYZE SELECT 1",
    "ANALYZE FORMAT=JSON UPDATE t SET a = 6",
    "ANALYZE TABLE t",
    "ANALYZE LOCAL TABLE t",
    "ANALYZE NO_WRITE_TO_BINLOG TABLES t, m",
    "EXPLAIN UPDATE t SET a = 1",
    "OPTIMIZE TABLE t",
    "OPTIMIZE LOCAL TABLE t",
    "CHECK TABLE t",
    "CHECK VIEW v",
    "CHECKSUM TABLE t",
    "REPAIR TABLE m",
    "CACHE INDEX m IN default",
    "LOAD INDEX INTO CACHE m",
    "CREATE INDEX i ON t (a)",
    "DROP INDEX i ON t",
    "ALTER TABLE t COMMENT 'x'",
    "ALTER TABLE nothing ADD a INT",
    "CREATE TABLE n (a INT)",
    "CREATE TABLE IF NOT EXISTS n (a INT)",
    "CREATE OR REPLACE TABLE n AS SELECT * FROM t",
    "CREATE OR REPLACE TABLE temporary (a INT) SELECT @a := 1 AS b",
    "DROP TABLE temporary",
    "CREATE TABLE n2 LIKE t",
    "DROP TABLE n, n2",
    "DROP TABLE IF EXISTS nothing",
    "CREATE TEMPORARY TABLE x (a INT)",
    "CREATE OR REPLACE TEMPORARY TABLE x AS SELECT * FROM t",
    "DROP TEMPORARY TABLE x",
    "CREATE TEMPORARY SEQUENCE q",
    "DROP TEMPORARY SEQUENCE q",
    "CREATE SEQUENCE s",
    "ALTER SEQUENCE s RESTART 5",
    "SELECT NEXT VALUE FOR s, NEXTVAL(s), SETVAL(s, 50)",
    "DROP SEQUENCE s",
    "TRUNCATE t",
    "TRUNCATE TABLE t",
    "RENAME TABLE t TO t2, t2 TO t",
    "CREATE OR REPLACE VIEW v AS SELECT 1 AS a",
    "ALTER VIEW v AS SELECT 2 AS a",
    "DROP VIEW v",
    "CREATE PROCEDURE p() BEGIN COMMIT; INSERT INTO t VALUES (1); END",
    "CALL p()",
    "ALTER PROCEDURE p COMMENT 'x'",
    "DROP PROCEDURE p",
    "CREATE FUNCTION f() RETURNS INT RETURN 1",
    "SELECT f()",
    "DO f()",
    "DROP FUNCTION f",
    "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
    "DROP TRIGGER g",
    "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 1",
    "ALTER EVENT e DISABLE",
    "DROP EVENT e",
    "CREATE DATABASE other",
    "ALTER DATABASE other CHARACTER SET utf8mb4",
    "DROP DATABASE other",
    "CREATE USER u@localhost",
    "ALTER USER u@localhost ACCOUNT LOCK",
    "RENAME USER u@localhost TO w@localhost",
    "GRANT SELECT ON *.* TO w@localhost",
    "REVOKE SELECT ON *.* FROM w@localhost",
    "SET PASSWORD FOR w@localhost = PASSWORD('x')",
    "SET PASSWORD = PASSWORD('')",
    "DROP USER w@localhost",
    "CREATE ROLE r",
    "SET DEFAULT ROLE NONE",
    "SET ROLE NONE",
    "DROP ROLE r",
    "CREATE SERVER z FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    "DROP SERVER z",
    "INSTALL SONAME 'nothing'",
    "UNINSTALL PLUGIN nothing",
    "LOCK TABLES t READ",
    "LOCK TABLES t WRITE, marks WRITE",
    "UNLOCK TABLES",
    "FLUSH TABLES",
    "FLUSH TABLE t",
    "FLUSH TABLES t WITH READ LOCK",
    "FLUSH TABLES t FOR EXPORT",
    "FLUSH PRIVILEGES",
    "FLUSH STATUS",
    "FLUSH LOCAL LOGS",
    "RESET QUERY CACHE",
    "RESET SLAVE",
    "STOP SLAVE",
    "BACKUP LOCK t",
    "BACKUP UNLOCK",
    "PURGE BINARY LOGS TO 'x'",
    "BEGIN",
    "BEGIN WORK",
    "START TRANSACTION READ ONLY",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
    "COMMIT",
    "COMMIT AND CHAIN",
    "COMMIT WORK NO RELEASE",
    "ROLLBACK",
    "ROLLBACK AND CHAIN",
    "SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "XA START 'x'",
    "XA RECOVER",
    "SET autocommit = 0",
    "SET autocommit = 1",
    "SET @@`autocommit` = 0; SET @@session.autocommit = 1",
    "SET STATEMENT max_statement_time = 100 FOR SELECT 1",
    "SET STATEMENT max_statement_time = 100 FOR COMMIT",
    "SET STATEMENT max_statement_time = 100 FOR CREATE OR REPLACE TABLE n (a INT)",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET @a = 1",
    "SET NAMES utf8mb4",
    "DO 1",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "EXECUTE IMMEDIATE 'COMMIT'",
    "PREPARE s FROM 'COMMIT'",
    "EXECUTE s",
    "DEALLOCATE PREPARE s",
    "PREPARE s FROM 'CREATE OR REPLACE TABLE n (a INT)'",
    "DROP PREPARE s",
    "BEGIN NOT ATOMIC SELECT 1; END",
    "BEGIN NOT ATOMIC COMMIT; END",
    "IF 1 THEN COMMIT; END IF",
    "HANDLER t OPEN",
    "HANDLER t READ FIRST",
    "HANDLER t CLOSE",
    "SHOW TABLES",
    "SHOW CREATE TABLE t",
    "SHOW STATUS WHERE 1",
    "HELP 'SELECT'",
    "DESCRIBE t",
    "KILL QUERY 99999999",
    "USE mysql",
    "SIGNAL SQLSTATE '01000'",
    "GET DIAGNOSTICS @a = NUMBER",
    "SELECT 1 /*! ; COMMIT */",
    "SELECT 1 /*!50000 ; COMMIT */",
    "SELECT 1 /*M! ; COMMIT */",
    "SELECT 1 /*!99999 ' */; COMMIT -- '",
    "/*! COMMIT */",
    "SELECT 1; COMMIT",
];

#[tokio::test]
async fn what_commits_is_told_to_end_the_transaction() {
    // Some of it is of concern to the whole server.
    let server = MariaDb::start();
    let url = server.fresh();
    let mut watch = MySqlConnection::connect(&url).await.unwrap();
    let tables = "CREATE TABLE marks (id INT PRIMARY KEY); CREATE TABLE t (a INT); \
                  CREATE TABLE m (a INT, KEY (a)) ENGINE=MyISAM";
    watch.execute(tables).await.unwrap();
    let (mut committed, mut kept, mut wrong) = (0, 0, Vec::new());
    for (id, sql) in ANY.iter().enumerate() {
        let mut session = MySqlConnection::connect(&url).await.unwrap();
        session.execute(AssertSqlSafe(format!("BEGIN; INSERT INTO marks VALUES ({id})"))).await.unwrap();
        let _ = sqlx::raw_sql(*sql).fetch_all(&mut session).await;
        let _ = session.execute("ROLLBACK").await;
        session.close().await.unwrap();
        let found = format!("SELECT COUNT(*) FROM marks WHERE id = {id}");
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(found)).fetch_one(&mut watch).await.unwrap();
        let facts = analyze(sql, Dialect::MySql);
        match found {
            0 => kept += 1,
            _ => {
                committed += 1;
                if !matches!(facts.transaction, Some(TransactionControl::Begin | TransactionControl::End)) {
                    wrong.push(format!("{sql}: {:?}", facts.transaction));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} commit in secret:\n{}", wrong.len(), wrong.join("\n"));
    assert!(committed > 70 && kept > 30, "the oracle was asked too little: {committed} committed, {kept} did not");
}

/// Two ways to meet, and each kind of value that may be met.
fn meetings() -> Vec<String> {
    const TIMES: &[&str] = &[
        "t",
        "h.t",
        "t2",
        "TIME'10:00:00'",
        "{t '10:00:00'}",
        "CAST('10:00:00' AS TIME)",
        "CONVERT('10:00:00', TIME)",
        "MAKETIME(10, 0, 0)",
        "SEC_TO_TIME(36000)",
        "TIMEDIFF(t2, '01:00:00')",
        "TIME(d)",
        "ADDTIME(t, '0:0')",
        "SUBTIME(t, '0:0')",
        "STR_TO_DATE('10:00:00', '%H:%i:%s')",
        "MAX(t)",
        "(SELECT t FROM h LIMIT 1)",
        "-t",
        "t + 0",
        "t + INTERVAL 1 HOUR",
        "COALESCE(t, t2)",
        "d",
        "'10:00:00'",
        "100000",
        "s",
        "n",
        "y",
        "TIME_FORMAT(t, '%T')",
        "da",
        "MIN(d)",
        "LAST_VALUE(t)",
        "JSON_VALUE('[1]', '$[0]')",
        "HOUR(t)",
        "NULL",
    ];
    const OTHERS: &[&str] = &[
        "d",
        "da",
        "ts",
        "'2023-11-14 10:00:00'",
        "TIMESTAMP'2023-11-14 10:00:00'",
        "s",
        "n",
        "y",
        "20231114100000",
        "MAX(d)",
    ];
    const MEET: &[&str] = &[
        "T = O",
        "O < T",
        "T IN (O, NULL)",
        "O IN (T)",
        "T BETWEEN O AND O",
        "O BETWEEN T AND T",
        "COALESCE(T, O)",
        "IFNULL(O, T)",
        "IF(id = 1, T, O)",
        "CASE id WHEN 1 THEN T ELSE O END",
        "CASE T WHEN O THEN 1 END",
        "NULLIF(T, O)",
        "GREATEST(T, O)",
        "LEAST(O, T)",
        "(T, 1) = (O, 1)",
        "T <=> O",
        "FIELD(T, O)",
        "INTERVAL(O, T)",
        "ELT(1, T, O)",
        "CONCAT(T, O)",
        "T + O",
        "TIMEDIFF(O, T)",
        "ADDTIME(O, T)",
        "TIMESTAMP(O, T)",
        "DATEDIFF(O, T)",
        "TIMESTAMPDIFF(HOUR, T, O)",
        "STRCMP(T, O)",
        "NVL(T, O)",
        "NVL2(id, T, O)",
        "T > ALL (SELECT O FROM h2)",
        "O = ANY (SELECT T FROM h)",
        "LAG(T, 1, O) OVER (ORDER BY id)",
    ];
    const ALONE: &[&str] = &[
        "T",
        "DATE(T)",
        "TIME(T)",
        "TIMESTAMP(T)",
        "YEAR(T)",
        "MONTH(T)",
        "DAY(T)",
        "DAYOFWEEK(T)",
        "DAYNAME(T)",
        "WEEK(T)",
        "QUARTER(T)",
        "LAST_DAY(T)",
        "TO_DAYS(T)",
        "TO_SECONDS(T)",
        "TIME_TO_SEC(T)",
        "UNIX_TIMESTAMP(T)",
        "DATE_FORMAT(T, '%Y %H')",
        "EXTRACT(YEAR FROM T)",
        "EXTRACT(HOUR FROM T)",
        "CONVERT_TZ(T, '+00:00', '+01:00')",
        "CAST(T AS DATETIME)",
        "CAST(T AS DATE)",
        "CONVERT(T, DATETIME)",
        "CAST(T AS CHAR)",
        "CAST(T AS SIGNED)",
        "DATE_ADD(T, INTERVAL 1 DAY)",
        "T + INTERVAL 1 MONTH",
        "INTERVAL 1 DAY + T",
        "ADDDATE(T, 1)",
        "MAKEDATE(2023, T)",
        "FROM_UNIXTIME(T)",
        "FROM_DAYS(T)",
        "SEC_TO_TIME(T)",
        "DISTINCT T",
        "JSON_ARRAY(T)",
        "HEX(T)",
        "ROUND(T)",
        "ADD_MONTHS(T, 1)",
        "PERIOD_ADD(T, 1)",
        "WEEKDAY(T)",
        "MONTHNAME(T)",
    ];
    let mut all = Vec::new();
    let put = |shape: &str, time: &str, other: &str| {
        // A single capital is a place for a value.
        shape
            .split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map(|piece| {
                let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let rest = &piece[word.len()..];
                match word {
                    "T" => format!("{time}{rest}"),
                    "O" => format!("{other}{rest}"),
                    _ => piece.to_owned(),
                }
            })
            .collect::<String>()
    };
    for time in TIMES {
        all.extend(ALONE.iter().map(|shape| format!("SELECT {} FROM h", put(shape, time, "d"))));
        for other in OTHERS {
            for shape in MEET {
                let met = put(shape, time, other);
                all.push(format!("SELECT {met} AS x FROM h"));
            }
            all.push(format!("SELECT id FROM h HAVING {time} = {other}"));
            all.push(format!("SELECT {time} AS o, d, s FROM h HAVING o = {other}"));
            all.push(format!("SELECT {time} FROM h UNION SELECT {other} FROM h"));
            all.push(format!("SELECT x.o = x.e FROM (SELECT {time} AS o, {other} AS e FROM h) x"));
            all.push(format!("WITH x (o, e) AS (SELECT {time}, {other} FROM h) SELECT o FROM x WHERE o < e"));
            all.push(format!("SELECT {time} AS o, id FROM h ORDER BY GREATEST(o, {other}), id"));
        }
    }
    let others = [
        "SELECT id, t FROM h ORDER BY t, id",
        "SELECT * FROM h WHERE id = 1",
        "SELECT h.* FROM h ORDER BY h.t2",
        "SELECT t AS 'o', d FROM h HAVING o = d",
        "SELECT t AS `o`, d FROM h HAVING o = d",
        "SELECT DISTINCT t, t2 FROM h",
        "SELECT t, COUNT(*) FROM h GROUP BY t",
        "SELECT h.id, hd.id FROM h JOIN hd USING (t)",
        "SELECT h.id FROM h NATURAL JOIN hd",
        "SELECT h.id, h2.id FROM h JOIN h2 ON h2.d = h.t",
        "SELECT * FROM (SELECT * FROM h) x WHERE x.t = x.d",
        "SELECT * FROM (SELECT * FROM hd) x WHERE x.t = x.k",
        "SELECT * FROM hd UNION SELECT id, k, t FROM hd",
        "SELECT * FROM hd EXCEPT SELECT * FROM hd2",
        "SELECT id FROM hd WHERE (id, t, k) IN (SELECT * FROM hd2)",
        "WITH x (a, b, c) AS (SELECT * FROM hd) SELECT a FROM x WHERE b = c",
        "SELECT DATE(d), TIMEDIFF(t, t2), SEC_TO_TIME(SUM(id)) FROM h GROUP BY t, t2, d",
        "SELECT TIMEDIFF(t2, t) FROM h HAVING `TIMEDIFF(t2, t)` = MAX(d)",
        "SELECT * FROM (VALUES (TIME'10:00:00'), (TIMESTAMP'2023-11-14 10:00:00')) v, h",
        "SELECT j.a FROM h, JSON_TABLE('[\"10:00:00\"]', '$[*]' COLUMNS (a TIME PATH '$')) j WHERE j.a = h.d",
    ];
    all.extend(others.map(str::to_owned));
    all
}

#[tokio::test]
async fn no_answer_that_may_be_kept_takes_todays_date() {
    // Of `h`, `h2` and `hd`.
    const TIMES: &[&str] = &["t", "t2", "k"];
    let mut database = MySqlConnection::connect(&MariaDb::aside().fresh()).await.unwrap();
    database
        .execute(
            "CREATE TABLE h (id INT PRIMARY KEY, t TIME(6), t2 TIME, d DATETIME, da DATE, ts TIMESTAMP NULL, y YEAR, \
                s VARCHAR(40), n BIGINT); \
             INSERT INTO h VALUES \
                (1, '10:00:00', '11:00:00', '2023-11-14 10:00:00', '2023-11-14', '2023-11-14 10:00:00', 2023, \
                    '2023-11-14 10:00:00', 20231114100000), \
                (2, '12:00:00', '12:00:00', '2024-06-01 12:00:00', '2024-06-01', '2024-06-01 12:00:00', 2024, '12:00:00', 120000), \
                (3, '-01:00:00', '99:00:00', '2027-01-15 10:00:00', '2027-01-15', '2027-01-15 08:00:00', 2027, '10:00:00', 100000); \
             CREATE TABLE h2 AS SELECT id, t, d FROM h; CREATE TABLE hd (id INT, t DATETIME, k TIME); \
             INSERT INTO hd VALUES (1, '2023-11-14 10:00:00', '10:00:00'), (2, '2027-01-15 10:00:00', '10:00:00'); \
             CREATE TABLE hd2 AS SELECT id, k, t FROM hd",
        )
        .await
        .unwrap();
    let (mut kept, mut differ, mut wrong) = (0, 0, Vec::new());
    for sql in meetings() {
        let facts = analyze(&sql, Dialect::MySql);
        let met = |column: &str| facts.meets_unnamed || facts.mentions.met.contains(column);
        // As the gate has it; `t` of `hd` is a moment, and to take it for a time of day costs nothing but a chance.
        let cached = facts.cacheable() && !TIMES.iter().any(|column| met(column));
        let mut answers = Vec::new();
        for moment in [1_700_000_000, 1_800_007_000] {
            database.execute(AssertSqlSafe(format!("SET time_zone = '+00:00', timestamp = {moment}"))).await.unwrap();
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut database).await;
            answers.push(rows.ok().map(|rows| rows.iter().map(|row| format!("{:?}", values(row))).collect::<Vec<_>>()));
        }
        let is_other = answers[0] != answers[1];
        differ += u32::from(is_other);
        kept += u32::from(cached && answers[0].is_some());
        if is_other && cached {
            wrong.push(sql);
        }
    }
    assert!(wrong.is_empty(), "{} take today's date:\n{}", wrong.len(), wrong.join("\n"));
    assert!(kept > 1000 && differ > 1000, "the oracle was asked too little: {kept} may be kept, {differ} differ");
}

#[tokio::test]
async fn functions_that_may_be_kept_depend_on_their_arguments() {
    const ARGUMENTS: &[&str] = &[
        "",
        "1",
        "'a'",
        "NULL",
        "1, 2",
        "'a', 1",
        "'a', 'b'",
        "1, 2, 3",
        "'a', 1, 2",
        "'a', 'b', 'c'",
        "'[1]'",
        "'[1]', '$[0]'",
        "'2024-01-01'",
        "'2024-01-01', 1",
        "'2024-01-01 10:00:00', '%Y %H'",
        "'2024-01-01', '2024-02-01'",
        "x",
        "x, 'a'",
        "*",
    ];
    let url = MariaDb::aside().fresh();
    let mut sessions = [MySqlConnection::connect(&url).await.unwrap(), MySqlConnection::connect(&url).await.unwrap()];
    sessions[0].execute("CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, x INT)").await.unwrap();
    for (at, session) in sessions.iter_mut().enumerate() {
        let state = format!(
            "INSERT INTO a (x) VALUES (5); SET timestamp = {}; SELECT * FROM a",
            1_700_000_000 + at * 100_000_000
        );
        session.execute(AssertSqlSafe(state)).await.unwrap();
    }
    let names =
        "SELECT FUNCTION FROM information_schema.SQL_FUNCTIONS UNION SELECT WORD FROM information_schema.KEYWORDS";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut sessions[0]).await.unwrap();
    let (mut same, mut wrong) = (0, Vec::new());
    for name in names {
        for arguments in ARGUMENTS {
            let sql = format!("SELECT {name}({arguments}) AS y FROM a ORDER BY id LIMIT 1");
            if !analyze(&sql, Dialect::MySql).cacheable() {
                continue;
            }
            let mut answers = Vec::new();
            for session in &mut sessions {
                let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(session).await;
                answers.push(
                    rows.ok().map(|rows| rows.iter().map(|row| format!("{:?}", values(row))).collect::<Vec<_>>()),
                );
            }
            same += u32::from(answers[0].is_some());
            if answers[0] != answers[1] {
                wrong.push(sql);
            }
        }
    }
    assert!(wrong.is_empty(), "{} depend on more than their arguments:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same > 500, "the oracle was asked too little: {same} ran");
}

#[test]
fn a_time_of_day_is_kept_unless_it_meets_something() {
    alone(times_of_day());
}

async fn times_of_day() {
    let inner = sqlx::MySqlPool::connect(&MariaDb::shared().fresh()).await.unwrap();
    let pool = CachedPool::builder(inner, Sessions::Uniform).sole_writer().build().await.unwrap();
    pool.execute("CREATE TABLE hours (id INT PRIMARY KEY, day DATE, opens TIME, Closes TIME, made DATETIME)")
        .await
        .unwrap();
    pool.execute("INSERT INTO hours VALUES (1, '2024-01-01', '10:00', '18:00', '2024-01-01 10:00:00')").await.unwrap();
    let time = MySqlTime::try_from(std::time::Duration::from_secs(36_000)).unwrap();
    macro_rules! is_kept {
        ($sql:expr, $($argument:expr),*) => {{
            let read = || async { sqlx::query($sql)$(.bind($argument))*.fetch_all(&pool).await };
            was_hit(&pool, read()).await;
            was_hit(&pool, read()).await.1
        }};
    }
    assert!(is_kept!("SELECT id, opens, closes FROM hours WHERE day = ? ORDER BY opens", "2024-01-01"));
    assert!(is_kept!("SELECT * FROM hours WHERE id = ?", 1));
    assert!(is_kept!("SELECT DATE(made), YEAR(day), made + INTERVAL 1 DAY FROM hours WHERE id = ?", 1));
    assert!(!is_kept!("SELECT id FROM hours WHERE day = ?", time), "a bound time of day meets a date");
    assert!(!is_kept!("SELECT id FROM hours WHERE opens = ?", "2024-01-01 10:00:00"));
    assert!(!is_kept!("SELECT id FROM hours WHERE CLOSES > made AND id = ?", 1));
    assert!(!is_kept!("SELECT x.id FROM (SELECT * FROM hours) x WHERE x.id = ?", 1));
    assert!(!is_kept!("SELECT id FROM hours WHERE MAKETIME(10, 0, 0) = made AND id = ?", 1));
    assert!(!is_kept!("SELECT DATE(opens) FROM hours WHERE id = ?", 1));
}

fn values(row: &sqlx::mysql::MySqlRow) -> Vec<Option<Vec<u8>>> {
    use sqlx::Row;
    (0..row.len()).map(|at| row.get_unchecked::<Option<Vec<u8>>, usize>(at)).collect()
}
