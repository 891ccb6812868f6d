//! Cuts a text into tokens, by the lexical rules of the server it is meant for.
//!
//! In: text and dialect. Out: tokens whose texts, joined, are the input again. It never fails: what it cannot read is a
//! [`TokenKind::Broken`] token. The parser brings a lexer of its own; this one exists because the key of a cached
//! result must not depend on a parser's idea of white space, and because two lexers that agree are worth more than one.

use super::facts::Dialect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// White space.
    Space,
    /// A comment that the server ignores.
    Comment,
    /// An optimizer hint, `/*+ ... */`.
    Hint,
    /// `/*!50000` or the `*/` that ends it: the server runs what stands between.
    Executable,
    /// An identifier or key word without quotes.
    Word,
    /// An identifier in quotes.
    Quoted,
    /// A string literal of any form, with its prefix.
    Text,
    /// A number.
    Number,
    /// A bound parameter.
    Parameter,
    /// A user or system variable, `@x` or `@@x`.
    Variable,
    /// An operator.
    Operator,
    /// One of `( ) [ ] { } , ; .`
    Mark,
    /// Unterminated, or not of this dialect, or readable in more than one way.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// Whether it is this key word, which is given in lower case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these key words.
    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// Whether it is this mark or operator.
    pub(super) fn is(&self, symbol: &str) -> bool {
        matches!(self.kind, TokenKind::Mark | TokenKind::Operator) && self.text == symbol
    }

    /// Whether the server sees nothing of it.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Space | TokenKind::Comment | TokenKind::Hint)
    }

    pub(super) fn is_identifier(&self) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::Quoted)
    }
}

/// Cuts `sql` into tokens; nothing is lost.
pub(super) fn tokens(sql: &str, dialect: Dialect) -> Vec<Token<'_>> {
    let mut cursor = Cursor { text: sql, bytes: sql.as_bytes(), at: 0, dialect, executable: false };
    let mut tokens = Vec::new();
    while cursor.at < sql.len() {
        let start = cursor.at;
        let kind = cursor.next_kind();
        // Every branch consumes at least one byte; should one not, the rest is one token rather than an endless loop.
        if cursor.at <= start || !sql.is_char_boundary(cursor.at) {
            tokens.push(Token { kind: TokenKind::Broken, text: sql.get(start..).unwrap_or_default() });
            break;
        }
        tokens.push(Token { kind, text: sql.get(start..cursor.at).unwrap_or_default() });
    }
    tokens
}

struct Cursor<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
    /// Inside `/*! ... */`.
    executable: bool,
}

const POSTGRES_OPERATOR: &[u8] = b"+-*/<>=~!@#%^&|`?";
/// An operator that ends in `+` or `-` must hold one of these.
const POSTGRES_OPERATOR_RARE: &[u8] = b"~!@#%^&|`?";
const MYSQL_OPERATORS: &[&str] = &["<=>", "->>", "<<", ">>", "<=", ">=", "<>", "!=", ":=", "&&", "||", "->"];
const SQLITE_OPERATORS: &[&str] = &["->>", "<<", ">>", "<=", ">=", "<>", "!=", "==", "||", "->"];

impl Cursor<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts(&self, prefix: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(prefix.as_bytes()))
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|&byte| wanted(byte)) {
            self.at += 1;
        }
    }

    fn take_rest(&mut self) -> TokenKind {
        self.at = self.bytes.len();
        TokenKind::Broken
    }

    fn next_kind(&mut self) -> TokenKind {
        use Dialect::{MySql, Postgres, Sqlite};
        let dialect = self.dialect;
        match self.peek(0) {
            b if is_space(b, dialect) => {
                self.take_while(|b| is_space(b, dialect));
                TokenKind::Space
            }
            b'-' if self.starts("--") && self.dashes_comment() => self.line_comment(),
            b'#' if dialect == MySql => self.line_comment(),
            b'*' if self.executable && self.starts("*/") => {
                self.executable = false;
                self.at += 2;
                TokenKind::Executable
            }
            b'/' if self.starts("/*") => self.block_comment(),
            b'\'' => self.quoted_text(dialect == MySql),
            b'"' if dialect == MySql => self.delimited(b'"', true, TokenKind::Text),
            b'"' => self.delimited(b'"', false, TokenKind::Quoted),
            b'`' if dialect != Postgres => self.delimited(b'`', false, TokenKind::Quoted),
            b'[' if dialect == Sqlite => self.bracketed(),
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';' => self.mark(),
            b'.' if self.peek(1).is_ascii_digit() && !self.after_identifier() => self.number(),
            b'.' if dialect == Postgres && self.starts("..") => {
                self.at += 2;
                TokenKind::Operator
            }
            b'.' => self.mark(),
            b'0'..=b'9' => self.number(),
            b'$' => self.dollar(),
            b'?' if dialect != Postgres => {
                self.at += 1;
                if dialect == Sqlite {
                    self.take_while(|b| b.is_ascii_digit());
                }
                TokenKind::Parameter
            }
            b'@' if dialect == MySql => self.variable(),
            b'@' | b':' if dialect == Sqlite => {
                self.at += 1;
                let start = self.at;
                self.take_while(continues_word);
                if self.at > start { TokenKind::Parameter } else { TokenKind::Broken }
            }
            b if starts_word(b) => self.word(),
            _ => self.operator(),
        }
    }

    fn mark(&mut self) -> TokenKind {
        self.at += 1;
        TokenKind::Mark
    }

    /// In MySQL `--1` is two minus signs; a comment needs white space after its dashes. Dashes at the very end are no
    /// comment here, so that cutting off what follows them never makes one.
    fn dashes_comment(&self) -> bool {
        self.dialect != Dialect::MySql || (self.at + 2 < self.bytes.len() && self.peek(2) <= b' ')
    }

    fn line_comment(&mut self) -> TokenKind {
        let postgres = self.dialect == Dialect::Postgres;
        let start = self.at;
        self.take_while(|b| b != b'\n' && !(postgres && b == b'\r'));
        // For MySQL the comment ends there.
        if self.dialect == Dialect::MySql && self.bytes[start..self.at].contains(&0) {
            return self.take_rest();
        }
        // Whether a lone carriage return ends a comment differs between servers and parsers.
        TokenKind::Comment
    }

    fn block_comment(&mut self) -> TokenKind {
        if self.dialect == Dialect::MySql && !self.executable && (self.starts("/*!") || self.starts("/*M!")) {
            self.at += if self.peek(2) == b'!' { 3 } else { 4 };
            let digits = self.at;
            self.take_while(|b| b.is_ascii_digit());
            self.at = self.at.min(digits + 6);
            self.executable = true;
            return TokenKind::Executable;
        }
        let kind = if self.starts("/*+") { TokenKind::Hint } else { TokenKind::Comment };
        let nests = self.dialect == Dialect::Postgres;
        let mut depth = 1_usize;
        self.at += 2;
        while self.at < self.bytes.len() {
            if self.starts("*/") {
                self.at += 2;
                depth -= 1;
                if depth == 0 {
                    return kind;
                }
            } else if nests && self.starts("/*") {
                self.at += 2;
                depth += 1;
            } else {
                self.at += 1;
            }
        }
        TokenKind::Broken
    }

    /// A string in single quotes. In Postgres strings with only white space and a newline between them are one.
    fn quoted_text(&mut self, backslash: bool) -> TokenKind {
        let start = self.at;
        if self.delimited(b'\'', backslash, TokenKind::Text) == TokenKind::Broken {
            return TokenKind::Broken;
        }
        while let Some(next) = self.continuation() {
            self.at = next;
            if self.delimited(b'\'', backslash, TokenKind::Text) == TokenKind::Broken {
                return TokenKind::Broken;
            }
        }
        // With `standard_conforming_strings` off the string would end elsewhere.
        let unclear = self.dialect == Dialect::Postgres
            && !backslash
            && self.bytes.get(start..self.at).is_some_and(|s| s.windows(2).any(|pair| pair == b"\\'"));
        if unclear { TokenKind::Broken } else { TokenKind::Text }
    }

    /// Where the string that continues this one begins, if one does.
    fn continuation(&self) -> Option<usize> {
        if self.dialect != Dialect::Postgres {
            return None;
        }
        let mut at = self.at;
        let mut newline = false;
        loop {
            match *self.bytes.get(at)? {
                b'\n' | b'\r' => {
                    newline = true;
                    at += 1;
                }
                b if is_space(b, self.dialect) => at += 1,
                b'-' if self.bytes.get(at + 1) == Some(&b'-') => {
                    while self.bytes.get(at).is_some_and(|b| !matches!(b, b'\n' | b'\r')) {
                        at += 1;
                    }
                }
                b'\'' if newline => return Some(at),
                _ => return None,
            }
        }
    }

    /// From an opening quote to the closing one; a doubled quote stands for itself.
    fn delimited(&mut self, quote: u8, backslash: bool, kind: TokenKind) -> TokenKind {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            if byte == b'\\' && backslash {
                self.at += 1;
            } else if byte == quote {
                if self.peek(0) != quote || self.at >= self.bytes.len() {
                    return kind;
                }
                self.at += 1;
            }
        }
        self.take_rest()
    }

    fn bracketed(&mut self) -> TokenKind {
        match self.text.get(self.at..).and_then(|rest| rest.find(']')) {
            Some(end) => {
                self.at += end + 1;
                TokenKind::Quoted
            }
            None => self.take_rest(),
        }
    }

    fn after_identifier(&self) -> bool {
        self.at > 0
            && self.bytes.get(self.at - 1).is_some_and(|&b| continues_word(b) || matches!(b, b'"' | b'`' | b']' | b')'))
    }

    fn number(&mut self) -> TokenKind {
        if self.dialect == Dialect::MySql {
            return self.mysql_number();
        }
        let start = self.at;
        self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        let head = self.text.get(start..self.at).unwrap_or_default();
        let radix = head.len() > 2
            && head.starts_with('0')
            && matches!(head.as_bytes()[1], b'x' | b'X' | b'b' | b'B' | b'o' | b'O');
        let exponent = !radix && head.ends_with(['e', 'E']) && matches!(self.peek(0), b'+' | b'-');
        if exponent && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit());
            return TokenKind::Number;
        }
        if radix || self.peek(0) != b'.' || (self.dialect == Dialect::Postgres && self.starts("..")) {
            return TokenKind::Number;
        }
        self.at += 1;
        let fraction = self.at;
        self.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        let tail = self.text.get(fraction..self.at).unwrap_or_default();
        if tail.ends_with(['e', 'E']) && matches!(self.peek(0), b'+' | b'-') && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.take_while(|b| b.is_ascii_digit());
        }
        TokenKind::Number
    }

    /// MySQL lets an identifier begin with a digit, and begins the next token where a number cannot go on: `1.5FROM` is two.
    fn mysql_number(&mut self) -> TokenKind {
        let start = self.at;
        // After `a.`, all is a name.
        if start >= 2 && self.bytes[start - 1] == b'.' && continues_word(self.bytes[start - 2]) {
            self.take_while(continues_word);
            return TokenKind::Word;
        }
        let digits: fn(u8) -> bool = match (self.peek(0), self.peek(1)) {
            (b'0', b'x') => |b| b.is_ascii_hexdigit(),
            (b'0', b'b') => |b| matches!(b, b'0' | b'1'),
            _ => |b| b.is_ascii_digit(),
        };
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'b') {
            self.at += 2;
            self.take_while(digits);
            if self.at > start + 2 && !continues_word(self.peek(0)) {
                return TokenKind::Number;
            }
            self.take_while(continues_word);
            return TokenKind::Word;
        }
        self.take_while(digits);
        if self.exponent() {
            return TokenKind::Number;
        }
        if self.at > start && continues_word(self.peek(0)) {
            self.take_while(continues_word);
            return TokenKind::Word;
        }
        if self.peek(0) == b'.' {
            self.at += 1;
            self.take_while(digits);
            self.exponent();
        }
        TokenKind::Number
    }

    /// Takes `e5`, `E+5`, if that is what follows.
    fn exponent(&mut self) -> bool {
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        let is_one = matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit();
        if is_one {
            self.at += 1 + sign;
            self.take_while(|b| b.is_ascii_digit());
        }
        is_one
    }

    /// `$1`, `$tag$ ... $tag$`, SQLite's `$name`.
    fn dollar(&mut self) -> TokenKind {
        match self.dialect {
            Dialect::Postgres if self.peek(1).is_ascii_digit() => {
                self.at += 1;
                self.take_while(|b| b.is_ascii_digit());
                TokenKind::Parameter
            }
            Dialect::Postgres => {
                let start = self.at;
                self.at += 1;
                self.take_while(|b| b != b'$' && continues_word(b));
                if self.peek(0) != b'$' {
                    self.at = start + 1;
                    return TokenKind::Broken;
                }
                self.at += 1;
                let (Some(tag), Some(rest)) = (self.text.get(start..self.at), self.text.get(self.at..)) else {
                    return self.take_rest();
                };
                match rest.find(tag) {
                    Some(end) => {
                        self.at += end + tag.len();
                        TokenKind::Text
                    }
                    None => self.take_rest(),
                }
            }
            Dialect::Sqlite => {
                self.at += 1;
                let start = self.at;
                self.take_while(continues_word);
                if self.at > start { TokenKind::Parameter } else { TokenKind::Broken }
            }
            Dialect::MySql => {
                self.take_while(continues_word);
                TokenKind::Word
            }
        }
    }

    fn variable(&mut self) -> TokenKind {
        self.at += 1;
        if self.peek(0) == b'@' {
            self.at += 1;
        }
        match self.peek(0) {
            quote @ (b'\'' | b'"' | b'`') => self.delimited(quote, quote != b'`', TokenKind::Variable),
            _ => {
                self.take_while(|b| continues_word(b) || b == b'.');
                TokenKind::Variable
            }
        }
    }

    fn word(&mut self) -> TokenKind {
        use Dialect::{MySql, Postgres};
        let dialect = self.dialect;
        let prefixed = self.peek(1) == b'\'';
        match self.peek(0).to_ascii_lowercase() {
            b'e' if prefixed && dialect == Postgres => {
                self.at += 1;
                return self.quoted_text(true);
            }
            b'n' if prefixed && dialect != Dialect::Sqlite => {
                self.at += 1;
                return self.quoted_text(dialect == MySql);
            }
            b'b' if prefixed && dialect != Dialect::Sqlite => {
                self.at += 1;
                return self.quoted_text(false);
            }
            b'x' if prefixed => {
                self.at += 1;
                return self.quoted_text(false);
            }
            b'u' if dialect == Postgres && self.peek(1) == b'&' && matches!(self.peek(2), b'\'' | b'"') => {
                self.at += 2;
                return if self.peek(0) == b'\'' {
                    self.quoted_text(false)
                } else {
                    // The name is written in escapes: whatever it is, it is not what it looks like.
                    self.delimited(b'"', false, TokenKind::Broken)
                };
            }
            _ => {}
        }
        self.take_while(continues_word);
        TokenKind::Word
    }

    fn operator(&mut self) -> TokenKind {
        let known = match self.dialect {
            Dialect::Postgres => return self.postgres_operator(),
            Dialect::MySql => MYSQL_OPERATORS,
            Dialect::Sqlite => SQLITE_OPERATORS,
        };
        if let Some(long) = known.iter().find(|op| self.starts(op)) {
            self.at += long.len();
            return TokenKind::Operator;
        }
        let single = b"+-*/%<>=&|~".contains(&self.peek(0))
            || (self.dialect == Dialect::MySql && b"!^:".contains(&self.peek(0)));
        self.at += 1;
        if single { TokenKind::Operator } else { TokenKind::Broken }
    }

    fn postgres_operator(&mut self) -> TokenKind {
        for fixed in ["::", ":="] {
            if self.starts(fixed) {
                self.at += fixed.len();
                return TokenKind::Operator;
            }
        }
        if self.peek(0) == b':' {
            self.at += 1;
            return TokenKind::Operator;
        }
        let start = self.at;
        while POSTGRES_OPERATOR.contains(&self.peek(0)) && self.at < self.bytes.len() {
            if self.at > start && (self.starts("--") || self.starts("/*")) {
                break;
            }
            self.at += 1;
        }
        if self.at == start {
            self.at += 1;
            return TokenKind::Broken;
        }
        let run = self.bytes.get(start..self.at).unwrap_or_default();
        if !run.iter().any(|b| POSTGRES_OPERATOR_RARE.contains(b)) {
            while self.at > start + 1 && matches!(self.bytes.get(self.at - 1), Some(b'+' | b'-')) {
                self.at -= 1;
            }
        }
        TokenKind::Operator
    }
}

/// Postgres before 16 and SQLite refuse a vertical tab.
fn is_space(byte: u8, dialect: Dialect) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c) || (byte == 0x0b && dialect == Dialect::MySql)
}

/// Letters of other alphabets are letters: every byte of theirs has the high bit.
fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(sql: &str, dialect: Dialect) -> Vec<(TokenKind, &str)> {
        tokens(sql, dialect)
            .into_iter()
            .filter(|token| !token.is_blank())
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn strings_end_where_the_server_ends_them() {
        use Dialect::{MySql, Postgres};
        use TokenKind::{Broken, Text};
        for (sql, dialect, kind) in [
            ("'a''b'", Postgres, Text),
            (r"'a\'", Postgres, Broken),
            (r"E'a\'b'", Postgres, Text),
            ("$a$ $b$ ' $a$", Postgres, Text),
            ("'a'\n  'b'", Postgres, Text),
            (r"'a\'b'", MySql, Text),
            ("\"a\"\"b\"", MySql, Text),
            ("'a", MySql, Broken),
        ] {
            assert_eq!(visible(sql, dialect), [(kind, sql)], "{dialect:?}");
        }
    }

    #[test]
    fn postgres_operators_are_as_long_as_can_be() {
        let operators = |sql| visible(sql, Dialect::Postgres).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(operators("a@>b"), ["a", "@>", "b"]);
        assert_eq!(operators("a=-1"), ["a", "=", "-", "1"]);
        assert_eq!(operators("a@-1"), ["a", "@-", "1"]);
        assert_eq!(operators("a::int"), ["a", "::", "int"]);
        assert_eq!(operators("a*/**/b"), ["a", "*", "b"]);
    }

    #[test]
    fn nothing_is_lost() {
        for sql in ["", "é'ü", "SELECT /* a /* b */ 1", "\u{0}[\u{1}", "$é$ x"] {
            for dialect in [Dialect::Postgres, Dialect::MySql, Dialect::Sqlite] {
                let joined: String = tokens(sql, dialect).iter().map(|token| token.text).collect();
                assert_eq!(joined, sql);
            }
        }
    }
}
