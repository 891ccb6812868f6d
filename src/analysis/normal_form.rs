//! The text of a statement as a key sees it, and as statistics see it.
//!
//! In: tokens. Out: the normal form (never equal for two texts of different meaning) and the fingerprint (equal for
//! statements that differ in literals only).

use super::facts::{Dialect, Fingerprint};
use super::lexer::{Token, TokenKind};

/// Drops comments and trailing semicolons, and turns each run of white space into one space. All else stays as written.
///
/// MySQL and SQLite name a column after the text of its expression, blanks and comments included. There what stands
/// between SELECT and FROM stays as it is.
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

/// Whether a token stands between a SELECT and its FROM, at any depth.
#[derive(Default)]
struct SelectLists {
    here: bool,
    /// The same for each bracket that is open around this one.
    around: Vec<bool>,
    /// How many of those are in such a list.
    lists_around: usize,
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
        } else if token.is_word("select") {
            self.here = true;
        } else if token.is_word("from") {
            self.here = false;
        }
    }
}

/// Names a statement: words in lower case, literals and parameters as `?`, lists of them as one.
pub(super) fn fingerprint(tokens: &[Token<'_>]) -> Fingerprint {
    let mut shape: Vec<String> = Vec::new();
    for token in without_end(tokens) {
        let piece = match token.kind {
            TokenKind::Space | TokenKind::Comment | TokenKind::Hint => continue,
            TokenKind::Text | TokenKind::Number | TokenKind::Parameter => "?".to_owned(),
            TokenKind::Word => token.text.to_lowercase(),
            TokenKind::Quoted
            | TokenKind::Variable
            | TokenKind::Operator
            | TokenKind::Mark
            | TokenKind::Executable
            | TokenKind::Broken => token.text.to_owned(),
        };
        shape.push(piece);
        collapse(&mut shape);
    }
    let hash = blake3::hash(shape.join(" ").as_bytes());
    let first: [u8; 8] = std::array::from_fn(|i| hash.as_bytes()[i]);
    Fingerprint(u64::from_be_bytes(first))
}

/// `? , ?` becomes `?`, and `( ? ) , ( ? )` becomes `( ? )`; a sign before a number belongs to the number.
fn collapse(shape: &mut Vec<String>) {
    let ends_with = |shape: &[String], tail: &[&str]| {
        shape.len() >= tail.len() && shape.iter().rev().zip(tail.iter().rev()).all(|(a, b)| a == b)
    };
    for sign in ["-", "+"] {
        for before in ["(", ",", "=", "<", ">", "<=", ">=", "<>"] {
            if ends_with(shape, &[before, sign, "?"]) {
                shape.truncate(shape.len() - 2);
                shape.push("?".to_owned());
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
