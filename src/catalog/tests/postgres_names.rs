//! The survey of a real PostgreSQL: what names mean.

use sqlx::Executor;

use super::super::postgres::session;
use super::*;

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
    assert_eq!(behind(gate.reads(&odd)), Ok(tables(&["\"C.d\".\"e.F\"\"g\""])));
    assert_eq!(reading(&gate, &["🦀 crab"]), Ok(vec!["public.🦀 crab".into()]));
    assert_eq!(reading(&gate, &[&format!("{long}tail")]), Ok(vec![format!("public.{long}")]));

    for (path, same, only) in [
        ("a, b", Ok("a.same"), Err(Reason::NoTables)),
        ("b, a, public", Ok("b.same"), Err(Reason::NoTables)),
        ("nowhere, a, public, b", Ok("a.same"), Ok("public.only")),
        ("\"$user\", public", Err(Reason::NotAPlainTable), Ok("public.only")),
        ("", Err(Reason::NotAPlainTable), Err(Reason::NotAPlainTable)),
        ("public, pg_catalog", Err(Reason::UnknownType), Err(Reason::UnknownType)),
        ("pg_catalog, b", Ok("b.same"), Err(Reason::NoTables)),
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
async fn every_name_means_what_the_server_takes_it_for() {
    let mut connection = connect(&servers::postgres()).await;
    let schemas = ["a", "b", "\"C\"", "\"d.e\"", "public"];
    let tables = ["t", "\"T\"", "\"a\"", "\"x.y\"", "\"q\"\"q\"", "\"🦀\"", "pg_class", "\"a b\""];
    let mut sql = String::from("CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA \"C\"; CREATE SCHEMA \"d.e\";");
    for (i, schema) in schemas.iter().enumerate() {
        // Each schema has another part of the tables.
        for (j, table) in tables.iter().enumerate().filter(|(j, _)| (i * 7 + j * 3) % 4 != 0) {
            sql += &format!("CREATE TABLE {schema}.{table} (n{j} int);");
        }
    }
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    let mut names: Vec<String> = tables.iter().map(|table| (*table).to_owned()).collect();
    names.extend(schemas.iter().flat_map(|schema| tables.iter().map(move |table| format!("{schema} . {table}"))));
    names.extend(["T", "A.T", "\"t\"", "\"b\".t", "nowhere.t", "\"c\".t"].map(String::from));
    let mut found = 0;
    for first in 0..schemas.len() {
        for second in 0..schemas.len() {
            let path = format!("{}, {}", schemas[first], schemas[second]);
            sqlx::query("SELECT set_config('search_path', $1, false)")
                .bind(path)
                .execute(&mut connection)
                .await
                .unwrap();
            let gate = look(&mut connection).await.gate;
            let meant: Vec<Option<Vec<String>>> = sqlx::query_scalar(
                "SELECT (SELECT ARRAY[relnamespace::regnamespace::text, relname::text] FROM pg_class
                 WHERE oid = to_regclass(name)) FROM unnest($1::text[]) WITH ORDINALITY AS n (name, i) ORDER BY i",
            )
            .bind(&names)
            .fetch_all(&mut connection)
            .await
            .unwrap();
            for (name, meant) in names.iter().zip(meant) {
                let Some(meant) = meant else { continue };
                let schema = meant[0].trim_matches('"');
                let expected = (schema != "pg_catalog").then(|| Name::new([schema, &meant[1]]).to_string());
                assert_eq!(gate.table(name).map(|table| table.0.to_string()), expected, "{name}");
                found += 1;
            }
        }
    }
    assert!(found > 500, "{found}");
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
async fn letters_that_may_fold_are_refused_in_other_encodings() {
    let server = servers::Postgres::shared();
    server.psql("postgres", "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'");
    let mut connection = connect(&server.url("latin")).await;
    connection.execute("CREATE TABLE t (id int); CREATE TABLE \"é\" (id int)").await.unwrap();
    let gate = look(&mut connection).await.gate;
    assert_eq!(reading(&gate, &["t"]), Ok(vec!["public.t".into()]));
    assert_eq!(reading(&gate, &["é"]), Err(Reason::NotAPlainTable));
    assert_widens(&gate, "é");
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
         CREATE FUNCTION evil.never(oid, oid) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN false; END';
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
    assert_eq!(reading(&gate, &["v"]), Err(Reason::NoTables), "SELECT 1");
    assert_eq!(gate.reads(&with_operators(read(&["t"]), &["="])).unwrap_err().reason, Reason::UserOperator);
}
