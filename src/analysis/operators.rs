//! Operators: which occur, and which of them are built in.

use super::facts::Dialect;
use super::lexer::{Token, TokenKind};
use super::word_set::WordSet;

/// Postgres: every name in `pg_operator`, and the symbols that belong to the grammar.
static POSTGRES: WordSet = WordSet::new(
    "
    !! !~ !~* !~~ !~~* # ## #- #> #>> % & && &< &<| &> * *< *<= *<> *= *> *>= + - -> ->> -|- / < <-> << <<= <<| <= <> <@
    <^ = > >= >> >>= >^ ? ?# ?& ?- ?-| ?| ?|| @ @-@ @> @? @@ @@@ ^ ^@ | |&> |/ |>> || ||/ ~ ~* ~<=~ ~<~ ~= ~>=~ ~>~ ~~
    ~~* != :: := : => ..
",
);

/// Whether an operator may be one that a user defined, under a name which the server does not come with.
pub(super) fn is_unknown(operator: &str, dialect: Dialect) -> bool {
    dialect == Dialect::Postgres && !POSTGRES.contains(operator)
}

/// The operators that `tokens` use: symbols as written, and in Postgres those behind key words.
pub(super) fn mentioned<'a>(tokens: &[Token<'a>], dialect: Dialect) -> Vec<&'a str> {
    let mut operators = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        if token.kind == TokenKind::Operator {
            operators.push(if token.text == "!=" { "<>" } else { token.text });
        }
        if dialect != Dialect::Postgres || token.kind != TokenKind::Word {
            continue;
        }
        let negated = i > 0 && tokens.get(i - 1).is_some_and(|before| before.is_word("not"));
        let word = token.text.to_ascii_lowercase();
        let behind: &[&str] = match (word.as_str(), negated) {
            ("like", false) => &["~~"],
            ("like", true) => &["!~~"],
            ("ilike", false) => &["~~*"],
            ("ilike", true) => &["!~~*"],
            ("similar", false) => &["~"],
            ("similar", true) => &["!~"],
            ("between", false) => &[">=", "<="],
            ("between", true) => &["<", ">"],
            ("in", false) => &["="],
            ("in", true) => &["<>", "="],
            // DISTINCT, USING, simple CASE, NULLIF and set operations compare; so do sorts and groups.
            (
                "distinct" | "using" | "natural" | "case" | "nullif" | "union" | "intersect" | "except" | "group"
                | "partition",
                _,
            ) => &["="],
            ("greatest" | "least" | "order", _) => &["<", ">", "="],
            _ => &[],
        };
        operators.extend(behind);
    }
    operators
}
