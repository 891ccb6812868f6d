//! Rewrites tokens into a form that the parser reads rightly, where it is known to misread or refuse what the server takes.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::facts::Dialect;
use super::words::is_reserved;

/// Joins SQLite's `:name`, `@name` and `$name` into one token each.
pub(super) fn parameters(tokens: Vec<TokenWithSpan>, dialect: Dialect) -> Vec<TokenWithSpan> {
    if dialect != Dialect::Sqlite {
        return tokens;
    }
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        match (&token.token, out.last().map(|last| &last.token)) {
            (Token::Word(word), _) if word.quote_style.is_none() && word.value.starts_with('$') => {
                out.push(TokenWithSpan::wrap(Token::Placeholder(word.value.clone())));
            }
            (Token::Word(word), Some(Token::Colon | Token::AtSign)) if word.quote_style.is_none() => {
                let name = format!(":{}", word.value);
                out.pop();
                out.push(TokenWithSpan::wrap(Token::Placeholder(name)));
            }
            _ => out.push(token),
        }
    }
    out
}

/// Rewrites syntax.
pub(super) fn syntax(tokens: Vec<TokenWithSpan>, dialect: Dialect) -> Vec<TokenWithSpan> {
    let tokens: Vec<Token> =
        tokens.into_iter().map(|token| token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let rest = tokens.get(at + 1..).unwrap_or_default();
        let next = rest.first();
        match (word(token), dialect) {
            // `FROM ONLY t` reads `t` alone, and not a table called ONLY.
            (Some(Keyword::ONLY), Dialect::Postgres)
                if next.is_some_and(|next| is_name(next, dialect)) && !out.last().is_some_and(is_row) => {}
            // `TABLE t` is `SELECT * FROM t`.
            (Some(Keyword::TABLE), Dialect::Postgres | Dialect::MySql)
                if next.is_some_and(|next| is_name(next, dialect)) && !out.last().is_some_and(makes_table) =>
            {
                out.extend([keyword("SELECT"), Token::Mul, keyword("FROM")]);
            }
            // Any lock is a lock.
            (Some(Keyword::NO), Dialect::Postgres)
                if is(out.last(), Keyword::FOR) && is(next, Keyword::KEY) && is(rest.get(1), Keyword::UPDATE) =>
            {
                at += 1;
            }
            (Some(Keyword::KEY), Dialect::Postgres) if is(out.last(), Keyword::FOR) && is(next, Keyword::SHARE) => {}
            // MariaDB: a modifier, not a column.
            (Some(_), Dialect::MySql)
                if is_spelled(token, "sql_cache")
                    && is(out.last(), Keyword::SELECT)
                    && next.is_some_and(begins_item) => {}
            // SQLite: `x IN t` is `x IN (SELECT * FROM t)`.
            (Some(Keyword::IN), Dialect::Sqlite) if next.is_some_and(|next| is_name(next, dialect)) => {
                let length = relation_length(rest);
                out.extend([token.clone(), Token::LParen, keyword("SELECT"), Token::Mul, keyword("FROM")]);
                out.extend(rest.iter().take(length).cloned());
                out.push(Token::RParen);
                at += length;
            }
            // `t *` is `t` with the tables that inherit from it, which is what `t` means anyway.
            (None, Dialect::Postgres) if *token == Token::Mul && is_inheritance_mark(&out, next) => {}
            // `JOIN ... USING (a) AS j` names the joined columns.
            (Some(Keyword::AS), Dialect::Postgres) if follows_using_list(&out) => at += 1,
            _ => out.push(token.clone()),
        }
        at += 1;
    }
    out.into_iter().map(TokenWithSpan::wrap).collect()
}

fn keyword(word: &str) -> Token {
    Token::make_keyword(word)
}

fn word(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    }
}

fn is(token: Option<&Token>, wanted: Keyword) -> bool {
    token.and_then(word) == Some(wanted)
}

fn is_spelled(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Whether it may begin the name of a relation.
fn is_name(token: &Token, dialect: Dialect) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_some() || !is_reserved(&word.value, dialect))
}

fn is_row(token: &Token) -> bool {
    matches!(word(token), Some(Keyword::ROW | Keyword::ROWS))
}

/// Whether a following TABLE is part of `INTO [TEMP] TABLE t`, or a label.
fn makes_table(token: &Token) -> bool {
    matches!(
        word(token),
        Some(
            Keyword::INTO
                | Keyword::TEMP
                | Keyword::TEMPORARY
                | Keyword::UNLOGGED
                | Keyword::LOCAL
                | Keyword::GLOBAL
                | Keyword::AS
        )
    ) || *token == Token::Period
}

/// Whether it begins an item of a SELECT list, so that the word before it was no item itself.
fn begins_item(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_some() || !matches!(word.keyword, Keyword::FROM | Keyword::AS),
        Token::Mul | Token::Number(..) | Token::SingleQuotedString(_) | Token::LParen => true,
        _ => false,
    }
}

/// How many tokens `t`, `s.t` or `f(...)` takes.
fn relation_length(tokens: &[Token]) -> usize {
    let mut length = 1;
    while tokens.get(length) == Some(&Token::Period) {
        length += 2;
    }
    if tokens.get(length) == Some(&Token::LParen) {
        let mut depth = 0_usize;
        for token in tokens.iter().skip(length) {
            length += 1;
            match token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    length.min(tokens.len())
}

fn is_inheritance_mark(before: &[Token], next: Option<&Token>) -> bool {
    let mut names = before.iter().rev();
    if !names.next().is_some_and(|token| is_name(token, Dialect::Postgres)) {
        return false;
    }
    let mut leading = names.next();
    while leading == Some(&Token::Period) {
        names.next();
        leading = names.next();
    }
    let after_from = matches!(leading.and_then(word), Some(Keyword::FROM | Keyword::JOIN | Keyword::UPDATE));
    let ends = match next {
        None | Some(Token::RParen | Token::Comma | Token::SemiColon) => true,
        Some(token) => {
            matches!(token, Token::Word(word) if word.quote_style.is_none() && is_reserved(&word.value, Dialect::Postgres))
        }
    };
    after_from && ends
}

fn follows_using_list(before: &[Token]) -> bool {
    let mut tokens = before.iter().rev();
    if tokens.next() != Some(&Token::RParen) {
        return false;
    }
    let opening = tokens.find(|token| !matches!(token, Token::Word(_) | Token::Comma));
    opening == Some(&Token::LParen) && is(tokens.next(), Keyword::USING)
}
