//! What is no plain table is never kept, and a write that may reach further than its text says reaches everything.

use larder::Reason;

/// One kind of relation: how to make it, what to read, which writes change that, and why it is not kept (`None`: it may be).
struct Case {
    name: &'static str,
    setup: &'static str,
    read: &'static str,
    writes: &'static [&'static str],
    bypass: Option<Reason>,
}

/// Reads twice before each write and once after it, comparing each answer with the database's.
macro_rules! check {
    ($pool:expr, $cases:expr) => {
        for case in $cases {
            let pool = $pool().await;
            let Case { name, setup, read, writes, bypass } = case;
            for sql in setup.split(";;") {
                sqlx::raw_sql(sql).execute(&pool).await.unwrap_or_else(|error| panic!("{name}: {sql}: {error}"));
            }
            let rows = async |cached: bool| {
                let rows = match cached {
                    true => sqlx::query(read).fetch_all(&pool).await,
                    false => sqlx::query(read).fetch_all(pool.inner()).await,
                };
                let rows = rows.unwrap_or_else(|error| panic!("{name}: {read}: {error}"));
                rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()
            };
            for write in writes {
                // After a statement that nothing is known of, the schema is looked at anew before anything is kept.
                let unseen = || pool.stats().bypasses_by_reason.get(&Reason::SessionUnseen).copied();
                for _ in 0..1000 {
                    let before = unseen();
                    rows(true).await;
                    if unseen() == before {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                let before = pool.stats();
                let first = rows(true).await;
                assert_eq!(first, rows(true).await, "{name}");
                let after = pool.stats();
                match bypass {
                    Some(reason) => {
                        let count = |stats: &larder::Stats| stats.bypasses_by_reason.get(&reason).copied().unwrap_or(0);
                        assert_eq!(count(&after) - count(&before), 2, "{name}: {after}");
                    }
                    None => assert!(after.hits > before.hits, "{name}: {after}"),
                }
                sqlx::raw_sql(*write).execute(&pool).await.unwrap_or_else(|error| panic!("{name}: {write}: {error}"));
                let truth = rows(false).await;
                assert_ne!(first, truth, "{name}: {write} was meant to change what is read");
                assert_eq!(rows(true).await, truth, "{name}: stale after {write}");
            }
        }
    };
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::postgres;

    const BASE: &str = "SELECT n FROM base ORDER BY n";

    #[tokio::test]
    async fn relations_that_are_no_plain_tables() {
        let cases = [
            Case {
                name: "view",
                setup: "CREATE TABLE base (n INT); CREATE VIEW v AS SELECT n FROM base; CREATE VIEW w AS SELECT n + 1 AS n FROM v",
                read: "SELECT n FROM w ORDER BY n",
                writes: &[
                    "INSERT INTO base VALUES (1)",
                    "INSERT INTO v VALUES (2)",
                    "TRUNCATE base",
                    "INSERT INTO v VALUES (3)",
                ],
                bypass: None,
            },
            Case {
                name: "written through a view",
                setup: "CREATE TABLE base (n INT); CREATE VIEW v AS SELECT n FROM base",
                read: BASE,
                writes: &["INSERT INTO v VALUES (1)", "UPDATE v SET n = 2", "DELETE FROM v"],
                bypass: None,
            },
            Case {
                name: "materialized view",
                setup: "CREATE TABLE base (n INT); CREATE MATERIALIZED VIEW v AS SELECT n FROM base",
                read: "SELECT n FROM v ORDER BY n",
                writes: &["INSERT INTO base VALUES (1); REFRESH MATERIALIZED VIEW v"],
                bypass: None,
            },
            Case {
                name: "partitioned",
                setup: "CREATE TABLE p (n INT) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); \
                    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
                read: "SELECT n FROM p ORDER BY n",
                writes: &[
                    "INSERT INTO p1 VALUES (1)",
                    "INSERT INTO p VALUES (2)",
                    "UPDATE p SET n = 11 WHERE n = 1",
                    "ALTER TABLE p DETACH PARTITION p2",
                ],
                bypass: None,
            },
            Case {
                name: "partition",
                setup: "CREATE TABLE p (n INT) PARTITION BY RANGE (n); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
                read: "SELECT n FROM p1 ORDER BY n",
                writes: &["INSERT INTO p VALUES (1)", "DELETE FROM p"],
                bypass: None,
            },
            Case {
                name: "parent",
                setup: "CREATE TABLE base (n INT); CREATE TABLE child () INHERITS (base)",
                read: BASE,
                writes: &[
                    "INSERT INTO child VALUES (1)",
                    "DELETE FROM base",
                    "INSERT INTO base VALUES (2)",
                    "TRUNCATE base",
                ],
                bypass: None,
            },
            Case {
                name: "child",
                setup: "CREATE TABLE parent (n INT); CREATE TABLE base () INHERITS (parent)",
                read: BASE,
                writes: &["INSERT INTO base VALUES (1)", "UPDATE parent SET n = 2", "DELETE FROM parent"],
                bypass: None,
            },
            Case {
                name: "rules",
                setup: "CREATE TABLE base (n INT); CREATE TABLE log (n INT); CREATE RULE r AS ON INSERT TO log DO INSTEAD INSERT INTO base VALUES (new.n)",
                read: BASE,
                writes: &["INSERT INTO log VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "read with rules",
                setup: "CREATE TABLE base (n INT); CREATE RULE r AS ON DELETE TO base DO INSTEAD UPDATE base SET n = -1 WHERE n = old.n; INSERT INTO base VALUES (1)",
                read: BASE,
                writes: &["DELETE FROM base"],
                bypass: None,
            },
            Case {
                name: "row-level security",
                setup: "CREATE TABLE base (n INT); ALTER TABLE base ENABLE ROW LEVEL SECURITY",
                read: BASE,
                writes: &["INSERT INTO base VALUES (1)"],
                bypass: Some(Reason::RowSecurity),
            },
            Case {
                name: "sequence",
                setup: "CREATE SEQUENCE s; CREATE TABLE base (n INT DEFAULT nextval('s'))",
                read: "SELECT last_value, is_called FROM s",
                writes: &["INSERT INTO base DEFAULT VALUES", "SELECT nextval('s')", "SELECT setval('s', 40)"],
                bypass: Some(Reason::NotAPlainTable),
            },
            Case {
                name: "system catalog",
                setup: "CREATE TABLE base (n INT)",
                read: "SELECT relname::text FROM pg_class WHERE relname LIKE 'base%' ORDER BY 1",
                writes: &["CREATE TABLE base2 (n INT)", "ALTER TABLE base RENAME TO base3"],
                bypass: Some(Reason::System),
            },
            Case {
                name: "user function in the text",
                setup: "CREATE TABLE base (n INT); CREATE FUNCTION total() RETURNS BIGINT STABLE LANGUAGE sql AS 'SELECT sum(n) FROM base'; CREATE TABLE one (n INT); INSERT INTO one VALUES (1)",
                read: "SELECT total() FROM one",
                writes: &["INSERT INTO base VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "user function under the name of a built-in one",
                setup: "CREATE TABLE base (n INT); CREATE FUNCTION public.upper(INT) RETURNS BIGINT STABLE LANGUAGE sql AS 'SELECT sum(n) FROM base'; CREATE TABLE one (n INT); INSERT INTO one VALUES (1)",
                read: "SELECT upper(n) FROM one",
                writes: &["INSERT INTO base VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "user function that looks like a column",
                setup: "CREATE TABLE base (n INT); CREATE TABLE one (n INT); CREATE FUNCTION total(one) RETURNS BIGINT STABLE LANGUAGE sql AS 'SELECT sum(n) FROM base'; INSERT INTO one VALUES (1)",
                read: "SELECT one.total FROM one",
                writes: &["INSERT INTO base VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "user operator",
                setup: "CREATE TABLE base (n INT); CREATE TABLE one (n INT); INSERT INTO one VALUES (1); \
                    CREATE FUNCTION plus(INT, TEXT) RETURNS BIGINT STABLE LANGUAGE sql AS 'SELECT sum(n) FROM base'; CREATE OPERATOR + (LEFTARG = INT, RIGHTARG = TEXT, FUNCTION = plus)",
                read: "SELECT n + 'x'::text FROM one",
                writes: &["INSERT INTO base VALUES (1)"],
                bypass: None,
            },
        ];
        check!(postgres, cases);
    }

    /// The table that is read is plain and may be kept; what writes it does not name it.
    #[tokio::test]
    async fn writes_that_reach_further_than_their_text() {
        let cases = [
            Case {
                name: "trigger",
                setup: "CREATE TABLE base (n INT); CREATE TABLE log (n INT); \
                    CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO ba' || 'se VALUES (' || new.n || ')'; RETURN new; END $$; \
                    CREATE TRIGGER g AFTER INSERT ON log FOR EACH ROW EXECUTE FUNCTION copy()",
                read: BASE,
                writes: &[
                    "INSERT INTO log VALUES (1)",
                    "WITH x AS (INSERT INTO log VALUES (2) RETURNING n) SELECT n FROM x",
                ],
                bypass: None,
            },
            Case {
                name: "deferred trigger",
                setup: "CREATE TABLE base (n INT); CREATE TABLE log (n INT); \
                    CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO base VALUES (new.n); RETURN new; END $$; \
                    CREATE CONSTRAINT TRIGGER g AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION copy()",
                read: BASE,
                writes: &["INSERT INTO log VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "cascades",
                setup: "CREATE TABLE parent (id INT PRIMARY KEY); CREATE TABLE middle (id INT PRIMARY KEY REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE); \
                    CREATE TABLE base (n INT REFERENCES middle ON DELETE SET NULL ON UPDATE CASCADE); INSERT INTO parent VALUES (1), (2); INSERT INTO middle VALUES (1), (2); INSERT INTO base VALUES (1), (2)",
                read: BASE,
                writes: &["UPDATE parent SET id = 7 WHERE id = 1", "DELETE FROM parent WHERE id = 2"],
                bypass: None,
            },
            Case {
                name: "truncate cascade",
                setup: "CREATE TABLE parent (id INT PRIMARY KEY); CREATE TABLE base (n INT REFERENCES parent); INSERT INTO parent VALUES (1); INSERT INTO base VALUES (1)",
                read: BASE,
                writes: &["TRUNCATE parent CASCADE"],
                bypass: None,
            },
            Case {
                name: "function that writes",
                setup: "CREATE TABLE base (n INT); CREATE FUNCTION w(i INT) RETURNS INT LANGUAGE sql AS 'INSERT INTO base VALUES (i) RETURNING n'; CREATE TABLE one (n INT); INSERT INTO one VALUES (9); \
                    CREATE FUNCTION w(one) RETURNS INT LANGUAGE sql AS 'INSERT INTO base VALUES (99) RETURNING n'; \
                    CREATE PROCEDURE p() LANGUAGE sql AS 'INSERT INTO base VALUES (77)'",
                read: BASE,
                writes: &[
                    "SELECT w(1)",
                    "SELECT n FROM one WHERE w(n) > 0",
                    "SELECT one.w FROM one",
                    "CALL p()",
                    "DO $$ BEGIN PERFORM w(3); END $$",
                    "PREPARE q AS SELECT w(4); EXECUTE q",
                    "SELECT * FROM w(5)",
                ],
                bypass: None,
            },
            Case {
                name: "aggregate, operator and default that write",
                setup: "CREATE TABLE base (n INT); CREATE TABLE one (n INT); INSERT INTO one VALUES (9);; \
                    CREATE FUNCTION w(a INT, b INT) RETURNS INT LANGUAGE sql AS 'INSERT INTO base VALUES (b) RETURNING n'; \
                    CREATE AGGREGATE agg (INT) (SFUNC = w, STYPE = INT, INITCOND = '0'); CREATE OPERATOR @@@ (LEFTARG = INT, RIGHTARG = INT, FUNCTION = w); \
                    CREATE TABLE filled (n INT DEFAULT w(1, 5), x INT)",
                read: BASE,
                writes: &["SELECT agg(n) FROM one", "SELECT n @@@ 3 FROM one", "INSERT INTO filled (x) VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "views that write when they are read",
                setup: "CREATE TABLE base (n INT); CREATE TABLE one (n INT); INSERT INTO one VALUES (9);; \
                    CREATE FUNCTION w(a INT, b INT) RETURNS INT LANGUAGE sql AS 'INSERT INTO base VALUES (b) RETURNING n'; \
                    CREATE AGGREGATE agg (INT) (SFUNC = w, STYPE = INT, INITCOND = '0'); CREATE OPERATOR @@@ (LEFTARG = INT, RIGHTARG = INT, FUNCTION = w);; \
                    CREATE VIEW v AS SELECT w(1, 5) AS n; CREATE VIEW vv AS SELECT v.n FROM v, one; CREATE VIEW va AS SELECT agg(n) AS n FROM one; CREATE VIEW vo AS SELECT n @@@ 4 AS n FROM one",
                read: BASE,
                writes: &[
                    "SELECT * FROM v",
                    "SELECT n FROM vv",
                    "SELECT n FROM va",
                    "SELECT n FROM vo",
                    "TABLE vv",
                    "WITH x AS (SELECT n FROM vv) SELECT * FROM x",
                ],
                bypass: None,
            },
        ];
        check!(postgres, cases);
    }

    /// Under a role to whom a policy applies, the read runs the policy's function.
    #[tokio::test]
    async fn a_policy_that_writes_when_it_is_asked() {
        let pool = postgres().await;
        sqlx::raw_sql(
            "CREATE TABLE base (n INT); CREATE TABLE guarded (n INT); INSERT INTO guarded VALUES (1);
             CREATE FUNCTION w() RETURNS BOOLEAN LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.base VALUES (1) RETURNING true';
             ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON guarded USING (w());
             CREATE ROLE larder_guarded LOGIN; GRANT SELECT ON base, guarded TO larder_guarded",
        )
        .execute(&pool)
        .await
        .unwrap();
        let options = (*pool.connect_options()).clone().username("larder_guarded");
        let guarded = larder::PgPool::connect_with(options).await.unwrap();
        let count =
            async || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM base").fetch_one(&guarded).await.unwrap();
        for expected in 1..4 {
            assert_eq!(count().await, expected - 1);
            assert_eq!(count().await, expected - 1);
            assert_eq!(sqlx::query("SELECT n FROM guarded").fetch_all(&guarded).await.unwrap().len(), 1);
            assert_eq!(count().await, expected);
        }
    }

    /// What a name stands for changes while the pool lives.
    #[tokio::test]
    async fn relations_that_become_others() {
        let pool = postgres().await;
        sqlx::raw_sql("CREATE TABLE base (n INT); CREATE TABLE x (n INT)").execute(&pool).await.unwrap();
        let read = async |pool: &larder::PgPool| {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM x").fetch_one(pool).await.unwrap()
        };
        let mut expected = 0;
        for (change, write, by) in [
            ("SELECT 1", "INSERT INTO x VALUES (1)", 1),
            ("DROP TABLE x; CREATE VIEW x AS SELECT n FROM base", "INSERT INTO base VALUES (1)", 0),
            ("SELECT 1", "INSERT INTO base VALUES (1)", 1),
            ("DROP VIEW x; CREATE TABLE x (n INT); INSERT INTO x VALUES (1), (2)", "INSERT INTO x VALUES (1)", 1),
            ("CREATE TABLE child () INHERITS (x)", "INSERT INTO child VALUES (1)", 1),
            ("DROP TABLE child", "INSERT INTO x VALUES (1)", 0),
            (
                "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO x VALUES (1); RETURN new; END $$; CREATE TRIGGER g AFTER INSERT ON base FOR EACH ROW EXECUTE FUNCTION f()",
                "INSERT INTO base VALUES (1)",
                1,
            ),
            ("BEGIN; DROP TRIGGER g ON base; COMMIT", "INSERT INTO x VALUES (1)", 1),
        ] {
            read(&pool).await;
            if let Some(inside) = change.strip_prefix("BEGIN; ") {
                let mut tx = pool.begin().await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(inside.trim_end_matches(" COMMIT"))).execute(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
            } else {
                sqlx::raw_sql(change).execute(&pool).await.unwrap();
            }
            read(&pool).await;
            read(&pool).await;
            sqlx::raw_sql(write).execute(&pool).await.unwrap();
            let truth: i64 = sqlx::query_scalar("SELECT count(*) FROM x").fetch_one(pool.inner()).await.unwrap();
            assert_eq!(read(&pool).await, truth, "after {change}; {write}");
            expected += by;
        }
        assert!(expected > 0 && pool.stats().hits > 3, "{}", pool.stats());
    }

    /// file_fdw comes with the contrib package, which is not installed everywhere: then the refusal is left to the unit tests.
    #[tokio::test]
    async fn foreign_tables() {
        let pool = postgres().await;
        if let Err(error) = sqlx::raw_sql("CREATE EXTENSION file_fdw").execute(&pool).await {
            eprintln!("no foreign table: {error}");
            return;
        }
        let file = crate::support::file().with_extension("csv");
        std::fs::write(&file, "1\n").unwrap();
        std::fs::set_permissions(file.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let create = format!(
            "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; CREATE FOREIGN TABLE f (n INT) SERVER files OPTIONS (filename '{}', format 'csv')",
            file.display()
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&pool).await.unwrap();
        for (text, expected) in [("1\n", 1_i64), ("1\n2\n", 2), ("1\n2\n3\n", 3)] {
            std::fs::write(&file, text).unwrap();
            for _ in 0..2 {
                let n: i64 = sqlx::query_scalar("SELECT count(*) FROM f").fetch_one(&pool).await.unwrap();
                assert_eq!(n, expected);
            }
        }
        assert_eq!(pool.stats().bypasses_by_reason[&Reason::NotAPlainTable], 6, "{}", pool.stats());
    }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    use crate::support::sqlite;

    const BASE: &str = "SELECT n FROM base ORDER BY n";

    #[tokio::test]
    async fn relations_and_writes() {
        let cases = [
            Case {
                name: "view",
                setup: "CREATE TABLE base (n INT); CREATE VIEW v AS SELECT n FROM base",
                read: "SELECT n FROM v ORDER BY n",
                writes: &["INSERT INTO base VALUES (1)", "DELETE FROM base"],
                bypass: None,
            },
            Case {
                name: "written through a view",
                setup: "CREATE TABLE base (n INT); CREATE VIEW v AS SELECT n FROM base; CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT INTO base VALUES (new.n); END",
                read: BASE,
                writes: &["INSERT INTO v VALUES (1)"],
                bypass: None,
            },
            Case {
                name: "trigger",
                setup: "CREATE TABLE base (n INT); CREATE TABLE log (n INT); CREATE TRIGGER g AFTER INSERT ON log BEGIN INSERT INTO base VALUES (new.n); END",
                read: BASE,
                writes: &[
                    "INSERT INTO log VALUES (1)",
                    "REPLACE INTO log VALUES (2)",
                    "INSERT INTO LOG VALUES (3)",
                    "INSERT INTO \"log\" VALUES (4)",
                    "INSERT INTO main.log SELECT 5",
                ],
                bypass: None,
            },
            Case {
                name: "cascades",
                setup: "CREATE TABLE parent (id INTEGER PRIMARY KEY, x INT UNIQUE); CREATE TABLE base (n INT REFERENCES parent ON DELETE CASCADE ON UPDATE SET NULL); \
                    INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3), (4, 4); INSERT INTO base VALUES (1), (2), (3), (4)",
                read: BASE,
                writes: &[
                    "DELETE FROM parent WHERE id = 1",
                    "UPDATE parent SET id = 20 WHERE id = 2",
                    "REPLACE INTO parent VALUES (30, 3)",
                    "INSERT OR REPLACE INTO parent VALUES (40, 4)",
                ],
                bypass: None,
            },
            Case {
                name: "virtual table",
                setup: "CREATE VIRTUAL TABLE f USING fts5(x)",
                read: "SELECT x FROM f ORDER BY x",
                writes: &["INSERT INTO f VALUES ('a')", "DELETE FROM f"],
                bypass: Some(Reason::NotAPlainTable),
            },
            Case {
                name: "the storage of a virtual table",
                setup: "CREATE VIRTUAL TABLE f USING fts5(x)",
                read: "SELECT c0 FROM f_content ORDER BY c0",
                writes: &["INSERT INTO f VALUES ('a')", "DELETE FROM f"],
                bypass: Some(Reason::NotAPlainTable),
            },
            Case {
                name: "schema",
                setup: "CREATE TABLE base (n INT)",
                read: "SELECT name FROM sqlite_master ORDER BY name",
                writes: &["CREATE TABLE base2 (n INT)", "DROP TABLE base2"],
                bypass: Some(Reason::System),
            },
            Case {
                name: "sequence",
                setup: "CREATE TABLE base (n INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO base VALUES (1)",
                read: "SELECT seq FROM sqlite_sequence",
                writes: &["INSERT INTO base DEFAULT VALUES"],
                bypass: Some(Reason::System),
            },
            Case {
                name: "view replaced by a table",
                setup: "CREATE TABLE base (n INT); CREATE VIEW x AS SELECT n FROM base",
                read: "SELECT count(*) FROM base",
                writes: &[
                    "DROP VIEW x; CREATE TRIGGER g AFTER INSERT ON base BEGIN INSERT INTO base VALUES (9); END; INSERT INTO base VALUES (1)",
                    "INSERT INTO base VALUES (1)",
                ],
                bypass: None,
            },
        ];
        check!(sqlite, cases);
    }
}

/// A time of day has no offset of its own: a time zone put to it, or to what is compared with it, takes today's.
#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_time_of_day_in_a_zone_is_asked_anew() {
    let pool = crate::support::postgres().await;
    sqlx::raw_sql(
        "CREATE TABLE shifts (id INT PRIMARY KEY, starts TIME NOT NULL); INSERT INTO shifts VALUES (1, '10:00');
         CREATE TABLE zoned (id INT PRIMARY KEY, starts TIMETZ NOT NULL); INSERT INTO zoned VALUES (1, '10:00+01')",
    )
    .execute(&pool)
    .await
    .unwrap();
    for (sql, kept) in [
        ("SELECT count(*) FROM shifts WHERE starts < '12:00'", true),
        ("SELECT count(*) FROM shifts WHERE starts AT TIME ZONE 'Europe/Paris' IS NOT NULL", false),
        ("SELECT count(*) FROM shifts WHERE timezone('Europe/Paris', starts) IS NOT NULL", false),
        ("SELECT count(*) FROM zoned WHERE starts > time '01:00'", false),
    ] {
        for hit in [false, kept] {
            let asked = sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool);
            assert_eq!(crate::support::was_hit(&pool, asked).await, (1, hit), "{sql}");
        }
    }
}
