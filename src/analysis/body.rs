//! Code that a database keeps: the bodies of functions and triggers, the queries behind views.
//!
//! In: its text and its language. Out: what it mentions, which is a superset of what it may write; or its statements, if each of
//! them can be told, for those that only read.

use std::collections::BTreeSet;

use super::facts::{Dialect, Facts, Kind, SessionEffect, Writes};
use super::fold::{chain, fold_token};
use super::guess;
use super::lexer::{self, Token, TokenKind};
use super::mode::SqlMode;
use super::name::Name;
#[cfg(feature = "sqlite")]
use super::verbs::Verbs;
use crate::reason::{Reason, Refusal};

/// What a body of code mentions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Body {
    /// Every identifier, folded, each part of a qualified name on its own; key words among them.
    pub identifiers: BTreeSet<String>,
    /// The names that stand where those of tables do, and perhaps others.
    pub tables: BTreeSet<Name>,
    /// The routines that it calls, but those that are known to be built in; and perhaps other names.
    pub calls: BTreeSet<String>,
    /// Why it may do anything, whatever it mentions.
    pub opaque: Option<&'static str>,
}

/// The language of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// Statements of SQL; in MySQL what stands in a routine.
    Sql,
    /// PL/pgSQL.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "no other database has it"))]
    PlPgSql,
}

/// Words of statements that run a text, change the schema or rights, or write what they do not name.
const OPAQUE: &[&str] = &[
    "alter", "attach", "cluster", "create", "detach", "do", "drop", "execute", "grant", "handler", "import", "load",
    "prepare", "reassign", "refresh", "rename", "revoke", "security", "vacuum", "xa",
];

/// Of those, what is an ordinary word in a dialect: `INSTEAD OF .. DO`, `ON CONFLICT DO UPDATE`, a loop's `DO`.
const HARMLESS_BEFORE: &[&str] = &["update", "nothing", "also", "instead"];

/// What a body mentions: all tables that it may write, and all functions and procedures that it may call, are among its identifiers,
/// unless it is opaque.
pub(crate) fn mentioned(text: &str, dialect: Dialect, mode: SqlMode) -> Body {
    const BEFORE_TABLE: &[&str] =
        &["from", "ignore", "into", "join", "only", "replace", "straight_join", "table", "truncate", "update", "using"];
    const BEFORE_INTO: &[&str] = &["delayed", "high_priority", "ignore", "insert", "low_priority", "merge", "replace"];
    let Some(spelled) = mode.respell(text) else {
        return Body { opaque: Some("is written for another sql_mode"), ..Body::default() };
    };
    let tokens = lexer::tokens(&spelled, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let (mut body, mut procedures) = (Body::default(), BTreeSet::new());
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        if matches!(token.kind, TokenKind::Broken | TokenKind::Executable) {
            body.opaque.get_or_insert("cannot be read");
        }
        if is_opaque(token, before, tokens.get(at + 1), dialect) {
            body.opaque.get_or_insert("may run a text, or change the schema");
        }
        if token.is_identifier() {
            body.identifiers.insert(fold_token(token, dialect));
        }
        let follows = |words: &[&str]| before.is_some_and(|before| before.is_any(words));
        // `SELECT .. INTO variable`, `ON DUPLICATE KEY UPDATE column`.
        let other = (token.is_word("into") && !follows(BEFORE_INTO))
            || (token.is_word("update") && follows(&["key", "do", "for", "on"]));
        if token.is_word("call")
            && let Some((name, _)) = chain(&tokens, at + 1, dialect)
        {
            procedures.extend(name.parts().last().cloned());
        }
        if token.is_any(BEFORE_TABLE)
            && !other
            && let Some((name, _)) = chain(&tokens, at + 1, dialect)
        {
            body.tables.insert(name);
        }
    }
    let tables: BTreeSet<&String> = body.tables.iter().filter_map(|name| name.parts().last()).collect();
    // Words of MySQL's blocks that may stand before a bracket.
    const SYNTAX: &[&str] = &["elseif", "return", "until", "while"];
    let called = guess::unknown_calls(&tokens, dialect).filter_map(|name| name.parts().last().cloned());
    let is_call = |name: &String| !tables.contains(name) && !SYNTAX.contains(&&*name.to_ascii_lowercase());
    body.calls = called.filter(is_call).chain(procedures).collect();
    body
}

fn is_opaque(token: &Token<'_>, before: Option<&Token<'_>>, after: Option<&Token<'_>>, dialect: Dialect) -> bool {
    if token.kind != TokenKind::Word || !token.is_any(OPAQUE) || before.is_some_and(|before| before.is(".")) {
        return false;
    }
    // In MySQL and SQLite code is no text: there a block after DO, or an expression.
    let loops =
        token.is_word("do") && (dialect != Dialect::Postgres || after.is_some_and(|a| a.is_any(HARMLESS_BEFORE)));
    // A rule's `DO INSERT` and the like.
    let ruled =
        token.is_word("do") && after.is_some_and(|a| a.is_any(&["insert", "delete", "notify", "select"]) || a.is("("));
    !(loops || ruled)
}

/// The statements that a body runs, each a read to which its text has no objection but that it does not know a function, or why
/// that cannot be told. All that the body evaluates is in one of them.
pub(crate) fn reads_of(text: &str, language: Language, dialect: Dialect, mode: SqlMode) -> Result<Vec<Facts>, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(Reason::UserFunction, why));
    if language != Language::Sql {
        return refuse(
            "it is in PL/pgSQL, of which only what it may write is read: a function in SQL would be followed.",
        );
    }
    let Some(spelled) = mode.respell(text) else { return refuse("it is written for another sql_mode.") };
    let all = lexer::tokens(&spelled, dialect);
    let tokens: Vec<Token<'_>> = all.into_iter().filter(|token| !token.is_blank()).collect();
    let mut statements = Vec::new();
    for piece in tokens.split(|token| token.is(";")) {
        let rest = match piece {
            [] => continue,
            [first, rest @ ..] if first.is_word("return") => {
                statements.push(format!("SELECT {}", text_of(&spelled, rest)));
                continue;
            }
            [begin, atomic, rest @ ..] if begin.is_word("begin") && atomic.is_word("atomic") => rest,
            [end] if end.is_word("end") => continue,
            piece => piece,
        };
        statements.push(text_of(&spelled, rest).to_owned());
    }
    let facts: Vec<Facts> = statements.iter().map(|sql| super::analyze_in(sql, dialect, mode)).collect();
    for facts in &facts {
        let objection = facts
            .refusals
            .iter()
            .find(|refusal| refusal.reason != Reason::NoTables && !refusal.reason.is_left_to_the_catalog())
            .map(|refusal| refusal.sentence.as_str());
        let calls = !facts.mentions.unknown.is_empty();
        match objection {
            Some(sentence) => return refuse(sentence),
            None if facts.kind != Kind::Read => return refuse("it does more than to read."),
            None if facts.clock_by_argument => {
                return refuse("it makes a date of an argument, which may be the text 'now'.");
            }
            None if !calls && (facts.writes != Writes::Nothing || facts.session != SessionEffect::Keeps) => {
                return refuse("it may do more than to read.");
            }
            None => {}
        }
    }
    Ok(facts)
}

/// The text from the first of these tokens to the last.
fn text_of<'t>(text: &'t str, tokens: &[Token<'t>]) -> &'t str {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return "" };
    let start = (first.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let end = (last.text.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) + last.text.len();
    text.get(start..end).unwrap_or_default()
}

/// The verbs that set off the trigger in `CREATE TRIGGER t .. ON table .. BEGIN .. END` of SQLite, and what it runs.
#[cfg(feature = "sqlite")]
pub(crate) fn trigger_of(sql: &str, dialect: Dialect) -> Option<(Verbs, &str)> {
    let tokens = lexer::tokens(sql, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let name = tokens.iter().position(|token| token.is_word("trigger"))? + 1;
    // `IF NOT EXISTS` is left out of the text that is kept. Of the name may come two parts.
    let mut at = match (chain(&tokens, name, dialect), tokens.get(name)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => name + 1,
        (None, _) => return None,
    };
    while tokens.get(at)?.is_any(&["before", "after", "instead", "of"]) {
        at += 1;
    }
    let verbs = match tokens.get(at)? {
        verb if verb.is_word("insert") => Verbs::INSERT,
        verb if verb.is_word("update") => Verbs::UPDATE,
        verb if verb.is_word("delete") => Verbs::DELETE,
        _ => return None,
    };
    let on = at + tokens.get(at..)?.iter().position(|token| token.is_word("on"))?;
    let body = match (chain(&tokens, on + 1, dialect), tokens.get(on + 1)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => on + 2,
        (None, _) => return None,
    };
    // The condition runs as well.
    Some((verbs, text_of(sql, tokens.get(body..)?)))
}

/// The query in `CREATE VIEW v AS query`.
#[cfg(feature = "sqlite")]
pub(crate) fn query_of_view(sql: &str, dialect: Dialect) -> Option<String> {
    let tokens = lexer::tokens(sql, dialect);
    let tokens: Vec<Token<'_>> = tokens.into_iter().filter(|token| !token.is_blank()).collect();
    let view = tokens.iter().position(|token| token.is_word("view"))?;
    let mut at = view + 1;
    while tokens.get(at).is_some_and(|token| token.is_any(&["if", "not", "exists"])) {
        at += 1;
    }
    // Of a name that is none, such as a text, nothing is known.
    at = match (chain(&tokens, at, dialect), tokens.get(at)?.kind) {
        (Some((_, end)), _) => end,
        (None, TokenKind::Text) => at + 1,
        (None, _) => return None,
    };
    if tokens.get(at)?.is("(") {
        at += tokens[at..].iter().position(|token| token.is(")"))? + 1;
    }
    if !tokens.get(at)?.is_word("as") {
        return None;
    }
    match tokens.get(at + 1..)? {
        [query @ .., end] if end.is(";") => Some(text_of(sql, query).to_owned()),
        query => Some(text_of(sql, query).to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{MySql, Postgres, Sqlite};

    fn body(text: &str, dialect: Dialect) -> Body {
        mentioned(text, dialect, SqlMode::default())
    }

    #[test]
    fn what_code_writes_and_calls_is_among_its_words() {
        for (dialect, text, words) in [
            (
                Postgres,
                "BEGIN INSERT INTO Audit VALUES (1); PERFORM shop.note(2); RETURN NULL; END",
                &["audit", "note"][..],
            ),
            (
                Postgres,
                "BEGIN UPDATE \"We.Ird\" SET n = 1; DELETE FROM only_one; CALL tidy(); END",
                &["We.Ird", "only_one", "tidy"],
            ),
            (Postgres, "ON INSERT TO t DO INSERT INTO u VALUES (1)", &["t", "u"]),
            (Postgres, "BEGIN /* x */ MERGE INTO /* y */ z USING w ON true WHEN MATCHED THEN DELETE; END", &["z", "w"]),
            (MySql, "BEGIN INSERT INTO `log` SELECT * FROM other.src; CALL p(); END", &["log", "src", "p"]),
            (Sqlite, "FOR EACH ROW BEGIN UPDATE [the log] SET n = f(new.n); END", &["the log", "f"]),
        ] {
            let body = body(text, dialect);
            assert_eq!(body.opaque, None, "{text}");
            words.iter().for_each(|word| assert!(body.identifiers.contains(*word), "{word}: {text}"));
        }
    }

    #[test]
    fn code_that_may_do_anything_is_opaque() {
        for (dialect, text) in [
            (Postgres, "BEGIN EXECUTE 'DELETE FROM t'; END"),
            (Postgres, "BEGIN FOR r IN EXECUTE q LOOP END LOOP; END"),
            (Postgres, "BEGIN RETURN QUERY EXECUTE q; END"),
            (Postgres, "BEGIN CREATE TEMP TABLE t AS SELECT 1; END"),
            (Postgres, "BEGIN ALTER TABLE t ADD x int; END"),
            (Postgres, "BEGIN DO $$ BEGIN END $$; END"),
            (Postgres, "BEGIN INSERT INTO U&\"d\\0061ta\" VALUES (1); END"),
            (Postgres, "BEGIN INSERT INTO t VALUES ('unfinished"),
            (MySql, "BEGIN PREPARE s FROM @q; EXECUTE s; END"),
            (MySql, "BEGIN EXECUTE IMMEDIATE 'DROP TABLE t'; END"),
            (MySql, "BEGIN /*! DELETE FROM t */; END"),
        ] {
            assert!(body(text, dialect).opaque.is_some(), "{text}");
        }
        // Ordinary words that look like it.
        for (dialect, text) in [
            (Postgres, "BEGIN INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING; UPDATE t SET a = NEW.create; END"),
            (Postgres, "BEGIN INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1; END"),
            (MySql, "BEGIN WHILE n > 0 DO SET n = n - 1; END WHILE; END"),
        ] {
            assert_eq!(body(text, dialect).opaque, None, "{text}");
        }
    }

    #[test]
    fn only_what_is_read_to_its_end_counts_as_a_read() {
        let reads = |text, language, dialect| reads_of(text, language, dialect, SqlMode::default());
        for (text, dialect, statements) in [
            ("SELECT 1", Postgres, 1),
            ("SELECT price FROM prices WHERE id = wanted;", Postgres, 1),
            ("BEGIN ATOMIC SELECT a FROM t; SELECT b FROM u; END", Postgres, 2),
            ("RETURN (SELECT max(a) FROM t)", Postgres, 1),
            ("RETURN (SELECT max(a) FROM t)", MySql, 1),
        ] {
            assert_eq!(reads(text, Language::Sql, dialect).unwrap().len(), statements, "{text}");
        }
        for (text, dialect) in [
            ("SELECT now()", Postgres),
            ("SELECT random() FROM t", Postgres),
            ("SELECT $1::date", Postgres),
            ("SELECT a FROM t FOR UPDATE", Postgres),
            ("UPDATE t SET a = 1", Postgres),
            ("SELECT 1; DELETE FROM t", Postgres),
            ("SELECT set_config('a', 'b', false)", Postgres),
            ("RETURN now()", MySql),
            ("RETURN @x", MySql),
            ("BEGIN RETURN 1; END", MySql),
        ] {
            assert!(reads(text, Language::Sql, dialect).is_err(), "{text}");
        }
        assert!(reads("BEGIN RETURN 1; END", Language::PlPgSql, Postgres).is_err());
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn views_and_triggers_of_sqlite_are_taken_apart() {
        for (sql, query) in [
            ("CREATE VIEW v AS SELECT 1", Some("SELECT 1")),
            ("CREATE VIEW \"v AS x\" (\"a)\", b) AS SELECT 1, 2;", Some("SELECT 1, 2")),
            (
                "create temp view if not exists main.[v w] as -- x\n with a as (select 1) select * from a",
                Some("with a as (select 1) select * from a"),
            ),
            ("CREATE VIEW 'v' AS SELECT 1", Some("SELECT 1")),
            ("CREATE TABLE t (a)", None),
            ("CREATE VIEW", None),
        ] {
            assert_eq!(query_of_view(sql, Sqlite).as_deref(), query, "{sql}");
        }
        for (sql, expected) in [
            (
                "CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM u; END",
                Some((Verbs::INSERT, "BEGIN DELETE FROM u; END")),
            ),
            (
                "CREATE TRIGGER [g h] INSTEAD OF UPDATE OF a, b ON \"v\" WHEN f(new.a) BEGIN SELECT 1; END",
                Some((Verbs::UPDATE, "WHEN f(new.a) BEGIN SELECT 1; END")),
            ),
            ("CREATE TRIGGER g DELETE ON t BEGIN SELECT 1; END", Some((Verbs::DELETE, "BEGIN SELECT 1; END"))),
            ("CREATE TRIGGER g", None),
        ] {
            assert_eq!(trigger_of(sql, Sqlite), expected, "{sql}");
        }
    }
}
