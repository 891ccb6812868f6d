//! The text of a statement as a key sees it, and as statistics see it.
//!
//! In: tokens. Out: the normal form (never equal for two texts of different meaning), the fingerprint (equal for
//! statements that differ in literals only) and a text for people that holds no literal.

use super::facts::{Dialect, Fingerprint};
use super::lexer::{Token, TokenKind};

/// Drops comments and trailing semicolons, and turns each run of white space into one space. All else stays as written.
///
/// MySQL and SQLite name a column after the text of its expression, blanks and comments included. There what stands
/// between SELECT and FROM stays as it is, and so does what follows VALUES, whose columns MySQL names by their text, too.
pub(super) fn normal_form(tokens: &[Token<'_>], dialect: Dialect) -> String {
    let mut form = String::new();
    let mut gap = false;
    let mut lists = SelectLists::default();
    let end = without_end(tokens).len();
    for (at, token) in tokens.iter().enumerate() {
        let names_column = dialect != Dialect::Postgres && lists.inside();
        if at >= end && (!names_column || token.is(";")) {
            break;
        }
        if matches!(token.kind, TokenKind::Space | TokenKind::Comment) {
            if names_column {
                form.push_str(token.text);
            } else {
                gap = true;
            }
            continue;
        }
        lists.note(token);
        if gap && !form.is_empty() {
            // MySQL's `--/**/1` is two minus signs; with a space after them they would begin a comment.
            form.push_str(if form.ends_with("--") { "/**/" } else { " " });
        }
        gap = false;
        form.push_str(token.text);
    }
    form
}

/// Whether a token stands between a SELECT and its FROM, or after VALUES, at any depth.
#[derive(Default)]
struct SelectLists {
    here: bool,
    /// The same for each bracket that is open around this one.
    around: Vec<bool>,
    /// How many of those are in such a list.
    lists_around: usize,
    /// The token before is a dot or a DISTINCT: what follows is part of an expression (`t.from`, `IS DISTINCT FROM`).
    within: bool,
}

impl SelectLists {
    fn inside(&self) -> bool {
        self.here || self.lists_around > 0
    }

    fn note(&mut self, token: &Token<'_>) {
        if token.is("(") {
            self.around.push(self.here);
            self.lists_around += usize::from(self.here);
            self.here = false;
        } else if token.is(")") {
            self.here = self.around.pop().unwrap_or(false);
            self.lists_around -= usize::from(self.here);
        } else if token.is_any(&["select", "values"]) {
            self.here = true;
        } else if token.is_word("from") && !self.within {
            self.here = false;
        }
        self.within = token.is(".") || token.is_word("distinct");
    }
}

/// Names a statement: words in lower case, literals and parameters as `?`, lists of them as one.
pub(super) fn fingerprint(tokens: &[Token<'_>]) -> Fingerprint {
    let shape = shape(tokens);
    let texts: Vec<&str> = shape.iter().map(|piece| &*piece.text).collect();
    let hash = blake3::hash(texts.join(" ").as_bytes());
    let first: [u8; 8] = std::array::from_fn(|i| hash.as_bytes()[i]);
    Fingerprint(u64::from_be_bytes(first))
}

/// The text behind a fingerprint, for people. What may be a literal is a `?`.
pub(super) fn without_literals(tokens: &[Token<'_>], dialect: Dialect) -> String {
    let mut shown = Vec::with_capacity(tokens.len());
    let visible: Vec<&Token<'_>> = tokens.iter().filter(|token| !token.is_blank()).collect();
    let sets = visible.first().is_some_and(|first| first.is_any(&["set", "pragma"]));
    let mut at = 0;
    for token in tokens {
        if token.is_blank() {
            shown.push(*token);
            continue;
        }
        let next = visible.get(at + 1);
        let previous = at.checked_sub(1).and_then(|before| visible.get(before));
        at += 1;
        // Behind what cannot be read, a text may be taken for words and words for a text.
        let unclear = token.kind == TokenKind::Broken
            || (dialect == Dialect::MySql && token.kind == TokenKind::Text && token.text.contains('\\'));
        // The value of a setting is a word or a text, as one likes.
        let value = sets && previous.is_some_and(|last| last.is("=") || last.is("(") || last.is_word("to"));
        if unclear || value {
            shown.push(Token { kind: TokenKind::Word, text: "…" });
            break;
        }
        // SQLite takes a name in double quotes for a text where there is no such name.
        let text = dialect == Dialect::Sqlite && token.text.starts_with('"') && !is_surely_a_name(previous, next);
        shown.push(if text { Token { kind: TokenKind::Text, text: "?" } } else { *token });
    }
    let mut text = String::new();
    for piece in shape(&shown) {
        if piece.gap && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&piece.text);
    }
    text
}

/// Whether only a name can stand between these two.
fn is_surely_a_name(previous: Option<&&Token<'_>>, next: Option<&&Token<'_>>) -> bool {
    const BEFORE_A_NAME: &[&str] = &["from", "join", "into", "update", "table", "as"];
    [previous, next].into_iter().flatten().any(|token| token.is("."))
        || previous.is_some_and(|previous| previous.is_any(BEFORE_A_NAME))
}

/// A token of a fingerprint, and whether there was a blank before it.
struct Piece {
    text: String,
    gap: bool,
}

fn shape(tokens: &[Token<'_>]) -> Vec<Piece> {
    let mut shape = Vec::new();
    let mut gap = false;
    for token in without_end(tokens) {
        let text = match token.kind {
            TokenKind::Space | TokenKind::Comment | TokenKind::Hint => {
                gap = true;
                continue;
            }
            TokenKind::Text | TokenKind::Number | TokenKind::Parameter => "?".to_owned(),
            TokenKind::Word => token.text.to_lowercase(),
            TokenKind::Quoted
            | TokenKind::Variable
            | TokenKind::Operator
            | TokenKind::Mark
            | TokenKind::Executable
            | TokenKind::Broken => token.text.to_owned(),
        };
        shape.push(Piece { text, gap: std::mem::take(&mut gap) });
        collapse(&mut shape);
    }
    shape
}

/// `? , ?` becomes `?`, and `( ? ) , ( ? )` becomes `( ? )`; a sign before a number belongs to the number.
fn collapse(shape: &mut Vec<Piece>) {
    let ends_with = |shape: &[Piece], tail: &[&str]| {
        shape.len() >= tail.len() && shape.iter().rev().zip(tail.iter().rev()).all(|(a, b)| a.text == *b)
    };
    for sign in ["-", "+"] {
        for before in ["(", ",", "=", "<", ">", "<=", ">=", "<>"] {
            if ends_with(shape, &[before, sign, "?"]) {
                shape.pop();
                if let Some(sign) = shape.last_mut() {
                    sign.text = "?".to_owned();
                }
            }
        }
    }
    if ends_with(shape, &["(", "?", ",", "?"]) {
        shape.truncate(shape.len() - 2);
    }
    if ends_with(shape, &["(", "?", ")", ",", "(", "?", ")"]) {
        shape.truncate(shape.len() - 4);
    }
}

/// Leaves off what trails the last token that is neither blank nor a semicolon.
fn without_end<'a, 'b>(tokens: &'a [Token<'b>]) -> &'a [Token<'b>] {
    let trails = |token: &Token<'_>| matches!(token.kind, TokenKind::Space | TokenKind::Comment) || token.is(";");
    let end = tokens.iter().rposition(|token| !trails(token)).map_or(0, |last| last + 1);
    tokens.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::lexer;
    use super::*;

    fn shown(sql: &str, dialect: Dialect) -> String {
        without_literals(&lexer::tokens(sql, dialect), dialect)
    }

    #[test]
    fn a_person_can_read_it() {
        for (sql, text) in [
            (
                "SELECT  u.Name, count(*)\nFROM shop.users u -- all\nWHERE id = $1;",
                "select u.name, count(*) from shop.users u where id = ?",
            ),
            ("SELECT a FROM t WHERE b IN (1, 2, 3) AND c > -5", "select a from t where b in (?) and c > ?"),
            ("INSERT INTO t (a, b) VALUES ($1, 'x'), ($2, 'y')", "insert into t (a, b) values (?)"),
            (
                "SELECT \"Name\" FROM \"Users\" WHERE n = 1.5e3 OR b = E'it\\'s' OR c = $$x$$",
                "select \"Name\" from \"Users\" where n = ? or b = ? or c = ?",
            ),
        ] {
            assert_eq!(shown(sql, Dialect::Postgres), text);
        }
    }

    #[test]
    fn no_literal_is_shown() {
        use Dialect::{MySql, Postgres, Sqlite};
        for (sql, dialect) in [
            ("SELECT a FROM t WHERE b = 'secret'", Postgres),
            ("SELECT a FROM t WHERE b = $x$secret$x$ AND c = U&'secret' AND d = X'5ec7e7'", Postgres),
            // With `standard_conforming_strings` off all of it is one text.
            ("SELECT a FROM t WHERE b = 'it\\'s secret' AND c = 'it\\'s secret'", Postgres),
            ("SELECT a FROM t WHERE b = 'secret", Postgres),
            ("SELECT a /* secret */ FROM t -- secret", Postgres),
            ("SET app.user = secret", Postgres),
            ("SET app.user TO secret, secret", Postgres),
            ("CREATE USER bob PASSWORD 'secret'", Postgres),
            ("SELECT a FROM t WHERE b = \"secret\"", Sqlite),
            ("SELECT a FROM t WHERE b IN (\"secret\", 'secret')", Sqlite),
            ("PRAGMA key = secret", Sqlite),
            ("PRAGMA key(secret)", Sqlite),
            ("SELECT a FROM t WHERE b = \"secret\" AND c = 'it\\'s secret'", MySql),
        ] {
            let text = shown(sql, dialect);
            assert!(!text.contains("secret") && !text.contains("5ec7e7"), "{sql}: {text}");
        }
        let named = "SELECT \"t\".\"a\" FROM \"t\" JOIN `u` ON [x] = \"u\".y";
        assert_eq!(shown(named, Sqlite), "select \"t\".\"a\" from \"t\" join `u` on [x] = \"u\".y");
    }
}
