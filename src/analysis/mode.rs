//! How the session that runs a text reads it. In MySQL and MariaDB `sql_mode` moves the ends of tokens, and may change the
//! grammar.
//!
//! In: a text, and what the session told of itself. Out: the text in the spelling of the default mode, so that the rest of
//! this room knows one mode only; or none, where that is not possible.
//! It never changes what a text means, and takes no mode for harmless that is not on its list.

use std::borrow::Cow;

use super::facts::Dialect;
use super::word_set::WordSet;

/// How a session reads the texts it is sent, as far as its settings decide. Postgres and SQLite have [`SqlMode::default`]
/// alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlMode(Mode);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mode {
    Known {
        ansi_quotes: bool,
        no_backslash_escapes: bool,
    },
    /// The session was not looked at.
    Unseen,
    /// Not known to leave the grammar alone.
    Foreign,
}

/// Modes that change no token, no table and no function that a text names: they are about values, about definitions of
/// columns and how they are shown, about the precedence of NOT, and about what `||` does with its operands.
///
/// Without IGNORE_SPACE, `count (x)` calls a stored function of that name. Either way it is a call of `count`, and whoever
/// knows the stored functions knows of one that is called like that.
static HARMLESS: WordSet = WordSet::new(
    "
    allow_invalid_dates empty_string_is_null error_for_division_by_zero high_not_precedence ignore_bad_table_options
    ignore_space no_auto_create_user no_auto_value_on_zero no_dir_in_create no_engine_substitution no_field_options
    no_key_options no_table_options no_unsigned_subtraction no_zero_date no_zero_in_date only_full_group_by
    pad_char_to_full_length pipes_as_concat real_as_float simultaneous_assignment strict_all_tables strict_trans_tables
    time_round_fractional time_truncate_fractional traditional
",
);

/// Character sets in which the server reads the bytes of a text as they were meant. In others (`gbk`, `sjis`) a quote or a
/// backslash may be part of a letter, or a name may be another one.
const CHARACTER_SETS: &[&str] = &["utf8mb4", "utf8mb3", "utf8"];

impl Default for SqlMode {
    /// That of a session without ANSI_QUOTES and NO_BACKSLASH_ESCAPES, and of every other database.
    fn default() -> Self {
        Self(Mode::Known { ansi_quotes: false, no_backslash_escapes: false })
    }
}

impl SqlMode {
    /// Reads what a MySQL session answers for `@@sql_mode` and `@@character_set_client`.
    ///
    /// A mode that is not known to leave the grammar alone makes every text opaque; so does a character set that is not a
    /// form of UTF-8.
    ///
    /// ```
    /// use larder::analysis::{Dialect, Name, SqlMode, analyze_in};
    ///
    /// let mode = SqlMode::of("ANSI_QUOTES,STRICT_TRANS_TABLES", "utf8mb4");
    /// let facts = analyze_in("SELECT \"name\" FROM \"users\"", Dialect::MySql, mode);
    /// assert!(facts.reads.contains(&Name::new(["users"])));
    /// ```
    pub fn of(sql_mode: &str, character_set_client: &str) -> Self {
        let (mut ansi_quotes, mut no_backslash_escapes) = (false, false);
        if !CHARACTER_SETS.contains(&character_set_client) {
            return Self(Mode::Foreign);
        }
        for mode in sql_mode.split(',').map(str::trim).filter(|mode| !mode.is_empty()) {
            match mode.to_ascii_lowercase().as_str() {
                // A server lists both; who names the one means the other, too.
                "ansi_quotes" | "ansi" => ansi_quotes = true,
                "no_backslash_escapes" => no_backslash_escapes = true,
                other if HARMLESS.contains(other) => {}
                _ => return Self(Mode::Foreign),
            }
        }
        Self(Mode::Known { ansi_quotes, no_backslash_escapes })
    }

    /// That of a session which was not looked at: a text that some mode reads in another way is opaque.
    pub fn unseen(dialect: Dialect) -> Self {
        match dialect {
            Dialect::MySql => Self(Mode::Unseen),
            Dialect::Postgres | Dialect::Sqlite => Self::default(),
        }
    }

    /// The text as it would be written for a session in the default mode, unchanged where the mode does not matter; none
    /// where nobody knows.
    pub(super) fn respell(self, sql: &str) -> Option<Cow<'_, str>> {
        match self.0 {
            Mode::Foreign => None,
            // Letters beyond ASCII may swallow a quote that follows them, by the character set.
            Mode::Unseen => (sql.is_ascii() && !sql.contains(['"', '\\', '['])).then_some(Cow::Borrowed(sql)),
            Mode::Known { ansi_quotes, no_backslash_escapes } => {
                let matters = (ansi_quotes && sql.contains('"')) || (no_backslash_escapes && sql.contains('\\'));
                Some(match matters {
                    true => {
                        Cow::Owned(Speller { rest: sql, out: String::new(), ansi_quotes, no_backslash_escapes }.run())
                    }
                    false => Cow::Borrowed(sql),
                })
            }
        }
    }

    /// Whether the text means something else, or may, to a session in the default mode.
    pub(crate) fn matters_to(self, sql: &str) -> bool {
        !matches!(self.respell(sql), Some(Cow::Borrowed(_)))
    }
}

struct Speller<'a> {
    rest: &'a str,
    out: String,
    ansi_quotes: bool,
    no_backslash_escapes: bool,
}

impl<'a> Speller<'a> {
    fn run(mut self) -> String {
        while let Some(at) = self.rest.find(['\'', '"', '`', '#', '-', '/']) {
            self.copy(at);
            let taken = match self.rest.as_bytes()[0] {
                quote @ (b'\'' | b'"' | b'`') => self.quoted(quote),
                b'#' => self.copy_line(),
                // A control character makes it a comment too, and the end of the text.
                b'-' if self.rest.starts_with("--")
                    && self.rest.as_bytes().get(2).is_none_or(|&b| b <= b' ' || b == 0x7f) =>
                {
                    self.copy_line()
                }
                // What the server runs of a comment makes a text opaque, wherever it ends.
                b'/' if self.rest.starts_with("/*!") || self.rest.starts_with("/*M!") => None,
                b'/' if self.rest.starts_with("/*") => self.copy_through("*/", 2),
                _ => {
                    self.copy(1);
                    Some(())
                }
            };
            if taken.is_none() {
                break;
            }
        }
        self.copy(self.rest.len());
        self.out
    }

    fn copy(&mut self, length: usize) {
        let (taken, rest) = self.rest.split_at(length);
        self.out.push_str(taken);
        self.rest = rest;
    }

    fn copy_line(&mut self) -> Option<()> {
        self.copy_through("\n", 0)
    }

    fn copy_through(&mut self, end: &str, from: usize) -> Option<()> {
        let at = self.rest.get(from..)?.find(end)?;
        self.copy(from + at + end.len());
        Some(())
    }

    /// One that is not closed stays as it is: it is not closed in any mode.
    fn quoted(&mut self, quote: u8) -> Option<()> {
        let is_name = quote == b'`' || (quote == b'"' && self.ansi_quotes);
        let end = end_of_quoted(self.rest.as_bytes(), quote, !is_name && !self.no_backslash_escapes)?;
        if is_name && quote == b'"' {
            let name = self.rest[1..end - 1].replace("\"\"", "\"").replace('`', "``");
            // Two names side by side are not one.
            if self.out.ends_with('`') {
                self.out.push(' ');
            }
            self.out.extend(["`", &name, "`"]);
            self.rest = &self.rest[end..];
            if self.rest.starts_with('`') {
                self.out.push(' ');
            }
        } else if !is_name && self.no_backslash_escapes {
            let text = self.rest[..end].replace('\\', "\\\\");
            self.out.push_str(&text);
            self.rest = &self.rest[end..];
        } else {
            self.copy(end);
        }
        Some(())
    }
}

/// The position behind the quote that closes the one at the beginning; a doubled one stands for itself.
fn end_of_quoted(text: &[u8], quote: u8, backslash: bool) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'\\' if backslash => at += 2,
            byte if byte == quote && text.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn respelled(modes: &str, sql: &str) -> String {
        SqlMode::of(modes, "utf8mb4").respell(sql).unwrap().into_owned()
    }

    #[test]
    fn a_text_is_respelled_where_its_mode_reads_it_in_another_way() {
        for (modes, written, plain) in [
            ("ANSI_QUOTES", r#"SELECT "a""b" FROM "t`x""#, r#"SELECT `a"b` FROM `t``x`"#),
            ("ANSI_QUOTES", r#"SELECT "a"`b``c`"d""#, r#"SELECT `a` `b``c` `d`"#),
            ("ANSI_QUOTES", r#"SELECT "a\" 'b\'c"d"#, r#"SELECT `a\` 'b\'c"d"#),
            ("ANSI_QUOTES", r#"SELECT '"' # "x"#, r#"SELECT '"' # "x"#),
            ("ANSI_QUOTES", "SELECT '\"' -- \"\n, \"b\"", "SELECT '\"' -- \"\n, `b`"),
            ("ANSI_QUOTES", "SELECT 1--\"b\"", "SELECT 1--`b`"),
            ("ANSI_QUOTES", "SELECT /* \" */ \"b\"", "SELECT /* \" */ `b`"),
            ("ANSI_QUOTES", "SELECT /*! \"b\" */", "SELECT /*! \"b\" */"),
            ("ANSI_QUOTES", "SELECT @\"b\"", "SELECT @`b`"),
            ("NO_BACKSLASH_ESCAPES", r"SELECT 'a\' , N'\n'", r"SELECT 'a\\' , N'\\n'"),
            ("NO_BACKSLASH_ESCAPES", r"SELECT 'a\'''", r"SELECT 'a\\'''"),
            ("NO_BACKSLASH_ESCAPES", r#"SELECT "a\" , `\`"#, r#"SELECT "a\\" , `\`"#),
            ("NO_BACKSLASH_ESCAPES", r"SELECT \N", r"SELECT \N"),
            ("ANSI", r#"SELECT "\" FROM t"#, r"SELECT `\` FROM t"),
            ("ansi_quotes , NO_BACKSLASH_ESCAPES,ANSI", r#"SELECT "a\" , 'a\'"#, r#"SELECT `a\` , 'a\\'"#),
            ("", r#"SELECT "a\"" , 'a\''"#, r#"SELECT "a\"" , 'a\''"#),
        ] {
            assert_eq!(respelled(modes, written), plain, "{modes}");
        }
    }

    #[test]
    fn only_modes_that_are_known_pass() {
        for (modes, set, known) in [
            ("", "utf8mb4", true),
            ("PIPES_AS_CONCAT,NO_ENGINE_SUBSTITUTION", "utf8mb3", true),
            ("REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ANSI", "utf8mb4", true),
            ("PIPES_AS_CONCAT,ORACLE", "utf8mb4", false),
            ("MSSQL", "utf8mb4", false),
            ("WHAT_COMES_NEXT", "utf8mb4", false),
            ("", "gbk", false),
            ("", "latin1", false),
            ("", "", false),
        ] {
            assert_eq!(SqlMode::of(modes, set).respell("SELECT 1").is_some(), known, "{modes} {set}");
        }
    }

    #[test]
    fn what_depends_on_a_mode_that_was_not_seen_is_not_read() {
        let unseen = SqlMode::unseen(Dialect::MySql);
        assert!(unseen.respell("SELECT 'a' FROM `t`").is_some());
        for sql in ["SELECT \"a\"", r"SELECT 'a\'b'", "SELECT [a]", "SELECT 1 AS `中`, 2 AS `, f() AS z -- `"] {
            assert!(unseen.respell(sql).is_none(), "{sql}");
            assert!(SqlMode::unseen(Dialect::Sqlite).respell(sql).is_some(), "{sql}");
        }
    }
}
