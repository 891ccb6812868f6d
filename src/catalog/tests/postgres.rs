//! The survey of a real PostgreSQL: relations, and the code that users defined.

use sqlx::Executor;

use super::*;

#[tokio::test]
async fn each_kind_of_relation_has_its_verdict() {
    let mut connection = database(
        "CREATE TABLE plain (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int CHECK (n > 0), d text DEFAULT 'x');
         CREATE UNLOGGED TABLE unlogged (id int);
         CREATE TABLE child_of_plain (id int REFERENCES plain);
         CREATE VIEW a_view AS SELECT * FROM plain;
         CREATE MATERIALIZED VIEW a_matview AS SELECT * FROM plain;
         CREATE SEQUENCE a_sequence;
         CREATE TYPE a_type AS (x int);
         CREATE TABLE parted (id int) PARTITION BY RANGE (id);
         CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10);
         CREATE TABLE parent (id int);
         CREATE TABLE heir () INHERITS (parent);
         CREATE TABLE secured (id int);
         ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
         CREATE TABLE ruled (id int);
         CREATE RULE r AS ON INSERT TO ruled DO ALSO NOTIFY x;
         CREATE TEMPORARY TABLE tmp (id int);
         CREATE FOREIGN DATA WRAPPER w;
         CREATE SERVER s FOREIGN DATA WRAPPER w;
         CREATE FOREIGN TABLE far (id int) SERVER s;
         CREATE ACCESS METHOD other_heap TYPE TABLE HANDLER heap_tableam_handler;
         CREATE TABLE elsewhere (id int) USING other_heap;",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    for table in ["plain", "unlogged", "child_of_plain", "a_matview"] {
        assert_eq!(reading(&gate, &[table]), Ok(vec![format!("public.{table}")]));
        assert_writes_itself(&gate, table, &format!("public.{table}"));
    }
    assert_eq!(reading(&gate, &["a_view"]), Ok(vec!["public.plain".into()]));
    assert_writes_itself(&gate, "a_view", "public.plain");
    for (table, family) in [
        ("parted", ["public.part", "public.parted"]),
        ("part", ["public.part", "public.parted"]),
        ("parent", ["public.heir", "public.parent"]),
        ("heir", ["public.heir", "public.parent"]),
    ] {
        assert_eq!(reading(&gate, &[table]), Ok(vec![format!("public.{table}")]));
        assert_eq!(gate.writes(&write(&[table])), Some(only(&family)), "{table}");
    }
    assert_eq!(reading(&gate, &["ruled"]), Ok(vec!["public.ruled".into()]));
    assert_eq!(gate.writes(&write(&["ruled"])), Some(with_code(&["public.ruled"])));
    for table in ["a_sequence", "a_type", "far", "elsewhere", "plain_pkey"] {
        assert_eq!(reading(&gate, &[table]), Err(Reason::NotAPlainTable), "{table}");
        assert_widens(&gate, table);
    }
    let secured = gate.reads(&read(&["secured"])).unwrap();
    assert!(secured.scope.is_some_and(|why| why.contains("row-level security")));
    assert_writes_itself(&gate, "secured", "public.secured");
    for name in ["tmp", "pg_temp.tmp"] {
        assert_eq!(reading(&gate, &[name]), Err(Reason::Temporary));
        assert_widens(&gate, name);
    }
    for name in ["pg_class", "pg_catalog.pg_class", "information_schema.tables", "pg_settings"] {
        assert_eq!(reading(&gate, &[name]), Err(Reason::System));
        assert_widens(&gate, name);
    }
}

#[tokio::test]
async fn triggers_and_cascades_widen_writes_and_not_reads() {
    let mut connection = database(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TABLE triggered (id int);
         CREATE TRIGGER t AFTER INSERT ON triggered EXECUTE FUNCTION note();
         CREATE TABLE disabled (id int);
         CREATE TRIGGER t AFTER INSERT ON disabled EXECUTE FUNCTION note();
         ALTER TABLE disabled DISABLE TRIGGER ALL;
         CREATE TABLE constrained (id int);
         CREATE CONSTRAINT TRIGGER t AFTER INSERT ON constrained DEFERRABLE FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TABLE restrict (id int PRIMARY KEY);
         CREATE TABLE del_cascade (id int PRIMARY KEY);
         CREATE TABLE del_null (id int PRIMARY KEY);
         CREATE TABLE del_default (id int PRIMARY KEY);
         CREATE TABLE up_cascade (id int PRIMARY KEY);
         CREATE TABLE up_null (id int PRIMARY KEY);
         CREATE TABLE up_default (id int PRIMARY KEY);
         CREATE TABLE self (id int PRIMARY KEY, parent int REFERENCES self ON DELETE CASCADE);
         CREATE TABLE pointing (
            a int REFERENCES restrict ON DELETE RESTRICT ON UPDATE NO ACTION,
            b int REFERENCES del_cascade ON DELETE CASCADE,
            c int REFERENCES del_null ON DELETE SET NULL,
            d int REFERENCES del_default ON DELETE SET DEFAULT,
            e int REFERENCES up_cascade ON UPDATE CASCADE,
            f int REFERENCES up_null ON UPDATE SET NULL,
            g int REFERENCES up_default ON UPDATE SET DEFAULT);",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    for table in ["triggered", "disabled", "constrained"] {
        assert_eq!(reading(&gate, &[table]), Ok(vec![format!("public.{table}")]));
        assert_eq!(gate.writes(&write(&[table])), Some(with_code(&[&format!("public.{table}")])), "{table}");
    }
    let by = |table: &str, verbs: Verbs| {
        let writes = Writes::Tables([(name(table), verbs)].into());
        gate.writes(&Facts { kind: Kind::Write, writes, ..read(&[]) }).unwrap()
    };
    assert_eq!(by("triggered", Verbs::UPDATE), only(&["public.triggered"]), "it fires on INSERT");
    for (table, verb) in [
        ("del_cascade", Verbs::DELETE),
        ("del_null", Verbs::DELETE),
        ("del_default", Verbs::DELETE),
        ("up_cascade", Verbs::UPDATE),
        ("up_null", Verbs::UPDATE),
        ("up_default", Verbs::UPDATE),
    ] {
        let own = format!("public.{table}");
        let mut both = vec![own.as_str(), "public.pointing"];
        both.sort_unstable();
        assert_eq!(by(table, verb), only(&both), "{table}");
        assert_eq!(by(table, Verbs::ALL.without(verb)), only(&[&own]), "{table}");
    }
    for table in ["restrict", "pointing", "self"] {
        assert_writes_itself(&gate, table, &format!("public.{table}"));
    }
}

#[tokio::test]
async fn volatile_code_behind_a_table_widens_writes_to_it() {
    let mut connection = database(
        "CREATE EXTENSION \"uuid-ossp\";
         CREATE FUNCTION next_id() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
         CREATE FUNCTION fine(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
         CREATE FUNCTION pure(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
         CREATE FUNCTION adder(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
         CREATE OPERATOR #+# (LEFTARG = int, RIGHTARG = int, FUNCTION = adder);
         CREATE TABLE by_default (id int DEFAULT next_id());
         CREATE TABLE by_check (id int CHECK (fine(id)));
         CREATE TABLE by_operator (id int DEFAULT 1 #+# 2);
         CREATE TABLE by_policy (id int);
         CREATE POLICY p ON by_policy USING (fine(id));
         CREATE TABLE by_uuid (id uuid DEFAULT uuid_generate_v4(), at timestamptz DEFAULT now(), n serial);
         CREATE TABLE by_index (id int);
         CREATE INDEX ON by_index (pure(id));",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    for table in ["by_default", "by_check", "by_operator", "by_policy"] {
        assert_eq!(gate.writes(&write(&[table])), Some(with_code(&[&format!("public.{table}")])), "{table}");
    }
    for table in ["by_uuid", "by_index"] {
        assert_writes_itself(&gate, table, &format!("public.{table}"));
    }
    connection.execute("CREATE DOMAIN d AS int CHECK (fine(VALUE))").await.unwrap();
    assert_widens(&look(&mut connection).await.gate, "by_uuid");
    connection.execute("DROP DOMAIN d; CREATE DOMAIN e AS int DEFAULT next_id()").await.unwrap();
    assert_widens(&look(&mut connection).await.gate, "by_uuid");
}

#[tokio::test]
async fn a_write_that_passes_changes_no_other_table() {
    let mut connection = database(
        "CREATE TABLE log (id int);
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN NEW; END';
         CREATE FUNCTION count_up(int DEFAULT 1) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN 7; END';
         CREATE FUNCTION allowed(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN true; END';
         CREATE TABLE plain (id int PRIMARY KEY DEFAULT 2, n serial, u int GENERATED ALWAYS AS (1) STORED);
         CREATE TABLE pointing (id int DEFAULT 1 REFERENCES plain ON DELETE NO ACTION);
         CREATE TABLE target (id int PRIMARY KEY DEFAULT 2);
         INSERT INTO plain (id) VALUES (1);
         INSERT INTO target VALUES (1);
         CREATE TABLE following (id int DEFAULT 1 REFERENCES target ON DELETE CASCADE ON UPDATE SET NULL);
         CREATE TABLE triggered (id int DEFAULT 1);
         CREATE TRIGGER t BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION note();
         CREATE TABLE counted (id int DEFAULT count_up());
         CREATE TABLE checked (id int DEFAULT 1 CHECK (allowed(id)));
         CREATE TABLE ruled (id int DEFAULT 1);
         CREATE RULE r AS ON INSERT TO ruled DO ALSO INSERT INTO log VALUES (1);
         CREATE TABLE parent (id int DEFAULT 1);
         CREATE TABLE heir () INHERITS (parent);
         CREATE TABLE parted (id int DEFAULT 1) PARTITION BY LIST (id);
         CREATE TABLE part PARTITION OF parted DEFAULT;
         CREATE VIEW seen AS SELECT * FROM log;",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    let all: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
         ORDER BY relname COLLATE \"C\"",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let mut passed = Vec::new();
    for table in &all {
        let Some(Widened::Tables { tables: widened, .. }) = gate.writes(&write(&[table])) else { continue };
        passed.push(table.as_str());
        for statement in ["INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET id = id", "DELETE FROM {}"] {
            connection.execute("BEGIN").await.unwrap();
            connection.execute(sqlx::AssertSqlSafe(statement.replace("{}", table))).await.unwrap();
            let locked: Vec<String> = sqlx::query_scalar(
                "SELECT 'public.' || c.relname FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                 WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p', 'm')
                 AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')",
            )
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for locked in locked {
                assert!(widened.contains(&Table(locked.as_str().into())), "{statement} {table} locked {locked}");
            }
            connection.execute("ROLLBACK").await.unwrap();
        }
    }
    passed.sort_unstable();
    assert_eq!(passed, all);
}

#[tokio::test]
async fn functions_and_operators_of_users_are_known_by_name() {
    let mut connection = database(
        "CREATE TABLE t (id int);
         CREATE SCHEMA elsewhere;
         CREATE FUNCTION elsewhere.lower(t) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
         CREATE FUNCTION label(t) RETURNS text LANGUAGE sql STABLE AS 'SELECT 1::text';
         CREATE FUNCTION any_row(record, int DEFAULT 0) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
         CREATE FUNCTION any_thing(anyelement) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
         CREATE DOMAIN row_domain AS t;
         CREATE FUNCTION of_domain(row_domain) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
         CREATE FUNCTION of_number(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
         CREATE FUNCTION of_two(t, int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
         CREATE FUNCTION pg_catalog.sneaky(int) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
         CREATE PROCEDURE act() LANGUAGE sql AS '';
         CREATE FUNCTION step(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
         CREATE AGGREGATE writing_sum(int) (SFUNC = step, STYPE = int);
         CREATE FUNCTION same(t, t) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
         CREATE OPERATOR elsewhere.= (LEFTARG = t, RIGHTARG = t, FUNCTION = same);",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    let everything = Some(Widened::Everything(Reason::OpaqueStatement));
    let function = |name| gate.reads(&with_functions(read(&["t"]), &[name])).err().map(|refusal| refusal.reason);
    let column = |name| gate.reads(&with_identifiers(read(&["t"]), &[name])).err().map(|refusal| refusal.reason);
    for builtin in ["upper", "count", "sum", "coalesce", "json_build_object", "st_distance"] {
        assert_eq!(function(builtin), None, "{builtin}");
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[builtin])), None);
    }
    for user in ["lower", "any_row", "act", "writing_sum"] {
        assert_eq!(function(user), Some(Reason::UserFunction), "{user}");
    }
    for read in ["label", "any_thing", "of_domain", "of_number", "of_two", "sneaky"] {
        assert_eq!(function(read), None, "{read}");
    }
    // They run SQL given as text.
    for runner in ["query_to_xml", "ts_stat", "ts_rewrite"] {
        assert_eq!(function(runner), Some(Reason::UserFunction), "{runner}");
    }
    for row in ["lower", "any_row"] {
        assert_eq!(column(row), Some(Reason::UserFunction), "{row}");
    }
    for no_row in ["of_number", "of_two", "to_json", "id"] {
        assert_eq!(column(no_row), None, "{no_row}");
    }
    for opaque in ["writing_sum", "query_to_xml"] {
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[opaque])), everything, "{opaque}");
    }
    for volatile in ["lower", "act", "step"] {
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[volatile])), Some(with_code(&[])), "{volatile}");
    }
    for declared in ["label", "any_row", "of_number"] {
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[declared])), None, "{declared}");
    }
    assert!(gate.reads(&with_operators(read(&["t"]), &["="])).is_ok(), "its function was read");
    assert!(gate.reads(&with_operators(read(&["t"]), &["<", "+", "~~"])).is_ok());
    assert_eq!(gate.writes(&calling_unknown(&["pg_sleep"])), None);
    assert_eq!(gate.writes(&calling_unknown(&["of_number"])), None);
    assert_eq!(gate.writes(&calling_unknown(&["born_later"])), everything);
}

#[tokio::test]
async fn well_known_extensions_do_not_close_the_gate() {
    let mut connection = database(
        "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto;
         CREATE EXTENSION btree_gist; CREATE EXTENSION ltree; CREATE EXTENSION \"uuid-ossp\";
         CREATE TABLE t (id uuid DEFAULT uuid_generate_v4(), name citext);",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    let facts = with_functions(
        with_operators(with_identifiers(read(&["t"]), &["id", "name"]), &["=", "<>", "~~", "<", "||", "->", "@>"]),
        &["replace", "split_part", "max", "min", "lower"],
    );
    assert_eq!(behind(gate.reads(&facts)), Ok(tables(&["public.t"])));
    // It depends on a setting.
    assert_eq!(gate.reads(&with_operators(read(&["t"]), &["%"])).unwrap_err().reason, Reason::UserOperator);
    assert_writes_itself(&gate, "t", "public.t");
    assert_eq!(gate.writes(&calling_unknown(&["uuid_generate_v4", "similarity"])), None);
}

#[tokio::test]
async fn a_cast_that_may_run_anything_closes_the_gate() {
    let mut connection = database(
        "CREATE TABLE t (id int);
         CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE FUNCTION feel(int) RETURNS mood LANGUAGE sql IMMUTABLE AS 'SELECT NULL::mood';
         CREATE CAST (int AS mood) WITH FUNCTION feel(int) AS IMPLICIT;",
    )
    .await;
    assert!(reading(&look(&mut connection).await.gate, &["t"]).is_ok(), "immutable");
    connection.execute("ALTER FUNCTION feel(int) STABLE").await.unwrap();
    let gate = look(&mut connection).await.gate;
    assert_eq!(reading(&gate, &["t"]), Err(Reason::UserCast));
    assert_writes_itself(&gate, "t", "public.t");
    connection.execute("ALTER FUNCTION feel(int) VOLATILE").await.unwrap();
    let gate = look(&mut connection).await.gate;
    assert_eq!(reading(&gate, &["t"]), Err(Reason::UserCast));
    assert_widens(&gate, "t");
}

#[tokio::test]
async fn ten_thousand_tables_are_read_in_well_under_a_second() {
    let mut connection = database(
        "DO $$ BEGIN FOR s IN 0..19 LOOP
             EXECUTE 'CREATE SCHEMA s' || s;
             FOR i IN 0..499 LOOP EXECUTE format('CREATE TABLE s%s.t%s (id int)', s, i); END LOOP;
             COMMIT;
         END LOOP; END $$",
    )
    .await;
    look(&mut connection).await;
    let start = std::time::Instant::now();
    let gate = look(&mut connection).await.gate;
    let taken = start.elapsed();
    println!("10,000 tables: {taken:?}");
    assert_eq!(reading(&gate, &["s19.t499"]), Ok(vec!["s19.t499".into()]));
    assert!(taken < std::time::Duration::from_secs(2), "{taken:?}");
}

#[tokio::test]
async fn what_the_analysis_says_is_understood() {
    use crate::analysis::{Dialect, analyze};
    let long = "n".repeat(70);
    let mut connection = database(
        "CREATE TABLE users (id int, name text); CREATE TABLE \"We.Ird\" (a int); CREATE VIEW v AS SELECT 1 AS a;
         CREATE FUNCTION label(users) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';
         CREATE FUNCTION upper(users) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
         CREATE FUNCTION safe(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
         CREATE FUNCTION alike(users, users) RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN true; END';
         CREATE OPERATOR ~~* (LEFTARG = users, RIGHTARG = users, FUNCTION = alike);
         CREATE FUNCTION nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn(users) RETURNS int
             LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    let facts = |sql: &str| analyze(sql, Dialect::Postgres);
    let reading = |sql: &str| {
        let facts = facts(sql);
        assert!(facts.cacheable(), "{sql}: {:?}", facts.refusals);
        behind(gate.reads(&facts)).map_err(|refusal| refusal.reason)
    };
    for sql in [
        "SELECT * FROM Users u WHERE u.name LIKE $1 AND id IN (1, 2)",
        "WITH v AS (SELECT * FROM public.users) SELECT lower(name), count(*) FROM v GROUP BY 1 ORDER BY 2",
        "SELECT id FROM users WHERE id BETWEEN 1 AND 2 OR name IS NULL",
    ] {
        assert_eq!(reading(sql), Ok(tables(&["public.users"])), "{sql}");
    }
    assert_eq!(reading("SELECT * FROM \"We.Ird\", users"), Ok(tables(&["public.\"We.Ird\"", "public.users"])));
    assert_eq!(reading("SELECT * FROM v"), Err(Reason::NoTables));
    assert_eq!(reading("SELECT u.label FROM users u"), Err(Reason::UserFunction));
    assert_eq!(reading(&format!("SELECT u.{long} FROM users u")), Err(Reason::UserFunction));
    assert_eq!(reading("SELECT upper(name) FROM users"), Err(Reason::UserFunction));
    assert_eq!(reading("SELECT * FROM users WHERE name ILIKE 'a'"), Err(Reason::UserOperator));
    let writing = |sql| gate.writes(&facts(sql));
    let everything = |reason| Some(Widened::Everything(reason));
    let only_one = |table| Some(only(&[table]));
    assert_eq!(writing("SELECT safe(id) FROM users"), None);
    assert_eq!(writing("SELECT pg_sleep(1)"), None);
    assert_eq!(writing("SELECT upper(u) FROM users u"), Some(with_code(&[])));
    assert_eq!(writing("SELECT not_there(id) FROM users"), everything(Reason::OpaqueStatement));
    assert_eq!(writing("UPDATE users SET name = 'x'"), only_one("public.users"));
    assert_eq!(writing("INSERT INTO \"We.Ird\" SELECT id FROM users RETURNING a"), only_one("public.\"We.Ird\""));
    assert_eq!(writing("TRUNCATE users"), only_one("public.users"));
    assert_eq!(writing("INSERT INTO v VALUES (1)"), Some(only(&[])), "there is no table behind it");
    assert_eq!(writing("ALTER TABLE users ADD x int"), everything(Reason::SchemaChange));
    assert_eq!(writing("CALL something()"), everything(Reason::OpaqueStatement));
}
