//! What may depend on a column is told from the text alone: it names the column, or it may read columns without naming them.
//!
//! Two oracles know better. PostgreSQL and MySQL check the rights on each column that a query reads: one that runs for a role
//! which may read all columns but one reads nothing of that one. And on every database, an answer that is another when the column
//! holds something else depends on it.

use larder::analysis::{Dialect, analyze};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};

use crate::servers::{MariaDb, Postgres};

const COLUMN: &str = "secret";

/// Whether results of a statement that reads a table with the column may be kept.
fn may_be_kept(sql: &str, dialect: Dialect) -> bool {
    let facts = analyze(sql, dialect);
    let names = facts.mentions.identifiers.iter().any(|name| name.eq_ignore_ascii_case(COLUMN));
    facts.cacheable() && !facts.unnamed_columns && !names
}

const DIALECTS: [(char, Dialect); 3] = [('p', Dialect::Postgres), ('m', Dialect::MySql), ('s', Dialect::Sqlite)];

/// The dialects, and a statement that certainly does not read the column.
const KEPT: &[(&str, &str)] = &[
    ("pms", "SELECT id, name FROM users"),
    ("pms", "SELECT u.id AS number, u.name FROM users AS u WHERE u.id = 1 ORDER BY u.name, 1"),
    ("pms", "SELECT count(*) FROM users"),
    ("pms", "SELECT COUNT ( * ) AS n, max(id) FROM shop.users GROUP BY name HAVING count(*) > 1"),
    ("pms", "SELECT id * CASE WHEN id = 1 THEN 1 END, id * 2, 3 * id, (id) * (id), id * -1 FROM users"),
    ("pms", "SELECT u.id FROM users u JOIN orders o ON o.owner = u.id LEFT JOIN orders p USING (id)"),
    ("pms", "SELECT a.id FROM users a, users b WHERE a.id = b.id"),
    ("pms", "WITH x AS (SELECT id FROM users) SELECT x.id FROM x JOIN x AS y ON x.id = y.id"),
    ("pms", "WITH x (a) AS (SELECT id FROM users) SELECT a FROM x"),
    ("pms", "SELECT d.n FROM (SELECT id AS n FROM users) AS d"),
    ("pms", "SELECT id FROM users UNION ALL SELECT owner FROM orders"),
    ("pms", "SELECT id FROM users WHERE EXISTS (SELECT 1 FROM orders WHERE owner = users.id)"),
    ("pms", "SELECT id FROM users WHERE id IN (SELECT owner FROM orders)"),
    ("pms", "SELECT id FROM users WHERE name = 'secret *'"),
    ("m", "SELECT \"secret\" FROM users"),
    ("ps", "SELECT id FROM \"users\" WHERE \"users\".\"id\" = 1"),
    ("p", "SELECT id FROM users, unnest($1::int[]) AS wanted WHERE id = wanted"),
    ("p", "SELECT id FROM users, LATERAL (SELECT name) AS l (n) WHERE l.n = 'x'"),
    ("p", "SELECT DISTINCT ON (name) name, id FROM ONLY users ORDER BY name, id"),
    ("p", "SELECT j FROM users u JOIN users v USING (id) AS j"),
    ("p", "SELECT max(id) OVER w FROM users u WINDOW w AS (PARTITION BY u.name)"),
];

/// The dialects, and a statement that reads the column, or would if it ran, or is too much like one that does.
const NOT_KEPT: &[(&str, &str)] = &[
    ("pms", "SELECT secret FROM users"),
    ("pms", "SELECT SECRET FROM users"),
    ("pms", "SELECT id FROM users WHERE secret = 'x'"),
    ("pms", "SELECT id FROM users ORDER BY users.secret"),
    ("pms", "SELECT * FROM users"),
    ("pms", "SELECT id, * FROM users"),
    ("pms", "SELECT DISTINCT * FROM users"),
    ("pms", "SELECT ALL * FROM users"),
    ("pms", "SELECT users.* FROM users"),
    ("pms", "SELECT u . * FROM users u"),
    ("pms", "SELECT/**/*/**/FROM users"),
    ("pms", "SELECT id FROM (SELECT * FROM users) AS x"),
    ("pms", "WITH x AS (SELECT * FROM users) SELECT id FROM x"),
    ("pms", "WITH x (a, b, c) AS (SELECT * FROM users) SELECT c FROM x"),
    ("pms", "SELECT id FROM users WHERE EXISTS (SELECT * FROM users)"),
    ("pms", "SELECT id FROM users WHERE id IN (SELECT * FROM users)"),
    ("pms", "SELECT (SELECT count(*) FROM (SELECT * FROM users) AS x)"),
    ("pms", "SELECT 1, 2, 3 FROM orders UNION SELECT * FROM users"),
    ("pms", "SELECT u.id FROM users u NATURAL JOIN users v"),
    ("pms", "SELECT u.id FROM users u natural left join users v"),
    ("pms", "SELECT count(users.*) FROM users"),
    ("pms", "SELECT id FROM users JOIN users AS v USING (secret)"),
    ("pm", "TABLE users"),
    ("pm", "SELECT id FROM (TABLE users) AS x"),
    ("pm", "SELECT c FROM users AS u (a, b, c)"),
    ("p", "SELECT c FROM users u (a, b, c)"),
    ("p", "SELECT c FROM (users CROSS JOIN orders) AS j (a, b, c)"),
    ("p", "SELECT j FROM (users CROSS JOIN orders) AS j"),
    ("p", "SELECT u FROM users u"),
    ("p", "SELECT users FROM users"),
    ("p", "SELECT public.users FROM public.users"),
    ("p", "SELECT U FROM users u"),
    ("p", "SELECT \"u\" FROM users u"),
    ("p", "SELECT u::text FROM users u"),
    ("p", "SELECT (u)::text FROM users u"),
    ("p", "SELECT (u).* FROM users u"),
    ("p", "SELECT (users).* FROM users"),
    ("p", "SELECT (u).secret FROM users u"),
    ("p", "SELECT secret(u) FROM users u"),
    ("p", "SELECT row_to_json(u) FROM users u"),
    ("p", "SELECT to_jsonb(u.*) FROM users u"),
    ("p", "SELECT ROW(u.*) FROM users u"),
    ("p", "SELECT jsonb_agg(u ORDER BY id) FROM users u"),
    ("p", "SELECT u.to_jsonb FROM users u"),
    ("p", "SELECT u.row_to_json FROM users u"),
    ("p", "SELECT users.quote_literal FROM users"),
    ("p", "SELECT id FROM users u WHERE u IS NULL"),
    ("p", "SELECT id FROM users u WHERE u = ROW (1, 'a', 's')"),
    ("p", "SELECT a.id FROM users a JOIN users b ON a = b"),
    ("p", "SELECT id FROM users u ORDER BY u"),
    ("p", "SELECT count(DISTINCT u) FROM users u"),
    ("p", "SELECT max(id) OVER (PARTITION BY u) FROM users u"),
    ("p", "SELECT id FROM users u GROUP BY id, u"),
    ("p", "SELECT x.id FROM users u, LATERAL (SELECT u) AS x (id)"),
    ("p", "SELECT (SELECT u) FROM users u"),
    ("p", "SELECT users FROM ONLY (users)"),
    ("p", "SELECT max(id) OVER w FROM users u WINDOW w AS (PARTITION BY u)"),
    ("p", "SELECT count(*) FROM users u GROUP BY GROUPING SETS ((u), ())"),
    ("p", "SELECT id FROM users u WHERE (SELECT v IS NOT NULL FROM (SELECT u) AS x (v))"),
    ("p", "WITH x AS (SELECT u FROM users u) SELECT x FROM x"),
    ("p", "SELECT id FROM users u JOIN LATERAL (VALUES (u)) AS x (v) ON v IS NOT NULL"),
    ("p", "SELECT string_agg(name, '' ORDER BY u) FROM users u"),
    ("p", "SELECT count(*) FILTER (WHERE u IS NULL) FROM users u"),
    ("p", "SELECT CASE u WHEN NULL THEN 1 END FROM users u"),
    ("p", "SELECT COALESCE(u, u) IS NULL FROM users u"),
    ("p", "SELECT id FROM users u WHERE u IN (SELECT v FROM users v)"),
    ("p", "SELECT id FROM users u FETCH FIRST (SELECT length(u::text)) ROWS ONLY"),
    ("p", "SELECT id FROM users AS \"U\" WHERE \"U\" IS NULL"),
    ("p", "SELECT id FROM users AS \"u\"\"v\" WHERE \"u\"\"v\" IS NULL"),
    ("p", "SELECT ARRAY(SELECT u FROM users u)"),
    ("p", "SELECT id FROM users u WHERE (1, u) IN (SELECT 1, v FROM users v)"),
    ("p", "SELECT x.v FROM users u, jsonb_each_text(to_jsonb(u)) AS x (k, v)"),
    ("p", "SELECT xmlelement(name foo, u) FROM users u"),
    ("p", "SELECT xmlforest(u) FROM users u"),
    ("p", "SELECT U&\"secre\\0074\" FROM users"),
    ("p", "SELECT DISTINCT ON (id) * FROM users"),
    ("p", "SELECT DISTINCT ON (id) *, name FROM users"),
    ("ms", "SELECT `secret` FROM users"),
    ("s", "SELECT [secret] FROM users"),
    ("ps", "SELECT \"secret\" FROM users"),
    ("m", "SELECT _rowid FROM users"),
    ("m", "SELECT SQL_NO_CACHE * FROM users"),
    ("m", "SELECT HIGH_PRIORITY users.* FROM users"),
    ("s", "SELECT rowid FROM users"),
    ("s", "SELECT users.OID FROM users"),
    ("s", "SELECT \"_rowid_\" FROM users"),
    ("s", "SELECT users.'secret' FROM users"),
    ("s", "SELECT u.id FROM users u JOIN users v USING ('secret')"),
    ("s", "SELECT 1 FROM orders WHERE id IN users"),
];

#[test]
fn every_statement_is_told_as_the_lists_say() {
    let mut wrong = Vec::new();
    for (list, kept) in [(KEPT, true), (NOT_KEPT, false)] {
        for (dialects, sql) in list {
            for (_, dialect) in DIALECTS.iter().filter(|(letter, _)| dialects.contains(*letter)) {
                if may_be_kept(sql, *dialect) != kept {
                    let facts = analyze(sql, *dialect);
                    let refusals = &facts.refusals;
                    wrong.push(format!("{dialect:?}: {sql}: unnamed {}, {refusals:?}", facts.unnamed_columns));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A reserved word is a name after a dot.
#[test]
fn a_column_called_like_a_key_word_is_seen() {
    for (dialect, sql) in [
        (Dialect::Postgres, "SELECT u.user FROM users u"),
        (Dialect::Postgres, "SELECT u.order FROM users u"),
        (Dialect::MySql, "SELECT u.order FROM users u"),
    ] {
        let facts = analyze(sql, dialect);
        let column = if sql.contains("order") { "order" } else { "user" };
        assert!(!facts.cacheable() || facts.mentions.identifiers.contains(column), "{sql}: {:?}", facts.mentions);
    }
}

/// Every way to write an expression, a source of rows and what follows, combined.
fn statements(dialect: Dialect) -> Vec<String> {
    let mut projections = vec![
        "id",
        "u.id",
        "name, id",
        "u.name AS n",
        "*",
        "u.*",
        "u.*, id",
        "id, *",
        "count(*)",
        "count(*) + 1",
        "id * 2",
        "DISTINCT name",
        "DISTINCT *",
        "count(id)",
        "max(name)",
        "1",
        "secret",
        "u.secret",
        "length(u.secret)",
        "\"name\"",
        "\"secret\"",
        "'secret'",
        "coalesce(name, 'x')",
        "CASE WHEN id = 1 THEN name END",
        "(SELECT max(id) FROM users)",
        "(SELECT max(v.name) FROM users v)",
        "(SELECT count(*) FROM users v)",
        "EXISTS (SELECT * FROM users v WHERE v.id = u.id)",
        "EXISTS (SELECT 1 FROM users v WHERE v.id = u.id)",
        "(SELECT count(*) FROM (SELECT * FROM users) AS x)",
        "u.id IN (SELECT id FROM users)",
        "(SELECT max(x.c) FROM (SELECT secret AS c FROM users) AS x)",
    ];
    let mut sources = vec![
        "users u",
        "users AS u",
        "(SELECT id, name FROM users) AS u",
        "(SELECT * FROM users) AS u",
        "users u JOIN orders o ON o.owner = u.id",
        "users u JOIN users v USING (id)",
        "users u NATURAL JOIN users v",
        "users u CROSS JOIN orders o",
        "(users u JOIN orders o ON o.owner = u.id)",
        "users u, orders o",
        "users u LEFT JOIN (SELECT id FROM users) AS v ON v.id = u.id",
        "users u JOIN users v USING (secret)",
    ];
    let tails = match dialect {
        Dialect::Postgres => {
            projections.extend([
                "u",
                "u::text",
                "(u).name",
                "(u).secret",
                "row_to_json(u)",
                "to_jsonb(u)",
                "u.to_jsonb",
                "u.row_to_json",
                "u IS NULL",
                "count(u)",
                "count(DISTINCT u)",
                "count(u.*)",
                "ROW(u.*)",
                "array_agg(u)",
                "(SELECT u)",
                "jsonb_agg(u)",
                "string_agg(u::text, ',')",
                "u = ROW(1, 'a', 's')",
                "(u).*",
                "md5(u::text)",
                "u.num_nulls",
                "json_build_object('a', u)",
                "max(id) OVER (PARTITION BY u)",
                "jsonb_build_array(u.id, u.name)",
                "ARRAY(SELECT v FROM users v)",
                "DISTINCT ON (u.id) u.name",
                "DISTINCT ON (u) u.name",
                "to_jsonb(u) - 'secret'",
                "(to_jsonb(u)) ->> 'name'",
                "users",
                "concat(u)",
                "xmlforest(u.name)",
                "w",
                "w.l",
                "j",
                "(w).l",
            ]);
            sources.extend([
                "(TABLE users) AS u",
                "users AS u (a, b, c)",
                "ONLY users u",
                "users * u",
                "public.users u",
                "users u, LATERAL (SELECT u.name AS l) AS w",
                "users u, LATERAL (SELECT u AS l) AS w",
                "users u, LATERAL jsonb_each_text(to_jsonb(u)) AS w",
                "(users u CROSS JOIN (SELECT 1 AS one) AS w) AS j (id, name, c, d)",
                "users u, unnest(ARRAY[1, 2]) AS w",
                "users u JOIN users v USING (id, name) AS w",
                "users",
            ]);
            vec![
                "",
                "WHERE u.id = 1",
                "WHERE u IS NOT NULL",
                "ORDER BY 1",
                "ORDER BY u",
                "ORDER BY u.id",
                "GROUP BY u.id, u.name",
            ]
        }
        Dialect::MySql => {
            projections.extend([
                "_rowid",
                "u._rowid",
                "`secret`",
                "`u`.*",
                "u . secret",
                "SQL_NO_CACHE *",
                "STRAIGHT_JOIN u.*",
                "GROUP_CONCAT(name)",
                "GROUP_CONCAT(DISTINCT secret ORDER BY id)",
                "COUNT(DISTINCT id, name)",
                "COUNT(DISTINCT secret)",
                "JSON_OBJECT('a', name)",
                "DEFAULT(secret)",
                "(SELECT COUNT(*) FROM users v NATURAL JOIN users w)",
                "(SELECT COUNT(*) FROM users v JOIN users w USING (secret))",
                "(u.id, u.name) IN (SELECT id, name FROM users)",
                "(u.id, u.name, 'one') IN (SELECT * FROM users)",
                "u.id IN (VALUES (1), (2))",
                "CASE u.name WHEN \"b\" THEN 1 END",
                "ROW_NUMBER() OVER (ORDER BY secret, id)",
                "MAX(id) OVER (PARTITION BY name)",
            ]);
            sources.extend([
                "users",
                "users AS `u`",
                "users u USE INDEX (PRIMARY)",
                "(users u, orders o)",
                "users u STRAIGHT_JOIN orders o",
                "{oj users u LEFT JOIN orders o ON o.owner = u.id}",
                "users u, JSON_TABLE('[1]', '$[*]' COLUMNS (k FOR ORDINALITY)) j",
                "users u NATURAL LEFT JOIN orders o",
                "(SELECT id, name FROM users UNION SELECT id, owner FROM orders) u",
                "(SELECT id, name, secret AS s FROM users) u",
            ]);
            vec![
                "",
                "WHERE u.id = 1",
                "WHERE u._rowid = 1",
                "HAVING id = 1",
                "ORDER BY 1",
                "ORDER BY secret",
                "GROUP BY u.id, u.name",
                "GROUP BY u.id WITH ROLLUP",
                "WHERE (id, secret) = (1, 'one')",
            ]
        }
        Dialect::Sqlite => {
            projections.extend([
                "rowid",
                "u.rowid",
                "_rowid_",
                "oid",
                "u.'name'",
                "u.'secret'",
                "[secret]",
                "`secret`",
                "typeof(name)",
                "id IN users",
                "(id, name) IN (SELECT id, name FROM users)",
                "total(id)",
                "group_concat(name)",
                "'u'.*",
            ]);
            sources.extend([
                "users u JOIN users v USING ('id')",
                "users u JOIN users v USING (\"secret\")",
                "main.users u",
                "users u JOIN users v USING ('secret')",
                "users",
                "users AS 'u'",
            ]);
            vec![
                "",
                "WHERE u.id = 1",
                "WHERE id NOT NULL",
                "ORDER BY 1",
                "ORDER BY secret",
                "GROUP BY id",
                "WHERE id = rowid",
            ]
        }
    };
    let mut all = Vec::new();
    for projection in &projections {
        for source in &sources {
            all.extend(tails.iter().map(|tail| format!("SELECT {projection} FROM {source} {tail}")));
        }
    }
    let listed = KEPT.iter().chain(NOT_KEPT).map(|(_, sql)| (*sql).to_owned());
    all.into_iter().chain(listed).collect()
}

/// The key is not read by its other names: what those show is asked of other tests.
const SETUP: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, secret TEXT);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, owner INTEGER);
    INSERT INTO users VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'b', NULL);
    INSERT INTO orders VALUES (10, 1), (11, 2), (12, 2)";
/// As different as can be: other lengths, another order, other ties, other NULLs.
const OTHERWISE: &str = "UPDATE users SET secret = CASE id WHEN 1 THEN NULL WHEN 2 THEN 'another' ELSE 'a' END";

#[tokio::test]
async fn what_may_be_kept_runs_without_the_right_to_read_the_column() {
    let mut owner = PgConnection::connect(&Postgres::shared().fresh()).await.unwrap();
    let role = "no_secrets";
    owner.execute(SETUP).await.unwrap();
    // Roles belong to all databases of a server.
    let rights = format!(
        "DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
         GRANT SELECT (id, name) ON users TO {role}; GRANT SELECT ON orders TO {role}; SET ROLE {role}"
    );
    owner.execute(AssertSqlSafe(rights)).await.unwrap();
    let (mut ran, mut denied, mut wrong) = (0, 0, Vec::new());
    for sql in statements(Dialect::Postgres) {
        let kept = may_be_kept(&sql, Dialect::Postgres);
        // It checks rights without running.
        match owner.execute(AssertSqlSafe(format!("EXPLAIN {sql}"))).await {
            Ok(_) if kept => ran += 1,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
                denied += 1;
                if kept {
                    wrong.push(sql);
                }
            }
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    assert!(wrong.is_empty(), "{} read the column unseen:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran > 500 && denied > 1500, "the oracle was asked too little: {ran} ran, {denied} were denied");
}

#[tokio::test]
async fn what_may_be_kept_runs_without_the_right_to_read_the_column_in_mysql() {
    let server = MariaDb::aside();
    let database = server.create_database();
    let mut owner = MySqlConnection::connect(&server.url(&database)).await.unwrap();
    owner.execute(SETUP).await.unwrap();
    let user = format!("{database}_no_secrets");
    let rights = format!(
        "CREATE USER {user}@'%'; GRANT SELECT (id, name) ON users TO {user}@'%'; GRANT SELECT ON orders TO {user}@'%'"
    );
    owner.execute(AssertSqlSafe(rights)).await.unwrap();
    let mut user = MySqlConnection::connect(&server.url_of(&user, &database)).await.unwrap();
    let (mut ran, mut denied, mut wrong) = (0, 0, Vec::new());
    for sql in statements(Dialect::MySql) {
        let kept = may_be_kept(&sql, Dialect::MySql);
        // It checks rights without running.
        match sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN {sql}"))).execute(&mut user).await {
            Ok(_) if kept => ran += 1,
            Err(sqlx::Error::Database(error)) => {
                let number = error.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number();
                if [1142, 1143].contains(&number) {
                    denied += 1;
                    // Nor does it tell anybody that there is no column of a name, or no table.
                    let another = error.message().contains("for column '") && !error.message().contains("'secret'");
                    if kept && !another && !sql.contains("shop.") {
                        wrong.push(format!("{sql}: {error}"));
                    }
                }
            }
            Ok(_) => {}
            Err(error) => panic!("{sql}: {error}"),
        }
    }
    assert!(wrong.is_empty(), "{} read the column unseen:\n{}", wrong.len(), wrong.join("\n"));
    assert!(ran > 500 && denied > 1500, "the oracle was asked too little: {ran} ran, {denied} were denied");
}

#[tokio::test]
async fn no_answer_that_may_be_kept_depends_on_the_column_in_mysql() {
    let mut database = MySqlConnection::connect(&MariaDb::aside().fresh()).await.unwrap();
    database.execute(SETUP).await.unwrap();
    let kept: Vec<String> =
        statements(Dialect::MySql).into_iter().filter(|sql| may_be_kept(sql, Dialect::MySql)).collect();
    let mut answers = Vec::new();
    for values in ["SELECT 1", OTHERWISE] {
        database.execute(values).await.unwrap();
        let mut here = Vec::new();
        for sql in &kept {
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut database).await;
            here.push(
                rows.map(|rows| {
                    let text = |row: &sqlx::mysql::MySqlRow, at| row.get_unchecked::<Option<Vec<u8>>, usize>(at);
                    let mut rows: Vec<Vec<_>> =
                        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect();
                    rows.sort();
                    rows
                })
                .ok(),
            );
        }
        answers.push(here);
    }
    compare(&kept, &answers[0], &answers[1], 500);
}

#[tokio::test]
async fn no_answer_that_may_be_kept_depends_on_the_column_in_postgres() {
    let mut database = PgConnection::connect(&Postgres::shared().fresh()).await.unwrap();
    database.execute(SETUP).await.unwrap();
    let kept: Vec<String> =
        statements(Dialect::Postgres).into_iter().filter(|sql| may_be_kept(sql, Dialect::Postgres)).collect();
    let mut answers = Vec::new();
    for values in ["SELECT 1", OTHERWISE] {
        database.execute(values).await.unwrap();
        let mut here = Vec::new();
        for sql in &kept {
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut database).await;
            here.push(
                rows.map(|rows| {
                    let text = |row: &sqlx::postgres::PgRow, at| {
                        row.try_get_raw(at).unwrap().as_bytes().map(<[u8]>::to_vec).ok()
                    };
                    // In whatever order, where none is asked for.
                    let mut rows: Vec<Vec<_>> =
                        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect();
                    rows.sort();
                    rows
                })
                .ok(),
            );
        }
        answers.push(here);
    }
    compare(&kept, &answers[0], &answers[1], 500);
}

#[tokio::test]
async fn no_answer_that_may_be_kept_depends_on_the_column_in_sqlite() {
    let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    database.execute(SETUP).await.unwrap();
    let kept: Vec<String> =
        statements(Dialect::Sqlite).into_iter().filter(|sql| may_be_kept(sql, Dialect::Sqlite)).collect();
    let mut answers = Vec::new();
    for values in ["SELECT 1", OTHERWISE] {
        database.execute(values).await.unwrap();
        let mut here = Vec::new();
        for sql in &kept {
            let rows = sqlx::raw_sql(AssertSqlSafe(sql.clone())).fetch_all(&mut database).await;
            here.push(
                rows.map(|rows| {
                    let text = |row: &sqlx::sqlite::SqliteRow, at| row.get_unchecked::<Option<Vec<u8>>, usize>(at);
                    let mut rows: Vec<Vec<_>> =
                        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect();
                    rows.sort();
                    rows
                })
                .ok(),
            );
        }
        answers.push(here);
    }
    compare(&kept, &answers[0], &answers[1], 300);
}

fn compare<T: PartialEq>(statements: &[String], one: &[Option<T>], other: &[Option<T>], at_least: usize) {
    let differ = |at: &usize| one[*at] != other[*at];
    let wrong: Vec<&str> = (0..statements.len()).filter(differ).map(|at| &*statements[at]).collect();
    assert!(wrong.is_empty(), "{} depend on the column:\n{}", wrong.len(), wrong.join("\n"));
    let answered = one.iter().flatten().count();
    assert!(answered >= at_least, "the oracle was asked too little: {answered} of {} ran", statements.len());
}

/// In Postgres, `u.f` means `f(u)` where there is no column of that name: so for each function and type there is.
#[tokio::test]
async fn a_function_that_looks_like_a_column_is_seen() {
    let mut database = PgConnection::connect(&Postgres::shared().fresh()).await.unwrap();
    database.execute("CREATE EXTENSION IF NOT EXISTS hstore; CREATE TABLE u (secret text)").await.unwrap();
    let names = "SELECT proname::text FROM pg_proc UNION SELECT typname::text FROM pg_type";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut database).await.unwrap();
    let (mut reading, mut wrong) = (0, Vec::new());
    for name in names {
        let sql = format!("SELECT u.\"{name}\" FROM u");
        if database.execute(AssertSqlSafe(format!("EXPLAIN {sql}"))).await.is_ok() {
            reading += 1;
            if may_be_kept(&sql, Dialect::Postgres) {
                wrong.push(name);
            }
        }
    }
    assert!(wrong.is_empty(), "these take a whole row: {wrong:?}");
    assert!(reading > 15, "only {reading} functions take a row");
}
