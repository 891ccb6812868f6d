//! Promises of the analysis, as a table of statements: `analysis_cases.txt`.

use larder::analysis::{
    Dialect, Facts, Kind, Name, Outcome, SessionEffect, SqlMode, TransactionControl, Writes, analyze, analyze_in,
};

const CASES: &str = include_str!("analysis_cases.txt");

const DIALECTS: [(char, Dialect); 3] = [('p', Dialect::Postgres), ('m', Dialect::MySql), ('s', Dialect::Sqlite)];

fn names<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    names.sort();
    names
}

/// The words of a column of the table; a quoted name may hold a space.
fn listed(column: &str) -> Vec<String> {
    let mut words: Vec<String> = match column {
        "-" => Vec::new(),
        quoted if quoted.contains('"') => vec![quoted.to_owned()],
        words => words.split(' ').map(str::to_owned).collect(),
    };
    words.sort();
    words
}

/// What differs from the expectation.
fn differences(facts: &Facts, verdict: &str, reads: &str, writes: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let unknown = verdict.starts_with('?');
    let (verdict, reason) =
        verdict.trim_start_matches('?').split_once(':').unwrap_or((verdict.trim_start_matches('?'), ""));
    let kind = match verdict {
        "cached" | "none" | "read" => Kind::Read,
        "write" => Kind::Write,
        "other" => Kind::Other,
        other => panic!("{other} is no verdict"),
    };
    let mut expect = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    expect(facts.kind == kind, format!("kind {:?}", facts.kind));
    expect((facts.outcome == Outcome::Unknown) == unknown, format!("outcome {:?}", facts.outcome));
    expect(verdict != "none" || facts.outcome == Outcome::None, format!("outcome {:?}", facts.outcome));
    expect(facts.cacheable() == (verdict == "cached"), format!("cacheable {}", facts.cacheable()));
    expect(
        reason.is_empty() || facts.refusals.iter().any(|refusal| refusal.reason.label() == reason),
        format!("refusals {:?}", facts.refusals),
    );
    expect(unknown || reads == "*" || names(&facts.reads) == listed(reads), format!("reads {:?}", names(&facts.reads)));
    let written = match &facts.writes {
        Writes::Nothing => Some(Vec::new()),
        Writes::Tables(tables) => Some(names(tables.keys())),
        Writes::Everything => None,
    };
    let as_expected = match (writes.strip_suffix('+'), &written) {
        (_, None) => writes == "*",
        (Some(some), Some(written)) => listed(some).iter().all(|name| written.contains(name)),
        (None, Some(written)) => *written == listed(writes),
    };
    expect(as_expected, format!("writes {:?}", facts.writes));
    wrong
}

#[test]
fn every_case_is_told_as_the_table_says() {
    let mut failures = Vec::new();
    let mut cases = 0;
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let columns: Vec<&str> = line.splitn(5, '|').collect();
        let [dialects, verdict, reads, writes, sql] = columns[..] else { panic!("not a case: {line}") };
        for (_, dialect) in DIALECTS.iter().filter(|(letter, _)| dialects.contains(*letter)) {
            cases += 1;
            let wrong = differences(&analyze(sql, *dialect), verdict, reads, writes);
            if !wrong.is_empty() {
                failures.push(format!(
                    "{dialect:?}: {sql}\n    expected {verdict} {reads} {writes}, found {}",
                    wrong.join(", ")
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}

/// For MySQL: the modes of the session, then as in the table.
#[test]
fn a_text_is_read_as_its_session_reads_it() {
    for (modes, verdict, reads, writes, sql) in [
        ("ANSI_QUOTES", "cached", "users", "-", r#"SELECT "name" FROM "users""#),
        ("ANSI_QUOTES", "cached", "shop.\"a.b\"", "-", r#"SELECT u."name" AS "n" FROM "shop"."a.b" AS "u""#),
        ("ANSI_QUOTES", "write", "-", "users", r#"UPDATE "users" SET "name" = 'x'"#),
        ("ANSI_QUOTES", "cached", "b", "-", r#"WITH "a" AS (SELECT * FROM b) SELECT * FROM a"#),
        ("ANSI_QUOTES", "read:volatile_function", "a", "-", r#"SELECT "now"() FROM a"#),
        ("ANSI_QUOTES", "write", "-", "t", r#"DELETE FROM "t" WHERE "a\" = 'b\'; DELETE FROM c; -- '"#),
        ("ANSI_QUOTES", "write:several_statements", "-", "t u", r#"DELETE FROM t WHERE "a\"; DELETE FROM u -- ""#),
        ("", "write", "-", "t", r#"DELETE FROM t WHERE "a\"; DELETE FROM u -- ""#),
        (
            "NO_BACKSLASH_ESCAPES",
            "write:several_statements",
            "-",
            "t u",
            r"DELETE FROM t WHERE a = '\'; DELETE FROM u -- '",
        ),
        ("", "write", "-", "t", r"DELETE FROM t WHERE a = '\'; DELETE FROM u -- '"),
        ("NO_BACKSLASH_ESCAPES", "cached", "a", "-", r"SELECT x FROM a WHERE y = 'c:\'"),
        ("NO_BACKSLASH_ESCAPES", "cached", "a b", "-", r"SELECT 'a\' FROM a WHERE x IN (SELECT 'y' FROM b) -- '"),
        ("", "?read", "-", "-", r"SELECT 'a\' FROM a WHERE x IN (SELECT 'y' FROM b) -- '"),
        ("PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION", "cached", "a", "-", r"SELECT x || '\'' FROM a"),
        ("IGNORE_SPACE", "cached", "a", "-", "SELECT count (*) FROM a"),
        ("ORACLE", "?write", "*", "*", "SELECT * FROM a"),
        ("MSSQL", "?write", "*", "*", "SELECT * FROM a"),
    ] {
        let facts = analyze_in(sql, Dialect::MySql, SqlMode::of(modes, "utf8mb4"));
        let wrong = differences(&facts, verdict, reads, writes);
        assert!(wrong.is_empty(), "{modes}: {sql}: {wrong:?}");
    }
    for sql in ["SELECT \"a\" FROM a", r"SELECT 'it\'s' FROM a", "BEGIN -- \"", "SELECT [a] FROM a"] {
        let facts = analyze_in(sql, Dialect::MySql, SqlMode::unseen(Dialect::MySql));
        assert_eq!((facts.writes, facts.session), (Writes::Everything, SessionEffect::MayChange), "{sql}");
    }
    let facts = analyze_in("SELECT 'a' FROM a", Dialect::MySql, SqlMode::unseen(Dialect::MySql));
    assert_eq!(facts.writes, Writes::Nothing);
}

/// In MySQL, where a time of day that meets a date takes today's.
#[test]
fn columns_that_meet_others_are_told() {
    for (sql, met, unnamed) in [
        ("SELECT id, opens, h.closes FROM hours AS h WHERE day = ?", "day h hours", false),
        ("SELECT * FROM hours WHERE id = ?", "hours id", false),
        ("SELECT h.*, n FROM hours h ORDER BY Opens", "h hours", false),
        ("(SELECT opens FROM hours GROUP BY opens) ORDER BY opens", "hours", false),
        ("TABLE hours", "hours", false),
        ("SELECT COUNT(*) FROM hours", "hours", false),
        ("SELECT opens FROM hours WHERE OPENS > 1", "hours opens", false),
        ("SELECT opens AS o FROM hours HAVING o = day", "day hours o opens", false),
        ("SELECT opens AS 'o' FROM hours HAVING o = day", "day hours o opens", false),
        ("SELECT opens AS o FROM hours ORDER BY o", "hours", false),
        ("SELECT opens FROM hours UNION SELECT made FROM days", "days hours made opens", false),
        ("SELECT * FROM hours UNION SELECT * FROM days", "days hours", true),
        ("SELECT * FROM (SELECT * FROM hours) AS x", "hours x", true),
        ("SELECT a FROM hours NATURAL JOIN days", "days hours", true),
        ("SELECT a FROM hours JOIN days USING (`Opens`)", "days hours opens", false),
        ("SELECT id FROM hours WHERE EXISTS (SELECT * FROM days)", "days hours", true),
    ] {
        let facts = analyze(sql, Dialect::MySql);
        // Key words are words as well.
        let is_word = |name: &&str| {
            let upper = name.to_uppercase();
            *name != "opens" && sql.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == upper)
        };
        let found: Vec<&str> = facts.mentions.met.iter().map(String::as_str).filter(|name| !is_word(name)).collect();
        assert_eq!((found.join(" ").as_str(), facts.meets_unnamed), (met, unnamed), "{sql}");
    }
}

/// What is not spelled alike may be called otherwise in the answer.
#[test]
fn a_text_in_another_mode_has_a_normal_form_of_its_own() {
    let mode = SqlMode::of("ANSI_QUOTES", "utf8mb4");
    let normal = |sql: &str| analyze_in(sql, Dialect::MySql, mode).normal_form;
    assert_ne!(normal("SELECT \"a\" + 1 FROM t"), normal("SELECT `a` + 1 FROM t"));
    assert_eq!(normal("SELECT `a`  FROM  t"), "SELECT `a`  FROM t");
}

#[test]
fn a_bound_text_may_mean_the_present() {
    for (sql, dialect, expected) in [
        ("SELECT * FROM a WHERE d = $1::date", Dialect::Postgres, true),
        ("SELECT * FROM a WHERE d = CAST($1 AS timestamptz)", Dialect::Postgres, true),
        ("SELECT * FROM a WHERE d = $1", Dialect::Postgres, false),
        ("SELECT * FROM a WHERE d = $1::int", Dialect::Postgres, false),
        ("SELECT * FROM a WHERE d = date(?)", Dialect::Sqlite, true),
        ("SELECT * FROM a WHERE d = strftime(?, '2024-01-01')", Dialect::Sqlite, false),
        ("SELECT * FROM a WHERE d = DATE(?)", Dialect::MySql, true),
    ] {
        let facts = analyze(sql, dialect);
        assert!(facts.cacheable(), "{sql}: {:?}", facts.refusals);
        assert_eq!(facts.clock_by_argument, expected, "{sql}");
    }
}

#[test]
fn sessions_and_transactions_are_told() {
    use SessionEffect::{Changes, Keeps, MayChange};
    use TransactionControl::{Begin, End, Savepoint, TwoPhase};
    for (sql, dialect, session, transaction) in [
        ("SELECT 1", Dialect::Postgres, Keeps, None),
        ("SET search_path = x", Dialect::Postgres, Changes, None),
        ("RESET ALL", Dialect::Postgres, Changes, None),
        ("DISCARD ALL", Dialect::Postgres, Changes, None),
        ("SELECT set_config('a.b', 'c', false)", Dialect::Postgres, Changes, None),
        ("CREATE TEMP TABLE t (id int)", Dialect::Postgres, Changes, None),
        ("CREATE TEMP TABLE t (id int)", Dialect::Sqlite, Changes, None),
        ("SELECT my_function()", Dialect::Postgres, MayChange, None),
        ("CALL p()", Dialect::Postgres, MayChange, None),
        ("CALL p()", Dialect::MySql, MayChange, Some(End)),
        ("BEGIN", Dialect::Postgres, Changes, Some(Begin)),
        ("START TRANSACTION READ ONLY", Dialect::MySql, Changes, Some(Begin)),
        ("BEGIN IMMEDIATE", Dialect::Sqlite, Changes, Some(Begin)),
        ("SET @@session.autocommit = 0", Dialect::MySql, Changes, Some(Begin)),
        ("END", Dialect::Postgres, Changes, Some(End)),
        ("ROLLBACK TO s", Dialect::Postgres, Changes, Some(Savepoint)),
        ("RELEASE s", Dialect::Sqlite, Changes, Some(Savepoint)),
        ("PREPARE TRANSACTION 'x'", Dialect::Postgres, Changes, Some(TwoPhase)),
        ("BEGIN; SELECT 1; COMMIT", Dialect::Postgres, Changes, Some(End)),
        ("CREATE TABLE t (id int)", Dialect::MySql, Keeps, Some(End)),
        ("CREATE TABLE temporary AS SELECT @a := 1", Dialect::MySql, Changes, Some(End)),
        ("CREATE OR REPLACE TEMPORARY TABLE t (id int)", Dialect::MySql, Changes, None),
        ("DROP TEMPORARY TABLE t", Dialect::MySql, Changes, None),
        ("SET @@`autocommit` = 1", Dialect::MySql, Changes, Some(Begin)),
        ("SET PASSWORD = 'x'", Dialect::MySql, Changes, Some(End)),
        ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", Dialect::MySql, Keeps, None),
        ("SET STATEMENT max_statement_time = 1 FOR COMMIT", Dialect::MySql, Changes, Some(End)),
        ("SELECT 1 /*! ; COMMIT */", Dialect::MySql, MayChange, Some(End)),
        ("BEGIN NOT ATOMIC COMMIT; END", Dialect::MySql, MayChange, Some(End)),
        ("EXECUTE IMMEDIATE 'COMMIT'", Dialect::MySql, MayChange, Some(End)),
    ] {
        let facts = analyze(sql, dialect);
        assert_eq!((facts.session, facts.transaction), (session, transaction), "{sql}");
    }
}

#[test]
fn schema_changes_are_told() {
    for (sql, changes) in [
        ("CREATE TABLE t (id int)", true),
        ("CREATE INDEX i ON t (a)", true),
        ("ALTER TABLE t ADD COLUMN a int", true),
        ("DROP VIEW v", true),
        ("GRANT SELECT ON t TO x", true),
        ("INSERT INTO t VALUES (1)", false),
        ("VACUUM", false),
    ] {
        assert_eq!(analyze(sql, Dialect::Postgres).schema_change, changes, "{sql}");
    }
}

#[test]
fn functions_operators_and_identifiers_are_mentioned() {
    let facts = analyze(
        "SELECT Lower(a.\"Name\"), x LIKE 'y', count(*) FROM shop.Users a WHERE id @> 1 AND z NOT IN (1, 2)",
        Dialect::Postgres,
    );
    let all = |set: &std::collections::BTreeSet<String>, wanted: &[&str]| wanted.iter().all(|name| set.contains(*name));
    assert!(all(&facts.mentions.functions, &["lower", "count"]), "{:?}", facts.mentions);
    assert!(all(&facts.mentions.operators, &["~~", "@>", "<>"]), "{:?}", facts.mentions);
    assert!(all(&facts.mentions.identifiers, &["Name", "shop", "users", "a", "x", "id"]), "{:?}", facts.mentions);
}

#[test]
fn white_space_and_comments_are_no_part_of_the_normal_form() {
    for (dialect, written, normal) in [
        (Dialect::Postgres, "  SELECT\n\t1 ; ;\n", "SELECT 1"),
        (Dialect::Postgres, "SELECT/* a /* b */ c */1 -- d", "SELECT 1"),
        (Dialect::Postgres, "SELECT 'a  b', \"c  d\"", "SELECT 'a  b', \"c  d\""),
        (Dialect::Postgres, "SELECT $$a  b$$", "SELECT $$a  b$$"),
        (Dialect::Postgres, "SELECT /*+ hint */  1", "SELECT /*+ hint */ 1"),
        (Dialect::Postgres, "SELECT 'a'\n  'b'", "SELECT 'a'\n  'b'"),
        (Dialect::Postgres, "SELECT 'a'  'b'", "SELECT 'a' 'b'"),
        (Dialect::MySql, "SELECT 5--1", "SELECT 5--1"),
        (Dialect::MySql, "SELECT 5--/**/1", "SELECT 5--/**/1"),
        (Dialect::MySql, "SELECT x FROM a\n WHERE y = 5 -- 1", "SELECT x FROM a WHERE y = 5"),
        (Dialect::MySql, "SELECT x FROM a WHERE y = 5 # 1\n+ 1", "SELECT x FROM a WHERE y = 5 + 1"),
        // They name the column after this text.
        (Dialect::MySql, "SELECT 5 # 1\n+  1  FROM  a", "SELECT 5 # 1\n+  1  FROM a"),
        (Dialect::MySql, "SELECT (SELECT  max(x) FROM a  ) /* b */ ;", "SELECT (SELECT  max(x) FROM a  ) /* b */ "),
        (Dialect::MySql, "VALUES ((SELECT max(x) FROM  a)) /* b */ ;", "VALUES ((SELECT max(x) FROM  a)) /* b */ "),
        (Dialect::MySql, "SELECT a.from,  1 FROM  b AS  a", "SELECT a.from,  1 FROM b AS a"),
        (Dialect::Sqlite, "SELECT x IS DISTINCT FROM  1 FROM  a", "SELECT x IS DISTINCT FROM  1 FROM a"),
        (Dialect::Postgres, "VALUES ((SELECT max(x) FROM  a))", "VALUES ((SELECT max(x) FROM a))"),
        (Dialect::Sqlite, "SELECT * FROM  (SELECT x  + 1 FROM  a)", "SELECT * FROM (SELECT x  + 1 FROM a)"),
        (Dialect::Postgres, "SELECT x  + /* b */ 1 FROM a", "SELECT x + 1 FROM a"),
        (Dialect::MySql, "SELECT /*!50000 1 */", "SELECT /*!50000 1 */"),
        (Dialect::MySql, "SELECT 'a\\'  b'", "SELECT 'a\\'  b'"),
        (Dialect::Sqlite, "SELECT [a  b]", "SELECT [a  b]"),
        (Dialect::Sqlite, "SELECT Case", "SELECT Case"),
    ] {
        assert_eq!(analyze(written, dialect).normal_form, normal, "{written}");
    }
}

#[test]
fn fingerprints_name_statements_whatever_their_literals() {
    let of = |sql: &str| analyze(sql, Dialect::Postgres).fingerprint;
    assert_eq!(of("SELECT * FROM a WHERE x = 1"), of("select *  from A where x = 'two' -- c"));
    assert_eq!(of("SELECT * FROM a WHERE x IN (1, 2, 3)"), of("SELECT * FROM a WHERE x IN ($1)"));
    assert_eq!(of("INSERT INTO a VALUES (1, 'x'), (2, 'y')"), of("INSERT INTO a VALUES (3)"));
    assert_eq!(of("SELECT * FROM a WHERE x = -1"), of("SELECT * FROM a WHERE x = 1"));
    assert_ne!(of("SELECT * FROM a WHERE x = 1"), of("SELECT * FROM b WHERE x = 1"));
    assert_ne!(of("SELECT x FROM a"), of("SELECT x, y FROM a"));
    // Stable over runs, machines and releases: reports are compared by it.
    assert_eq!(of("SELECT 1").to_string(), "de051a8eecb4c4a0");
}

/// Runs on a stack as small as that of a thread in a busy server.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap().join().unwrap();
}

#[test]
fn hostile_texts_do_not_overflow_the_stack() {
    on_a_small_stack(|| {
        let repeat = |piece: &str, times: usize| piece.repeat(times);
        for times in [50, 60, 150, 390, 1_000, 20_000] {
            for sql in [
                format!("SELECT {}1{} FROM t", repeat("(", times), repeat(")", times)),
                format!("SELECT 1{} FROM t", repeat(" + 1", times)),
                format!("SELECT 1 FROM t WHERE a{}", repeat(" OR a", times)),
                format!("SELECT 1 FROM t WHERE {}a", repeat("NOT ", times)),
                format!("SELECT {}1 FROM t", repeat("- ", times)),
                format!("SELECT {}1{} FROM t", repeat("CASE WHEN ", times), repeat(" THEN 1 END", times)),
                format!("SELECT 1{} FROM t", repeat("::int", times)),
                format!("SELECT a{} FROM t", repeat("[1]", times)),
                format!("SELECT a{} FROM t", repeat(".b", times)),
                format!("SELECT {}1{} FROM t", repeat("ARRAY[", times), repeat("]", times)),
                format!("SELECT {}1{} FROM t", repeat("f(", times), repeat(")", times)),
                format!("SELECT 1{}", repeat(" UNION SELECT 1", times)),
                format!("{}SELECT 1{}", repeat("(", times), repeat(")", times)),
                format!("SELECT * FROM {}t{}", repeat("(", times), repeat(")", times)),
                format!("SELECT * FROM {}t{}", repeat("(SELECT * FROM ", times), repeat(") AS x", times)),
                format!("SELECT * FROM t{}", repeat(" JOIN t", times)),
                format!("SELECT * FROM t{}", repeat(" JOIN t ON a = b", times)),
                format!("SELECT * FROM {}t", repeat("t, ", times)),
                format!("{}SELECT 1{}", repeat("WITH x AS (", times), repeat(") SELECT 1", times)),
                format!("SELECT {}1", repeat("/*", times)),
                format!("SELECT a{} FROM t", repeat(" IS NULL", times)),
                format!("SELECT a{} FROM t", repeat(" COLLATE c", times)),
                format!("SELECT a{} FROM t", repeat(" AT TIME ZONE 'x'", times)),
                format!("SELECT {}1 FROM t", repeat("EXISTS (SELECT ", times)),
                format!("SELECT {}1 FROM t", repeat("INTERVAL ", times)),
                format!("SELECT {}1 FROM t", repeat("PRIOR ", times)),
                format!("SELECT {}1 FROM t", repeat("DISTINCT ", times)),
                format!("{}SELECT 1", repeat("EXPLAIN ", times)),
                format!("{}SELECT 1", repeat("EXPLAIN ANALYZE ", times)),
                format!("{}SELECT 1", repeat("DECLARE c CURSOR FOR ", times)),
                format!("{}SELECT 1", repeat("CREATE TABLE t AS ", times)),
                format!("{}SELECT 1", repeat("COPY (", times)),
                format!("INSERT INTO t VALUES {}(1)", repeat("(1), ", times)),
                format!("SELECT 1 IN ({}1) FROM t", repeat("1, ", times)),
                format!("SELECT {}1 FROM t", repeat("a BETWEEN 1 AND ", times)),
                format!("SELECT {}1 FROM t", repeat("a LIKE ", times)),
                format!("SELECT {}1 FROM t", repeat("x -> ", times)),
                format!("SELECT CAST(1 AS {}int{}) FROM t", repeat("ARRAY<", times), repeat(">", times)),
                format!("SELECT 1::{} FROM t", repeat("int[]", times)),
                repeat(";", times),
                repeat("SELECT 1;", times.min(400)),
                repeat("{", times),
                repeat("'", times),
                repeat("a.", times),
                repeat("$a$", times),
                format!("SELECT a{} FROM t", repeat(":b", times)),
                format!("SELECT 1 {}", repeat("FROM t ", times)),
                format!("SELECT ${} FROM t", repeat("1", times)),
            ] {
                for (_, dialect) in DIALECTS {
                    analyze(&sql, dialect);
                }
            }
        }
    });
}

/// What may be done to each table is told, and no verb that the server does is missing.
#[test]
fn verbs_are_told() {
    use Dialect::{MySql, Postgres, Sqlite};
    let all = "insert, update, delete, truncate";
    for (dialects, sql, expected) in [
        (&[Postgres, MySql, Sqlite][..], "INSERT INTO t VALUES (1)", "t: insert"),
        (&[Postgres, MySql, Sqlite], "UPDATE t SET a = 1", "t: update"),
        (&[Postgres, MySql, Sqlite], "DELETE FROM t WHERE a = 1", "t: delete"),
        (&[Postgres, Sqlite], "INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", "t: insert, update"),
        (&[MySql], "INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2", "t: insert, update"),
        (&[MySql, Sqlite], "REPLACE INTO t VALUES (1)", &format!("t: {all}")),
        (&[Sqlite], "INSERT OR REPLACE INTO t VALUES (1)", &format!("t: {all}")),
        (&[Sqlite], "UPDATE OR REPLACE t SET a = 1", &format!("t: {all}")),
        (&[Sqlite], "WITH x AS (SELECT 1) REPLACE INTO t SELECT * FROM x", &format!("t: {all}")),
        (&[Postgres], "COPY t FROM STDIN", "t: insert"),
        (&[Postgres], "WITH x AS (DELETE FROM u RETURNING a) INSERT INTO t SELECT a FROM x", "t: insert; u: delete"),
        (&[Postgres], "WITH x AS (DELETE FROM t RETURNING a) UPDATE t SET a = 2", "t: update, delete"),
        (&[Postgres], "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE", &format!("t: {all}")),
        (&[Postgres, MySql], "TRUNCATE TABLE t", &format!("t: {all}")),
        (&[MySql], "DELETE t, u FROM t JOIN u ON t.a = u.a", "t: delete; u: delete"),
        (&[MySql], "UPDATE t JOIN u ON t.a = u.a SET t.b = 1", "t: update"),
        (&[MySql], "LOAD DATA INFILE 'x' REPLACE INTO TABLE t", &format!("t: {all}")),
        (&[Postgres, MySql, Sqlite], "ALTER TABLE t ADD COLUMN b INT", &format!("t: {all}")),
    ] {
        for dialect in dialects {
            let Writes::Tables(tables) = analyze(sql, *dialect).writes else { panic!("{dialect:?}: {sql}") };
            let told: Vec<String> = tables.iter().map(|(name, verbs)| format!("{name}: {verbs}")).collect();
            assert_eq!(told.join("; "), expected, "{dialect:?}: {sql}");
        }
    }
}
