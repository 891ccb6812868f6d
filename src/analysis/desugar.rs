//! Rewrites tokens into a form that the parser reads rightly, where it is known to misread or refuse what the server takes.
//!
//! The result is only looked at for tables, functions and casts: which operator joins two operands, or which lock is
//! taken, does not matter here.

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
    // Closing marks whose opening ones were left out.
    let mut orphans: Vec<usize> = Vec::new();
    let mut lists = Lists::default();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if orphans.contains(&at) {
            at += 1;
            continue;
        }
        let place = Place { tokens: &tokens, at, before: &out, dialect, in_list: lists.here };
        let step = match dialect {
            Dialect::Postgres => postgres(place),
            Dialect::MySql => mysql(place),
            Dialect::Sqlite => sqlite(place),
        };
        match step.or_else(|| everywhere(place)) {
            Some(Step { instead, taken, orphan }) => {
                instead.iter().for_each(|token| lists.note(token, out.last(), None, dialect));
                out.extend(instead);
                orphans.extend(orphan);
                at += taken;
            }
            None => {
                lists.note(token, out.last(), tokens.get(at + 1), dialect);
                out.push(token.clone());
                at += 1;
            }
        }
    }
    out.into_iter().map(TokenWithSpan::wrap).collect()
}

/// What to put in the place of some tokens.
struct Step {
    instead: Vec<Token>,
    /// How many tokens are replaced.
    taken: usize,
    /// A token further on that goes too.
    orphan: Option<usize>,
}

impl Step {
    fn skip(taken: usize) -> Self {
        Self { instead: Vec::new(), taken, orphan: None }
    }

    fn replace(taken: usize, instead: impl Into<Vec<Token>>) -> Self {
        Self { instead: instead.into(), taken, orphan: None }
    }
}

/// Whether a comma stands for a join: in `FROM (a, b)` and in MySQL's `UPDATE a, b SET`.
#[derive(Default)]
struct Lists {
    here: bool,
    /// The same for each bracket that is open around this one.
    around: Vec<bool>,
}

impl Lists {
    fn note(&mut self, token: &Token, before: Option<&Token>, after: Option<&Token>, dialect: Dialect) {
        match (token, word(token)) {
            (Token::LParen, _) => {
                let of_tables = matches!(before.and_then(word), Some(Keyword::FROM | Keyword::JOIN))
                    && after.is_some_and(|after| is_name(after, dialect) && word(after) != Some(Keyword::WITH));
                self.around.push(self.here);
                self.here = of_tables && dialect != Dialect::Postgres;
            }
            (Token::RParen, _) => self.here = self.around.pop().unwrap_or(false),
            (_, Some(Keyword::UPDATE)) if before.is_none() => self.here = dialect == Dialect::MySql,
            (_, Some(Keyword::SET)) if self.around.is_empty() => self.here = false,
            _ => {}
        }
    }
}

/// A token, what follows it, and what was put before it.
#[derive(Clone, Copy)]
struct Place<'a> {
    tokens: &'a [Token],
    at: usize,
    before: &'a [Token],
    dialect: Dialect,
    in_list: bool,
}

impl<'a> Place<'a> {
    fn token(self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.at + ahead)
    }

    /// Whether these key words stand here.
    fn spells(self, words: &[Keyword]) -> bool {
        words.iter().enumerate().all(|(ahead, &wanted)| self.token(ahead).and_then(word) == Some(wanted))
    }

    fn is(self, ahead: usize, token: &Token) -> bool {
        self.token(ahead) == Some(token)
    }

    fn follows(self, words: &[Keyword]) -> bool {
        self.before.last().and_then(word).is_some_and(|last| words.contains(&last))
    }

    /// Whether what is `ahead` may begin the name of a relation.
    fn is_name(self, ahead: usize) -> bool {
        self.token(ahead).is_some_and(|token| is_name(token, self.dialect))
    }

    /// Whether an operand ends before this token, so that it is an infix.
    fn follows_operand(self) -> bool {
        match self.before.last() {
            Some(Token::Word(last)) => {
                last.quote_style.is_some()
                    || !is_reserved(&last.value, self.dialect)
                    || matches!(last.keyword, Keyword::NULL | Keyword::TRUE | Keyword::FALSE | Keyword::END)
            }
            Some(
                Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::Placeholder(_)
                | Token::RParen
                | Token::RBracket,
            ) => true,
            _ => false,
        }
    }

    /// Whether a name ends before this token that stands in the place of a table.
    fn follows_table(self) -> bool {
        const LEADING: &[Keyword] = &[Keyword::FROM, Keyword::JOIN, Keyword::UPDATE, Keyword::INTO, Keyword::USING];
        let mut names = self.before.iter().rev();
        if !names.next().is_some_and(|token| is_name(token, self.dialect)) {
            return false;
        }
        let mut leading = names.next();
        while leading == Some(&Token::Period) {
            names.next();
            leading = names.next();
        }
        leading == Some(&Token::Comma) || leading.and_then(word).is_some_and(|word| LEADING.contains(&word))
    }

    /// The position of the mark that closes the one which is `ahead`.
    fn closing(self, ahead: usize) -> Option<usize> {
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate().skip(self.at + ahead) {
            match token {
                Token::LParen | Token::LBrace => depth += 1,
                Token::RParen | Token::RBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }
}

fn everywhere(place: Place<'_>) -> Option<Step> {
    use Keyword as K;
    // `REPLACE INTO` is an INSERT as far as tables go; after a WITH list the parser knows the INSERT alone.
    if place.dialect != Dialect::Postgres && place.spells(&[K::REPLACE, K::INTO]) && !place.follows(&[K::OR]) {
        return Some(Step::replace(1, [keyword("INSERT")]));
    }
    // `EXCLUDE CURRENT ROW` and the like end a window's frame.
    if place.spells(&[K::EXCLUDE]) && place.follows(&[K::ROW, K::FOLLOWING, K::PRECEDING]) {
        let length = match place.token(1).and_then(word) {
            Some(K::CURRENT | K::NO) => 3,
            _ => 2,
        };
        return Some(Step::skip(length));
    }
    if place.is(0, &Token::Comma) && place.in_list {
        return Some(Step::replace(1, [keyword("CROSS"), keyword("JOIN")]));
    }
    None
}

fn postgres(place: Place<'_>) -> Option<Step> {
    use Keyword as K;
    const BEFORE_TABLE: &[Keyword] = &[K::FROM, K::JOIN, K::UPDATE, K::INTO, K::USING, K::TABLE];
    let after_table_word = place.follows(BEFORE_TABLE) || place.before.last() == Some(&Token::Comma);
    match word(place.token(0)?) {
        // `FROM ONLY t` reads `t` alone, and not a table called ONLY.
        Some(K::ONLY) if after_table_word && place.is(1, &Token::LParen) => {
            Some(Step { instead: Vec::new(), taken: 2, orphan: place.closing(1) })
        }
        Some(K::ONLY) if after_table_word && place.is_name(1) => Some(Step::skip(1)),
        // `TABLE t` is `SELECT * FROM t`.
        Some(K::TABLE)
            if (place.is_name(1) || place.token(1).and_then(word) == Some(K::ONLY)) && !follows_into(place) =>
        {
            Some(Step::replace(1, select_all()))
        }
        // `FROM ROWS FROM (f(), g())` is both functions side by side.
        Some(K::ROWS) if after_table_word && place.spells(&[K::ROWS, K::FROM]) && place.is(2, &Token::LParen) => {
            Some(Step { instead: Vec::new(), taken: 3, orphan: place.closing(2) })
        }
        // Any lock is a lock.
        Some(K::NO) if place.follows(&[K::FOR]) && place.spells(&[K::NO, K::KEY, K::UPDATE]) => Some(Step::skip(2)),
        Some(K::KEY) if place.follows(&[K::FOR]) && place.spells(&[K::KEY, K::SHARE]) => Some(Step::skip(1)),
        Some(K::SYMMETRIC | K::ASYMMETRIC) if place.follows(&[K::BETWEEN]) => Some(Step::skip(1)),
        // `INSERT ... OVERRIDING SYSTEM VALUE`.
        Some(_) if is_spelled(place.token(0), "overriding") && place.token(2).and_then(word) == Some(K::VALUE) => {
            Some(Step::skip(3))
        }
        // `JOIN ... USING (a) AS j` names the joined columns.
        Some(K::AS) if follows_using_list(place.before) => Some(Step::skip(2)),
        Some(K::VARIADIC) => Some(Step::skip(1)),
        // `xmlelement(name foo, x)`: the name is a label.
        Some(K::NAME)
            if place.before.last() == Some(&Token::LParen)
                && is_spelled(place.before.iter().rev().nth(1), "xmlelement") =>
        {
            Some(Step::skip(if place.is(2, &Token::Comma) { 3 } else { 2 }))
        }
        // `(row).*` is made of the row.
        None if place.is(0, &Token::Period)
            && place.is(1, &Token::Mul)
            && place.before.last() == Some(&Token::RParen) =>
        {
            Some(Step::skip(2))
        }
        // `t *` is `t` with the tables that inherit from it, which is what `t` means anyway.
        None if place.is(0, &Token::Mul) && place.follows_table() => {
            let ends = match place.token(1) {
                None | Some(Token::RParen | Token::Comma) => true,
                Some(Token::Word(next)) => {
                    next.quote_style.is_none()
                        && (next.keyword == K::SET || is_reserved(&next.value, Dialect::Postgres))
                }
                Some(_) => false,
            };
            ends.then(|| Step::skip(1))
        }
        _ => None,
    }
}

fn mysql(place: Place<'_>) -> Option<Step> {
    use Keyword as K;
    match word(place.token(0)?) {
        Some(K::TABLE) if place.is_name(1) && !follows_into(place) => Some(Step::replace(1, select_all())),
        // `NEXT VALUE FOR s` is `nextval(s)`.
        Some(K::NEXT)
            if place.token(1).and_then(word) == Some(K::VALUE) && place.token(2).and_then(word) == Some(K::FOR) =>
        {
            let length = 3 + relation_length(place.tokens.get(place.at + 3..)?);
            Some(Step::replace(length, [Token::make_word("nextval", None), Token::LParen, Token::RParen]))
        }
        Some(K::LOCK) if place.spells(&[K::LOCK, K::IN, K::SHARE, K::MODE]) => {
            Some(Step::replace(4, [keyword("FOR"), keyword("SHARE")]))
        }
        // `UPDATE LOW_PRIORITY IGNORE t`.
        Some(_) if place.before.len() == 1 && place.follows(&[K::UPDATE, K::DELETE]) && is_priority(place.token(0)) => {
            Some(Step::skip(1))
        }
        // `a MOD b`.
        Some(K::MOD) if place.follows_operand() => Some(Step::replace(1, [Token::Mod])),
        // MariaDB: a modifier, not a column.
        Some(_)
            if is_spelled(place.token(0), "sql_cache")
                && place.follows(&[K::SELECT])
                && place.token(1).is_some_and(begins_item) =>
        {
            Some(Step::skip(1))
        }
        Some(_)
            if is_spelled(place.token(0), "sounds")
                && place.follows_operand()
                && place.token(1).and_then(word) == Some(K::LIKE) =>
        {
            Some(Step::replace(2, [Token::Eq]))
        }
        None if place.is(0, &Token::ExclamationMark) => Some(Step::replace(1, [Token::Minus])),
        // `{OJ a LEFT JOIN b ON ...}`.
        None if place.is(0, &Token::LBrace) && is_spelled(place.token(1), "oj") => {
            Some(Step { instead: Vec::new(), taken: 2, orphan: place.closing(0) })
        }
        _ => None,
    }
}

fn sqlite(place: Place<'_>) -> Option<Step> {
    use Keyword as K;
    match word(place.token(0)?) {
        // `x IN t` is `x IN (SELECT * FROM t)`.
        Some(K::IN) if place.is_name(1) => {
            let rest = place.tokens.get(place.at + 1..)?;
            let length = relation_length(rest);
            let mut instead = vec![keyword("IN"), Token::LParen];
            instead.extend(select_all());
            instead.extend(rest.iter().take(length).cloned());
            instead.push(Token::RParen);
            Some(Step::replace(length + 1, instead))
        }
        Some(K::GLOB | K::MATCH | K::REGEXP) if place.follows_operand() || place.follows(&[K::NOT]) => {
            Some(Step::replace(1, [keyword("LIKE")]))
        }
        Some(K::NOT) if place.follows_operand() && place.spells(&[K::NOT, K::NULL]) => {
            Some(Step::replace(2, [keyword("IS"), keyword("NOT"), keyword("NULL")]))
        }
        // `x IS y` compares any two values.
        Some(K::IS) if place.spells(&[K::IS, K::NOT]) && !is_tested(place.token(2)) => {
            Some(Step::replace(2, [Token::Neq]))
        }
        Some(K::IS) if !is_tested(place.token(1)) => Some(Step::replace(1, [Token::Eq])),
        // Hints about indexes.
        Some(_) if is_spelled(place.token(0), "indexed") && place.token(1).and_then(word) == Some(K::BY) => {
            Some(Step::skip(3))
        }
        Some(K::NOT) if is_spelled(place.token(1), "indexed") && place.follows_operand() => Some(Step::skip(2)),
        // `WITH t AS NOT MATERIALIZED (...)`.
        Some(K::MATERIALIZED) if place.follows(&[K::AS]) && place.is(1, &Token::LParen) => Some(Step::skip(1)),
        Some(K::NOT) if place.follows(&[K::AS]) && place.spells(&[K::NOT, K::MATERIALIZED]) => Some(Step::skip(2)),
        None if matches!(place.token(0)?, Token::ShiftLeft | Token::ShiftRight) => {
            Some(Step::replace(1, [Token::Plus]))
        }
        _ => None,
    }
}

fn select_all() -> [Token; 3] {
    [keyword("SELECT"), Token::Mul, keyword("FROM")]
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

fn is_spelled(token: Option<&Token>, wanted: &str) -> bool {
    matches!(token, Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

/// Whether it may begin the name of a relation.
fn is_name(token: &Token, dialect: Dialect) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_some() || !is_reserved(&word.value, dialect))
}

/// Whether a following TABLE is part of `INTO [TEMP] TABLE t`, or a label.
fn follows_into(place: Place<'_>) -> bool {
    use Keyword as K;
    const MAKING: &[Keyword] = &[K::INTO, K::TEMP, K::TEMPORARY, K::UNLOGGED, K::LOCAL, K::GLOBAL, K::AS];
    place.follows(MAKING) || place.before.last() == Some(&Token::Period)
}

/// Whether it begins an item of a SELECT list, so that the word before it was no item itself.
fn begins_item(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_some() || !matches!(word.keyword, Keyword::FROM | Keyword::AS),
        Token::Mul | Token::Number(..) | Token::SingleQuotedString(_) | Token::LParen => true,
        _ => false,
    }
}

/// Modifiers of MySQL's UPDATE and DELETE that are reserved words.
fn is_priority(token: Option<&Token>) -> bool {
    ["low_priority", "ignore"].iter().any(|modifier| is_spelled(token, modifier))
}

/// Whether IS is followed by what it tests for in every dialect.
fn is_tested(token: Option<&Token>) -> bool {
    use Keyword as K;
    matches!(token.and_then(word), Some(K::NULL | K::NOT | K::TRUE | K::FALSE | K::DISTINCT))
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

fn follows_using_list(before: &[Token]) -> bool {
    let mut tokens = before.iter().rev();
    if tokens.next() != Some(&Token::RParen) {
        return false;
    }
    let opening = tokens.find(|token| !matches!(token, Token::Word(_) | Token::Comma));
    opening == Some(&Token::LParen) && tokens.next().and_then(word) == Some(Keyword::USING)
}
