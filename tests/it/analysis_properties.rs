//! Promises of the analysis that hold for every text: random tokens, random queries, and queries with a piece broken off.

use std::collections::BTreeSet;

use larder::analysis::{Dialect, Kind, Outcome, SqlMode, Writes, analyze, analyze_in};
use proptest::prelude::*;

const DIALECTS: [Dialect; 3] = [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite];

/// Pieces of which a statement may be made, with those that lexers stumble over.
const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "WITH",
    "RECURSIVE",
    "AS",
    "INSERT INTO",
    "UPDATE",
    "DELETE FROM",
    "SET",
    "VALUES",
    "JOIN",
    "LEFT",
    "NATURAL",
    "ON",
    "USING",
    "UNION",
    "ALL",
    "ORDER BY",
    "GROUP BY",
    "LIMIT",
    "ONLY",
    "TABLE",
    "LATERAL",
    "INTO",
    "FOR",
    "IN",
    "NOT",
    "NULL",
    "IS",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "EXISTS",
    "CREATE",
    "DROP",
    "ALTER",
    "COPY",
    "EXPLAIN",
    "ANALYZE",
    "MERGE",
    "REPLACE",
    "PRAGMA",
    "EXTRACT",
    "CAST",
    "OVER",
    "a",
    "b",
    "users",
    "now",
    "x.y",
    "\"q\"",
    "`q`",
    "[q]",
    "'s'",
    "E'\\n'",
    "U&\"x\"",
    "$$t$$",
    "$1",
    "?",
    ":p",
    "@v",
    "@@w",
    "1",
    "1.5e3",
    "0x1F",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ";",
    ".",
    "*",
    "+",
    "-",
    "--",
    "/*",
    "*/",
    "/*!",
    "/*+",
    "#",
    "::",
    ":=",
    "||",
    "->",
    "<",
    "=",
    "!",
    "'",
    "\"",
    "\\",
    "\n",
    "\t",
    "\u{a0}",
    "é",
    "\0",
    "😀",
    "$",
    "@",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(PIECES), any::<bool>()), 0..40).prop_map(|pieces| {
        pieces.into_iter().map(|(piece, gap)| if gap { format!("{piece} ") } else { piece.to_owned() }).collect()
    })
}

/// A query over tables `t0` to `t9`, and the tables it reads.
#[derive(Debug, Clone)]
struct Query {
    sql: String,
    reads: BTreeSet<String>,
}

impl Query {
    fn new(sql: String, parts: &[&Query]) -> Self {
        Self { sql, reads: parts.iter().flat_map(|part| part.reads.iter().cloned()).collect() }
    }
}

fn query() -> impl Strategy<Value = Query> {
    let table =
        (0..10_u8).prop_map(|n| Query { sql: format!("SELECT a FROM t{n}"), reads: BTreeSet::from([format!("t{n}")]) });
    table.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| Query::new(format!("{} UNION {}", a.sql, b.sql), &[&a, &b])),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Query::new(
                format!("SELECT a FROM ({}) AS q WHERE a IN ({})", a.sql, b.sql),
                &[&a, &b]
            )),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Query::new(
                format!("SELECT p.a FROM ({}) AS p JOIN ({}) AS q ON p.a = q.a", a.sql, b.sql),
                &[&a, &b]
            )),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                Query::new(
                    format!("SELECT (SELECT max(a) FROM ({}) AS q) AS a FROM ({}) AS r", a.sql, b.sql),
                    &[&a, &b],
                )
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| {
                Query::new(
                    format!("SELECT CASE WHEN EXISTS ({}) THEN 1 ELSE 2 END AS a FROM ({}) AS r", a.sql, b.sql),
                    &[&a, &b],
                )
            }),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Query::new(
                format!("SELECT a FROM (WITH c AS ({}) SELECT a FROM c UNION {}) AS q", a.sql, b.sql),
                &[&a, &b]
            )),
            // The WITH query hides t0 from the outer query only; the inner one may read it.
            inner.clone().prop_map(|a| Query::new(
                format!("SELECT a FROM (WITH c AS ({}) SELECT x.a FROM c AS x, c AS y) AS q", a.sql),
                &[&a]
            )),
        ]
    })
}

/// A piece of a statement goes, or comes.
fn broken(sql: &str, at: usize, piece: &str, remove: bool) -> String {
    let mut words: Vec<&str> = sql.split(' ').collect();
    let at = at % words.len();
    if remove {
        words.remove(at);
    } else {
        words.insert(at, piece);
    }
    words.join(" ")
}

fn texts(names: impl IntoIterator<Item = impl ToString>) -> BTreeSet<String> {
    names.into_iter().map(|name| name.to_string()).collect()
}

/// What a MySQL session may answer for `@@sql_mode`.
const MODES: &[&str] =
    &["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES", "IGNORE_SPACE", "ORACLE"];

/// One piece with its own quotes and backslashes, spelled for a mode.
fn spelled(piece: &str, ansi_quotes: bool, no_backslash_escapes: bool) -> String {
    match piece {
        "NAME" if ansi_quotes => "\"t`0\"".into(),
        "NAME" => "`t``0`".into(),
        "TEXT" if no_backslash_escapes => r"'a\'".into(),
        "TEXT" => r"'a\\'".into(),
        "QUOTE" if no_backslash_escapes => r"'\''\'".into(),
        "QUOTE" => r"'\\\'\\'".into(),
        piece => piece.into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_is_too_strange_in_any_mode(sql in soup(), bytes in any::<String>()) {
        for mode in MODES.iter().map(|modes| SqlMode::of(modes, "utf8mb4")).chain([SqlMode::unseen(Dialect::MySql)]) {
            for sql in [&sql, &bytes] {
                let facts = analyze_in(sql, Dialect::MySql, mode);
                prop_assert!(!facts.cacheable() || facts.kind == Kind::Read && facts.writes == Writes::Nothing);
                // What is said without knowing the mode is true in all of them.
                let unseen = analyze_in(sql, Dialect::MySql, SqlMode::unseen(Dialect::MySql));
                prop_assert!(mode == SqlMode::of("ORACLE", "utf8mb4") || unseen.writes == Writes::Everything || unseen.writes == facts.writes);
            }
        }
    }

    #[test]
    fn a_statement_says_the_same_in_every_mode(pieces in prop::collection::vec(
        prop::sample::select(&["NAME", "TEXT", "QUOTE", "FROM", "SELECT", ",", "1", "UPDATE", "SET a =", "/* ' */", "# \"\n", "-- '\n", "(", ")", ";", "b"][..]),
        0..20,
    )) {
        let mut known: Option<larder::analysis::Facts> = None;
        for (modes, ansi, plain) in [("", false, false), ("ANSI_QUOTES", true, false), ("NO_BACKSLASH_ESCAPES", false, true), ("ANSI_QUOTES,NO_BACKSLASH_ESCAPES", true, true)] {
            let words: Vec<String> = pieces.iter().map(|piece| spelled(piece, ansi, plain)).collect();
            let mut facts = analyze_in(&words.join(" "), Dialect::MySql, SqlMode::of(modes, "utf8mb4"));
            facts.normal_form.clear();
            if facts.outcome == Outcome::Unknown {
                // Where nothing was understood, they are guessed.
                facts.reads.clear();
            }
            let known = known.get_or_insert_with(|| facts.clone());
            prop_assert_eq!(&*known, &facts, "{}", modes);
        }
    }

    #[test]
    fn no_text_is_too_strange(sql in soup()) {
        for dialect in DIALECTS {
            let facts = analyze(&sql, dialect);
            prop_assert!(!facts.cacheable() || facts.kind == Kind::Read && facts.outcome == Outcome::Known && facts.writes == Writes::Nothing);
        }
    }

    #[test]
    fn no_bytes_are_too_strange(sql in any::<String>()) {
        for dialect in DIALECTS {
            analyze(&sql, dialect);
        }
    }

    #[test]
    fn the_normal_form_is_its_own(sql in soup()) {
        for dialect in DIALECTS {
            let once = analyze(&sql, dialect);
            let twice = analyze(&once.normal_form, dialect);
            prop_assert_eq!(&once.normal_form, &twice.normal_form);
            prop_assert_eq!(once.fingerprint, twice.fingerprint);
            prop_assert_eq!(once.cacheable(), twice.cacheable());
            prop_assert_eq!(once.reads, twice.reads);
            prop_assert_eq!(once.writes, twice.writes);
        }
    }

    #[test]
    fn every_table_of_a_query_is_read(query in query()) {
        for dialect in DIALECTS {
            let facts = analyze(&query.sql, dialect);
            prop_assert_eq!(facts.outcome, Outcome::Known, "{}", &query.sql);
            prop_assert!(facts.cacheable(), "{}: {:?}", &query.sql, facts.refusals);
            prop_assert_eq!(texts(&facts.reads), query.reads.clone(), "{}", &query.sql);
        }
    }

    #[test]
    fn white_space_and_comments_change_nothing(query in query()) {
        for dialect in DIALECTS {
            let spread = query.sql.replace(' ', " /* 'c */\n\t");
            let (mut spread, mut plain) = (analyze(&spread, dialect), analyze(&query.sql, dialect));
            if dialect != Dialect::Postgres {
                // They may name a column.
                spread.normal_form.clear();
                plain.normal_form.clear();
            }
            prop_assert_eq!(spread, plain);
        }
    }

    #[test]
    fn a_broken_query_is_never_cached_without_its_tables(query in query(), at in any::<usize>(), piece in prop::sample::select(PIECES), remove in any::<bool>()) {
        let sql = broken(&query.sql, at, piece, remove);
        // Elsewhere than in Postgres a comment may stay in the normal form, since columns are called by their text.
        let comment = ["--", "/*", "#"].iter().any(|start| piece.contains(start));
        for dialect in DIALECTS {
            let facts = analyze(&sql, dialect);
            if facts.cacheable() && !(comment && dialect != Dialect::Postgres) {
                // What is left of the text may hide a table behind a comment, a string or an alias, but not in a FROM.
                let named: BTreeSet<String> = texts(&facts.reads);
                let words: Vec<&str> = facts.normal_form.split([' ', '(', ')']).filter(|word| !word.is_empty()).collect();
                for pair in words.windows(2).filter(|pair| pair[0] == "FROM") {
                    prop_assert!(!pair[1].starts_with('t') || named.contains(pair[1]), "{}: {:?}", &sql, named);
                }
            }
        }
    }

    #[test]
    fn a_write_is_never_a_read(query in query(), verb in prop::sample::select(&[
        "INSERT INTO w ", "WITH w1 AS (DELETE FROM w RETURNING a) ", "UPDATE w SET a = 1 WHERE a IN (", "CREATE TABLE w AS ",
    ][..])) {
        let sql = if verb.ends_with('(') { format!("{verb}{})", query.sql) } else { format!("{verb}{}", query.sql) };
        for dialect in DIALECTS {
            let facts = analyze(&sql, dialect);
            prop_assert_eq!(facts.kind, Kind::Write, "{}", &sql);
            let written = match &facts.writes {
                Writes::Everything => true,
                Writes::Tables(tables) => texts(tables.keys()).contains("w"),
                Writes::Nothing => false,
            };
            prop_assert!(written, "{}: {:?}", &sql, facts.writes);
        }
    }
}
