//! From the text of one statement to a syntax tree, or to the news that there is none to trust.
//!
//! Three things stand between the parser and a wrong answer: limits that keep hostile text off the stack, a comparison of
//! its tokens with those of [`super::lexer`], and a rewriting of what it is known to misread.

use sqlparser::ast::Statement;
use sqlparser::dialect::{Dialect as Grammar, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::{Token as Parsed, TokenWithSpan, Tokenizer};

use super::desugar;
use super::facts::Dialect;
use super::lexer::{Token, TokenKind};

/// Longer texts are not parsed.
pub(super) const LONGEST_TEXT: usize = 64 * 1024;
/// How many operators may follow each other without a comma: each is a level of the tree, and the tree is dropped by
/// recursion.
const DEEPEST_CHAIN: usize = 400;
/// How far brackets may nest.
const DEEPEST_NESTING: usize = 64;
/// How many joins may wait for their ON: the parser recurses for each without a guard, by 65 KiB in a debug build.
const MOST_PENDING_JOINS: usize = 8;
/// What must be left of the stack wherever the parser recurses with a guard, which adds a stack when less is left.
const STACK_MARGIN: usize = 1024 * 1024;
/// The parser counts several levels for each bracket.
const RECURSION_LIMIT: usize = 200;

/// Why there is no syntax tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    TooComplex,
    NotUnderstood,
}

/// Raises the margin that guarded recursion leaves on the stack. It holds for the whole process, and only ever rises.
pub(super) fn reserve_stack() {
    if recursive::get_minimum_stack_size() < STACK_MARGIN {
        recursive::set_minimum_stack_size(STACK_MARGIN);
    }
}

/// Parses one statement. `tokens` are those of `text`, without blanks.
pub(super) fn parse(text: &str, tokens: &[Token<'_>], dialect: Dialect) -> Result<Statement, Trouble> {
    if text.len() > LONGEST_TEXT || is_too_deep(tokens) {
        return Err(Trouble::TooComplex);
    }
    if tokens.iter().any(|token| matches!(token.kind, TokenKind::Broken | TokenKind::Executable)) {
        return Err(Trouble::NotUnderstood);
    }
    let grammar: &dyn Grammar = match dialect {
        Dialect::Postgres => &PostgreSqlDialect {},
        Dialect::MySql => &MySqlDialect {},
        Dialect::Sqlite => &SQLiteDialect {},
    };
    let parsed = Tokenizer::new(grammar, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|_| Trouble::NotUnderstood)?;
    let parsed = desugar::parameters(parsed, dialect);
    if !agree(tokens, &parsed) {
        return Err(Trouble::NotUnderstood);
    }
    let mut parser = Parser::new(grammar)
        .with_options(ParserOptions::new().with_unescape(false))
        .with_recursion_limit(RECURSION_LIMIT)
        .with_tokens_with_locations(desugar::syntax(parsed, dialect));
    let statement = parser.parse_statement().map_err(|_| Trouble::NotUnderstood)?;
    match parser.peek_token().token {
        Parsed::EOF => Ok(statement),
        _ => Err(Trouble::NotUnderstood),
    }
}

/// Measures how deep the tree of these tokens could be at most.
fn is_too_deep(tokens: &[Token<'_>]) -> bool {
    const CHAINING: &[&str] = &[
        "all",
        "and",
        "any",
        "at",
        "between",
        "binary",
        "case",
        "collate",
        "div",
        "else",
        "escape",
        "except",
        "exists",
        "glob",
        "ilike",
        "in",
        "intersect",
        "interval",
        "is",
        "isnull",
        "join",
        "like",
        "match",
        "minus",
        "mod",
        "not",
        "notnull",
        "operator",
        "or",
        "overlaps",
        "prior",
        "regexp",
        "rlike",
        "similar",
        "union",
        "when",
        "xor",
    ];
    // Per open bracket: the levels before it, and the longest chain inside so far.
    let mut open: Vec<usize> = Vec::new();
    let mut chain = 0_usize;
    let mut joins: Vec<usize> = vec![0];
    for token in tokens {
        match token.text {
            "(" if token.kind == TokenKind::Mark => joins.push(0),
            ")" if token.kind == TokenKind::Mark && joins.len() > 1 => {
                joins.pop();
            }
            _ => {}
        }
        if let Some(pending) = joins.last_mut() {
            if token.is_any(&["join", "straight_join"]) {
                *pending += 1;
            } else if token.is_any(&["on", "using"]) {
                *pending = pending.saturating_sub(1);
            } else if token.is_any(&["select", "where", "cross", "natural"]) {
                *pending = if token.is_any(&["cross", "natural"]) { pending.saturating_sub(1) } else { 0 };
            }
            if *pending > MOST_PENDING_JOINS {
                return true;
            }
        }
        match token.text {
            "(" | "[" | "{" if token.kind == TokenKind::Mark => {
                open.push(chain);
                chain += 1;
            }
            ")" | "]" | "}" if token.kind == TokenKind::Mark => chain = open.pop().unwrap_or(0) + 1,
            "," if token.kind == TokenKind::Mark => chain = open.last().map_or(0, |before| before + 1),
            _ if token.kind == TokenKind::Operator || token.is_any(CHAINING) => chain += 1,
            _ => {}
        }
        if chain > DEEPEST_CHAIN || open.len() > DEEPEST_NESTING {
            return true;
        }
    }
    false
}

/// Whether both lexers saw the same words, quoted identifiers and strings.
fn agree(tokens: &[Token<'_>], parsed: &[TokenWithSpan]) -> bool {
    let mut theirs = parsed.iter().filter_map(|token| witness(&token.token));
    let mut ours = tokens.iter().flat_map(words);
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// What both lexers must agree on, of one of ours. The parser takes a variable for words.
fn words<'a>(token: &Token<'a>) -> Vec<(Option<char>, &'a str)> {
    let inner = |skip: usize| token.text.get(skip..token.text.len().saturating_sub(1)).unwrap_or_default();
    match token.kind {
        TokenKind::Word => vec![(None, token.text)],
        TokenKind::Variable => token.text.split('.').map(|word| (None, word)).collect(),
        TokenKind::Quoted => vec![(token.text.chars().next(), inner(1))],
        TokenKind::Text if token.text.starts_with('$') => vec![(Some('$'), dollar_body(token.text))],
        TokenKind::Text if token.text.starts_with('"') => vec![(Some('\''), inner(1))],
        TokenKind::Text if has_escapes(token.text) => vec![(Some('e'), "")],
        TokenKind::Text => vec![(Some('\''), inner(token.text.find('\'').map_or(0, |quote| quote + 1)))],
        TokenKind::Number if token.text.starts_with("0x") => {
            vec![(Some('\''), token.text.get(2..).unwrap_or_default())]
        }
        TokenKind::Space
        | TokenKind::Comment
        | TokenKind::Hint
        | TokenKind::Executable
        | TokenKind::Number
        | TokenKind::Parameter
        | TokenKind::Operator
        | TokenKind::Mark
        | TokenKind::Broken => Vec::new(),
    }
}

/// Whether it is written `E'...'` or `U&'...'`: the parser resolves these escapes unasked.
fn has_escapes(text: &str) -> bool {
    text.starts_with(['e', 'E', 'u', 'U'])
}

/// What stands between `$tag$` and `$tag$`.
fn dollar_body(text: &str) -> &str {
    let tag = text.get(1..).and_then(|rest| rest.find('$')).map_or(0, |end| end + 2);
    text.get(tag..text.len().saturating_sub(tag)).unwrap_or_default()
}

fn witness(token: &Parsed) -> Option<(Option<char>, &str)> {
    match token {
        Parsed::Word(word) => Some((word.quote_style, &word.value)),
        Parsed::SingleQuotedString(text)
        | Parsed::DoubleQuotedString(text)
        | Parsed::SingleQuotedByteStringLiteral(text)
        | Parsed::NationalStringLiteral(text)
        | Parsed::HexStringLiteral(text) => Some((Some('\''), text)),
        Parsed::EscapedStringLiteral(_) | Parsed::UnicodeStringLiteral(_) => Some((Some('e'), "")),
        Parsed::DollarQuotedString(text) => Some((Some('$'), &text.value)),
        _ => None,
    }
}
