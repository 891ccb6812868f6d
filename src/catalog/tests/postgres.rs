//! The survey of a real PostgreSQL.

use sqlx::{Connection, Executor, PgConnection};

use super::super::Survey;
use super::super::postgres::{session, survey};
use super::*;

#[path = "../../../tests/it/servers.rs"]
mod servers;

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// A connection to a fresh database in which `sql` was run.
async fn database(sql: &'static str) -> PgConnection {
    let mut connection = connect(&servers::postgres()).await;
    connection.execute(sql).await.unwrap();
    connection
}

async fn look(connection: &mut PgConnection) -> Survey {
    survey(connection).await.unwrap()
}

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
         CREATE FOREIGN TABLE far (id int) SERVER s;",
    )
    .await;
    let gate = look(&mut connection).await.gate;
    for table in ["plain", "unlogged", "child_of_plain"] {
        assert_eq!(reading(&gate, &[table]), Ok(vec![format!("public.{table}")]));
        assert_writes_itself(&gate, table, &format!("public.{table}"));
    }
    for table in [
        "a_view",
        "a_matview",
        "a_sequence",
        "a_type",
        "parted",
        "part",
        "parent",
        "heir",
        "ruled",
        "far",
        "plain_pkey",
    ] {
        assert_eq!(reading(&gate, &[table]), Err(Reason::NotAPlainTable), "{table}");
        assert_widens(&gate, table);
    }
    assert_eq!(reading(&gate, &["secured"]), Err(Reason::RowSecurity));
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
    for table in ["triggered", "disabled", "constrained", "del_cascade", "del_null", "del_default"] {
        assert_eq!(reading(&gate, &[table]), Ok(vec![format!("public.{table}")]));
        assert_widens(&gate, table);
    }
    for table in ["up_cascade", "up_null", "up_default", "self"] {
        assert_widens(&gate, table);
    }
    for table in ["restrict", "pointing"] {
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
        assert_widens(&gate, table);
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
    for user in
        ["lower", "label", "any_row", "any_thing", "of_domain", "of_number", "of_two", "sneaky", "act", "writing_sum"]
    {
        assert_eq!(function(user), Some(Reason::UserFunction), "{user}");
    }
    // They run SQL given as text.
    for runner in ["query_to_xml", "ts_stat", "ts_rewrite"] {
        assert_eq!(function(runner), Some(Reason::UserFunction), "{runner}");
    }
    for row in ["lower", "label", "any_row", "any_thing", "of_domain"] {
        assert_eq!(column(row), Some(Reason::UserFunction), "{row}");
    }
    for no_row in ["of_number", "of_two", "to_json", "id"] {
        assert_eq!(column(no_row), None, "{no_row}");
    }
    for writer in ["lower", "act", "writing_sum", "step", "query_to_xml"] {
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[writer])), everything, "{writer}");
    }
    for declared in ["label", "any_row", "of_number"] {
        assert_eq!(gate.writes(&with_functions(read(&["t"]), &[declared])), None, "{declared}");
    }
    assert_eq!(gate.reads(&with_operators(read(&["t"]), &["="])).unwrap_err().reason, Reason::UserOperator);
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
    assert_eq!(gate.reads(&facts), Ok(tables(&["public.t"])));
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
async fn names_resolve_as_the_server_resolves_them() {
    let mut connection = connect(&servers::postgres()).await;
    let long = "ä".repeat(31) + "x";
    assert_eq!(long.len(), 63);
    let sql = format!(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA \"C.d\";
         CREATE TABLE a.same (n int); CREATE TABLE b.same (n int); CREATE TABLE public.only (n int);
         CREATE TABLE \"C.d\".\"e.F\"\"g\" (n int); CREATE TABLE \"🦀 crab\" (n int); CREATE TABLE \"{long}\" (n int);
         CREATE TABLE public.pg_class (n int); CREATE VIEW b.only AS SELECT 1 AS n;"
    );
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let gate = look(&mut connection).await.gate;
    assert_eq!(reading(&gate, &["same"]), Err(Reason::NotAPlainTable), "not in the path");
    assert_eq!(reading(&gate, &["a.same", "b.same"]), Ok(vec!["a.same".into(), "b.same".into()]));
    assert_eq!(reading(&gate, &["pg_class"]), Err(Reason::System), "pg_catalog comes first");
    assert_eq!(reading(&gate, &["public.pg_class"]), Ok(vec!["public.pg_class".into()]));
    assert_eq!(gate.table("\"C.d\".\"e.F\"\"g\"").unwrap().0.as_ref(), "\"C.d\".\"e.F\"\"g\"");
    let odd = Facts { reads: [Name::new(["C.d", "e.F\"g"])].into(), ..read(&[]) };
    assert_eq!(gate.reads(&odd), Ok(tables(&["\"C.d\".\"e.F\"\"g\""])));
    assert_eq!(reading(&gate, &["🦀 crab"]), Ok(vec!["public.🦀 crab".into()]));
    assert_eq!(reading(&gate, &[&format!("{long}tail")]), Ok(vec![format!("public.{long}")]));

    for (path, same, only) in [
        ("a, b", Ok("a.same"), Err(Reason::NotAPlainTable)),
        ("b, a, public", Ok("b.same"), Err(Reason::NotAPlainTable)),
        ("nowhere, a, public, b", Ok("a.same"), Ok("public.only")),
        ("\"$user\", public", Err(Reason::NotAPlainTable), Ok("public.only")),
        ("", Err(Reason::NotAPlainTable), Err(Reason::NotAPlainTable)),
        ("public, pg_catalog", Err(Reason::UnknownType), Err(Reason::UnknownType)),
        ("pg_catalog, b", Ok("b.same"), Err(Reason::NotAPlainTable)),
    ] {
        sqlx::query("SELECT set_config('search_path', $1, false)").bind(path).execute(&mut connection).await.unwrap();
        let gate = look(&mut connection).await.gate;
        let expected = |name: Result<&str, Reason>| name.map(|name| vec![name.to_owned()]);
        assert_eq!(reading(&gate, &["same"]), expected(same), "{path}");
        assert_eq!(reading(&gate, &["only"]), expected(only), "{path}");
        let now: String = sqlx::query_scalar("SHOW search_path").fetch_one(&mut connection).await.unwrap();
        assert_eq!(now, path, "the survey left the path alone");
    }
}

#[tokio::test]
async fn a_temporary_table_hides_a_plain_one() {
    let url = servers::postgres();
    let (mut first, mut second) = (connect(&url).await, connect(&url).await);
    first.execute("CREATE TABLE t (id int)").await.unwrap();
    let before = session(&mut first).await.unwrap();
    first.execute("CREATE TEMPORARY TABLE t (id int)").await.unwrap();
    assert_ne!(session(&mut first).await.unwrap(), before);
    assert_eq!(reading(&look(&mut first).await.gate, &["t"]), Err(Reason::Temporary));
    assert_eq!(reading(&look(&mut first).await.gate, &["public.t"]), Ok(vec!["public.t".into()]));
    let other = look(&mut second).await;
    assert_eq!(reading(&other.gate, &["t"]), Ok(vec!["public.t".into()]));
    assert_eq!(other.session, before);
    second.execute("CREATE TEMPORARY TABLE t (id int)").await.unwrap();
    let (one, two) = (session(&mut first).await.unwrap(), session(&mut second).await.unwrap());
    assert_eq!(one, two, "the number of a session's temporary schema says nothing");
}

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
async fn a_role_without_rights_surveys_like_any_other() {
    let server = servers::Postgres::shared();
    let name = server.create_database();
    let mut owner = connect(&server.url(&name)).await;
    let sql = format!(
        "CREATE ROLE nobody_{name} LOGIN; CREATE SCHEMA closed; CREATE TABLE closed.t (id int);
         CREATE TABLE public.u (id int); REVOKE ALL ON SCHEMA public FROM PUBLIC;"
    );
    owner.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let mut nobody = connect(&server.url(&name).replace("postgres@", &format!("nobody_{name}@"))).await;
    let gate = look(&mut nobody).await.gate;
    // The query itself fails, so that nothing is stored.
    assert_eq!(reading(&gate, &["closed.t"]), Ok(vec!["closed.t".into()]));
    assert_eq!(reading(&gate, &["u"]), Err(Reason::NotAPlainTable), "no right to the schema, so not in the path");
}

#[tokio::test]
async fn the_survey_is_not_deceived_by_names_that_users_took() {
    let mut connection = database(
        "CREATE TABLE t (id int);
         CREATE SCHEMA evil;
         CREATE FUNCTION evil.never(oid, oid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
         CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.never);
         CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT ''same''';
         CREATE TABLE evil.pg_class (n int);
         CREATE VIEW v AS SELECT 1;
         SET search_path = evil, public, pg_catalog;",
    )
    .await;
    let seen = look(&mut connection).await;
    assert!(seen.session.contains("evil, public"), "{}", seen.session);
    assert_eq!(reading(&seen.gate, &["t"]), Err(Reason::UnknownType));
    connection.execute("SET search_path = public").await.unwrap();
    let gate = look(&mut connection).await.gate;
    assert_eq!(reading(&gate, &["t"]), Ok(vec!["public.t".into()]));
    assert_eq!(reading(&gate, &["v"]), Err(Reason::NotAPlainTable));
    assert_eq!(gate.reads(&with_operators(read(&["t"]), &["="])).unwrap_err().reason, Reason::UserOperator);
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
