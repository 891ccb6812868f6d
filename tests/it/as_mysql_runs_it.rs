//! What the analysis says of statements of MySQL, held against a server that runs them.
//!
//! Three oracles know better than any manual. A user who has rights on the tables that a statement is said to touch, and
//! on no other, is refused whatever touches another. What was written in a transaction that is rolled back is gone, unless a
//! statement committed it. And an answer that is another one tomorrow depends on the clock.
//!
//! Replay with `LARDER_TEST_SEED=<seed>`, which the test prints; more with `LARDER_TEST_SECONDS=<seconds>`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use larder::analysis::{Dialect, Facts, Outcome, SqlMode, TransactionControl, Writes, analyze, analyze_in};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use crate::servers::MariaDb;

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
        let name = self.one(&["a", "b", "c", "`a`", "`b`", "`c`", "`dual`"]);
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
            6 => "'a;b # -- /*'".to_owned(),
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
            29 => format!("EXPLAIN UPDATE {t} SET x = {value}"),
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
        Writes::Tables(names) => names.iter().for_each(|name| give(name, 2)),
        // Nothing is left to be wrong about.
        Writes::Everything => return None,
    }
    Some(rights)
}

#[tokio::test]
async fn no_table_is_touched_that_is_not_told() {
    const DENIED: [u16; 5] = [1142, 1143, 1044, 1227, 1370];
    let server = MariaDb::shared();
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
    while Instant::now() < until {
        let mut sql = if maker.chance(50) { maker.query(3) } else { maker.write() }.replace("DB", &database);
        if maker.chance(25) {
            sql = maker.twist(&sql);
        }
        let facts = analyze(&sql, Dialect::MySql);
        let Some(rights) = rights(&facts, &database) else {
            unread += 1;
            continue;
        };
        if !users.contains_key(&rights) {
            let user = format!("{database}_{}", rights.map(|right| right.to_string()).concat());
            let mut grants = format!("CREATE USER {user}@'%';");
            for (table, right) in TABLES.iter().zip(rights) {
                grants += match right {
                    0 => continue,
                    1 => "GRANT SELECT",
                    _ => "GRANT SELECT, INSERT, UPDATE, DELETE",
                };
                grants += &format!(" ON {database}.`{table}` TO {user}@'%';");
            }
            root.execute(AssertSqlSafe(grants)).await.unwrap();
            // One without any right may not even enter.
            let enter =
                format!("CREATE TABLE IF NOT EXISTS door (x INT); GRANT SELECT ON {database}.door TO {user}@'%'");
            root.execute(AssertSqlSafe(enter)).await.unwrap();
            let mut user = MySqlConnection::connect(&server.url_of(&user, &database)).await.unwrap();
            // As the facts are for the default mode, but for what `||` means.
            user.execute("SET SESSION max_statement_time = 1").await.unwrap();
            users.insert(rights, user);
        }
        let user = users.get_mut(&rights).unwrap();
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
                if DENIED.contains(&number) {
                    wrong.push(format!("{sql}\n    {error}\n    {:?} {:?}", facts.reads, facts.writes));
                }
            }
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    println!("{ran} ran, {wrote} of them wrote, {unread} may do anything");
    assert!(wrong.is_empty(), "{} touched more than was told:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran > 100 && wrote > 20, "the oracle was asked too little: {ran} ran, {wrote} wrote, {unread} unread");
}
