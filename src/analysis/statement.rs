//! One statement: what its first word says, and who looks at the rest.

use super::combined::PassedOn;
use super::facts::{Dialect, Kind, SessionEffect, TransactionControl, Writes};
use super::lexer::{Token, TokenKind};
use super::parse::{self, Trouble};
use super::verdict::Findings;
use super::{columns, cross_check, dates, definition, fold, guess, operators, utility, walk, words};
use crate::reason::Reason;

/// A statement: its text, and its tokens without blanks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statement<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Token<'a>],
    pub(super) dialect: Dialect,
    /// How many statements it stands in (`EXPLAIN`, `COPY`, `CREATE TABLE ... AS`).
    pub(super) depth: usize,
}

/// Statements within statements are not followed further than any real one goes.
const DEEPEST: usize = 4;

impl<'a> Statement<'a> {
    /// The statement that begins at a token of this one (`EXPLAIN` SELECT ..., `CREATE TABLE t AS` SELECT ...).
    pub(super) fn from(self, at: usize) -> Self {
        self.part(at, self.tokens.len())
    }

    /// The statement between two of its tokens.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        let tokens = self.tokens.get(from..to).unwrap_or_default();
        let start = tokens.first().map_or(self.text.len(), |token| self.offset(token));
        let end = tokens.last().map_or(start, |token| self.offset(token) + token.text.len());
        Self { text: self.text.get(start..end).unwrap_or_default(), tokens, dialect: self.dialect, depth: self.depth }
    }

    /// Where a token stands: both are slices of one text.
    fn offset(self, token: &Token<'_>) -> usize {
        (token.text.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize)
    }

    pub(super) fn token(self, at: usize) -> Option<&'a Token<'a>> {
        self.tokens.get(at)
    }

    pub(super) fn word_at(self, at: usize, words: &[&str]) -> bool {
        self.token(at).is_some_and(|token| token.is_any(words))
    }

    /// Where the first of these words stands.
    pub(super) fn find(self, words: &[&str]) -> Option<usize> {
        self.tokens.iter().position(|token| token.is_any(words))
    }

    pub(super) fn has(self, words: &[&str]) -> bool {
        self.find(words).is_some()
    }
}

/// Words that begin a query or a data-modifying statement.
pub(super) const PARSED: &[&str] =
    &["select", "with", "values", "table", "insert", "update", "delete", "merge", "replace"];

/// Looks at a statement that stands in another.
pub(super) fn within(statement: Statement<'_>) -> Findings {
    if statement.depth >= DEEPEST {
        return Findings::opaque(Kind::Write, "It is a statement within a statement, many times over.");
    }
    analyse(Statement { depth: statement.depth + 1, ..statement })
}

/// Looks at one statement.
pub(super) fn analyse(statement: Statement<'_>) -> Findings {
    let mut found = dispatch(statement);
    let queries = statement.tokens.iter().find(|token| !token.is("(")).is_some_and(|token| token.is_any(PARSED));
    if statement.dialect == Dialect::MySql && found.writes == Writes::Everything && !queries {
        // A procedure may commit, and so do most statements that are not known here.
        found.transaction.get_or_insert(TransactionControl::End);
    }
    found
        .mentions
        .operators
        .extend(operators::mentioned(statement.tokens, statement.dialect).into_iter().map(str::to_owned));
    let mut after_dot = false;
    for token in statement.tokens {
        // After a dot, the servers take reserved words for names.
        let is_name =
            after_dot || token.kind == TokenKind::Quoted || !words::is_reserved(token.text, statement.dialect);
        after_dot = token.is(".");
        if token.is_identifier() && is_name {
            found.mentions.identifiers.insert(fold::fold_token(token, statement.dialect));
        }
    }
    found
}

fn dispatch(statement: Statement<'_>) -> Findings {
    use Dialect::{MySql, Postgres, Sqlite};
    let Some(first) = statement.tokens.iter().find(|token| !token.is("(")) else {
        return Findings::opaque(Kind::Other, "It holds no statement.");
    };
    if first.kind != TokenKind::Word {
        return Findings::opaque(Kind::Other, "It begins with no word that is known.");
    }
    let bracketed = statement.tokens.first().is_some_and(|token| token.is("("));
    let verb = first.text.to_ascii_lowercase();
    match (verb.as_str(), statement.dialect) {
        ("select" | "with" | "values", _) | ("table", Postgres | MySql) => parsed(statement, Kind::Read),
        _ if bracketed => Findings::opaque(Kind::Other, "It begins with a bracket that holds no query."),
        ("insert" | "update" | "delete", _) | ("merge", Postgres) | ("replace", MySql | Sqlite) => {
            parsed(statement, Kind::Write)
        }
        ("create" | "alter" | "drop" | "rename" | "truncate" | "refresh" | "cluster" | "comment", _) => {
            definition::analyse(&verb, statement)
        }
        _ => utility::analyse(&verb, statement),
    }
}

/// A query or data-modifying statement. The tree is dropped by recursion, which needs room on the stack.
#[recursive::recursive]
fn parsed(statement: Statement<'_>, kind: Kind) -> Findings {
    let Statement { text, tokens, dialect, .. } = statement;
    let mut found = Findings::new(kind);
    match parse::parse(text, tokens, dialect) {
        Ok(tree) => {
            let passed = PassedOn::by(&tree);
            let (seen, sources) = walk::walk(&tree, dialect, &passed, &mut found);
            if dialect != Dialect::Postgres && tokens.iter().any(|token| token.is_word("replace")) {
                // Rows that stand in the way are deleted, in whatever words that was asked for.
                found.write_all_ways();
            }
            found.unnamed_columns = columns::may_be_unnamed(tokens, dialect, &sources, 0);
            if dialect == Dialect::MySql {
                found.meets_unnamed = columns::may_be_unnamed(tokens, dialect, &sources, passed.asterisks);
                found.mentions.met = passed.met(tokens);
            }
            if let Some(missed) = cross_check::missed(tokens, dialect, &seen) {
                found.not_understood(format!("What {missed} stands for could not be told."));
            }
        }
        Err(trouble) => {
            match trouble {
                Trouble::TooComplex => {
                    found.unknown = true;
                    found.refuse(Reason::TooComplex, "It is too long, or too deeply nested, to be analysed.");
                }
                Trouble::NotUnderstood => found.not_understood("It could not be parsed."),
            }
            if tokens.iter().any(|token| token.is_any(&["insert", "update", "delete", "merge", "replace"]))
                && kind == Kind::Read
            {
                // A data-modifying WITH query, or a lock, or a column of that name: the first until proved otherwise.
                if tokens.first().is_some_and(|token| token.is_word("with")) {
                    found.kind = Kind::Write;
                }
            }
            for (name, _) in guess::names(tokens, dialect) {
                found.read(name);
            }
        }
    }
    if found.unknown {
        // `SELECT INTO t` makes a table.
        if dialect == Dialect::Postgres && tokens.iter().any(|token| token.is_word("into")) {
            found.kind = Kind::Write;
        }
        guess::widen(&mut found, tokens, dialect);
    }
    objections(tokens, dialect, &mut found);
    found
}

/// What objects to caching wherever it stands.
fn objections(tokens: &[Token<'_>], dialect: Dialect, found: &mut Findings) {
    const SYSTEM_COLUMNS: &[&str] = &["cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"];
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tokens.get(at));
        let after = tokens.get(at + 1);
        let is_part = before.is_some_and(|before| before.is(".") || before.is_word("as"));
        match token.kind {
            TokenKind::Word if !is_part && words::niladic(dialect).iter().any(|word| token.is_word(word)) => {
                found.refuse(
                    Reason::VolatileFunction,
                    format!("{} may change its answer while no table changes.", token.text.to_uppercase()),
                );
            }
            TokenKind::Word
                if token.is_word("for")
                    && after.is_some_and(|after| after.is_any(&["update", "share", "no", "key"])) =>
            {
                found.refuse(Reason::Locks, "It locks rows.");
            }
            TokenKind::Word if token.is_word("lock") && after.is_some_and(|after| after.is_word("in")) => {
                found.refuse(Reason::Locks, "It locks rows.");
            }
            TokenKind::Word if token.is_word("tablesample") => {
                found.refuse(Reason::Sample, "TABLESAMPLE picks rows by chance.");
            }
            TokenKind::Word
                if token.is_word("operator")
                    && dialect == Dialect::Postgres
                    && after.is_some_and(|after| after.is("(")) =>
            {
                found.refuse(Reason::UnknownOperator, "An operator is named with its schema.");
            }
            TokenKind::Word | TokenKind::Quoted
                if dialect == Dialect::Postgres
                    && SYSTEM_COLUMNS.contains(&fold::fold_token(token, dialect).as_str()) =>
            {
                found.refuse(Reason::System, format!("{} is a system column, which changes unseen.", token.text));
            }
            TokenKind::Text if dialect == Dialect::Postgres && dates::may_mean_the_present(token.text) => {
                found.refuse(Reason::SpecialDate, "A text such as 'now' or 'today' may become a date.");
            }
            TokenKind::Word if token.is_word("match") && dialect == Dialect::MySql && !searches(tokens, at) => {
                found.refuse(
                    Reason::VolatileFunction,
                    "How well a row matches changes with the statistics of its index: let MATCH be a condition of a WHERE.",
                );
            }
            TokenKind::Word if token.is_word("sql_calc_found_rows") && dialect == Dialect::MySql => {
                found.refuse(Reason::Variable, "SQL_CALC_FOUND_ROWS sets what FOUND_ROWS() returns next.");
            }
            TokenKind::Variable => {
                found.refuse(Reason::Variable, "It reads a variable of the session.");
            }
            TokenKind::Operator if token.text == ":=" && dialect == Dialect::MySql => {
                found.refuse(Reason::Variable, "It sets a user variable.");
                found.session(SessionEffect::Changes);
            }
            TokenKind::Operator if operators::is_unknown(token.text, dialect) => {
                found.mentions.unknown.insert(token.text.to_owned());
                found.refuse(Reason::UnknownOperator, format!("The operator {} is not built in.", token.text));
            }
            // A time of day becomes a moment of today wherever it meets a date.
            TokenKind::Parameter if dialect == Dialect::MySql => found.clock_by_argument = true,
            TokenKind::Operator
            | TokenKind::Word
            | TokenKind::Quoted
            | TokenKind::Text
            | TokenKind::Number
            | TokenKind::Parameter
            | TokenKind::Mark
            | TokenKind::Space
            | TokenKind::Comment
            | TokenKind::Hint
            | TokenKind::Executable
            | TokenKind::Broken => {}
        }
    }
}

/// Whether the `MATCH .. AGAINST` at a token is a condition on its own, which only says that a row matches at all.
fn searches(tokens: &[Token<'_>], at: usize) -> bool {
    const AFTER: &[&str] = &["and", "or", "group", "having", "order", "limit", "union"];
    let after_brackets = |start: usize| {
        let mut depth = 0_usize;
        let end = tokens.iter().skip(start).position(|token| {
            depth = if token.is("(") { depth + 1 } else { depth.saturating_sub(usize::from(token.is(")"))) };
            depth == 0 && token.is(")")
        })?;
        Some(start + end + 1)
    };
    let begins = at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|t| t.is_any(&["where", "and"]));
    let against = after_brackets(at + 1).filter(|&against| tokens.get(against).is_some_and(|t| t.is_word("against")));
    let end = against.and_then(|against| after_brackets(against + 1));
    // What an expansion adds is taken from the best matches.
    let expands = tokens.iter().any(|token| token.is_any(&["between", "expansion"]));
    begins && !expands && end.is_some_and(|end| tokens.get(end).is_none_or(|t| t.is(")") || t.is_any(AFTER)))
}

/// A statement that controls a transaction.
pub(super) fn transaction(control: TransactionControl) -> Findings {
    let mut found = Findings::new(Kind::Other);
    found.transaction = Some(control);
    found.session(SessionEffect::Changes);
    found
}

/// A statement that may write every table, and changes what is known of the schema.
pub(super) fn everything(schema_change: bool) -> Findings {
    let mut found = Findings::new(Kind::Write);
    found.unknown = true;
    found.writes = Writes::Everything;
    found.schema_change = schema_change;
    found
}
