//! What makes two reads the same: statement, bound arguments with their types, scope and session.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

/// The key of a result. Two keys are equal only if every part is, so that no collision of hashes can share a row.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    hash: u64,
    /// The settings of the sessions of the pool.
    session: Arc<str>,
    /// The statement in normal form.
    statement: Arc<str>,
    /// How the query was sent, the scope and the arguments with their types.
    bound: Box<str>,
    /// Where in `bound` the arguments begin.
    arguments: usize,
}

/// Longest `bound` part; above it, comparing and keeping keys would cost more than a hit saves.
pub(crate) const MAX_BOUND: usize = 16 << 10;

impl Key {
    /// Joins the parts. `bound` is made by [`Bound`].
    pub fn new(hasher: &foldhash::fast::RandomState, session: &Arc<str>, statement: &Arc<str>, bound: Bound) -> Self {
        Self {
            hash: hasher.hash_one((session, statement, &bound.text)),
            session: session.clone(),
            statement: statement.clone(),
            bound: bound.text.into_boxed_str(),
            arguments: bound.arguments,
        }
    }

    /// The bound arguments with their types, as they were written.
    pub fn arguments(&self) -> &str {
        &self.bound[self.arguments..]
    }

    /// Bytes of memory that the key holds alone.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.bound.len()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Arc<str>, b: &Arc<str>| Arc::ptr_eq(a, b) || a == b;
        self.hash == other.hash
            && self.bound == other.bound
            && same(&self.statement, &other.statement)
            && same(&self.session, &other.session)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Builds the part of a key that differs from call to call; refuses to grow beyond [`MAX_BOUND`].
#[derive(Debug)]
pub(crate) struct Bound {
    text: String,
    /// Where the arguments begin.
    arguments: usize,
}

impl Bound {
    /// Begins with how the query was sent and with the scope, whose length keeps it apart from what follows.
    pub fn new(prepared_by_user: bool, has_arguments: bool, scope: Option<&str>) -> Self {
        let mut text = String::with_capacity(256);
        text.push(if prepared_by_user { 's' } else { 'q' });
        text.push(if has_arguments { 'a' } else { 'n' });
        if let Some(scope) = scope {
            text.push_str(&scope.len().to_string());
            text.push(':');
            text.push_str(scope);
        }
        text.push('|');
        let arguments = text.len();
        Self { text, arguments }
    }

    /// The arguments, as far as they were written.
    pub fn arguments(&self) -> &str {
        &self.text[self.arguments..]
    }
}

impl std::fmt::Write for Bound {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        if self.text.len() + s.len() > MAX_BOUND {
            return Err(std::fmt::Error);
        }
        self.text.push_str(s);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn key(session: &str, statement: &str, scope: Option<&str>, arguments: &str) -> Key {
        static HASHER: std::sync::LazyLock<foldhash::fast::RandomState> = std::sync::LazyLock::new(Default::default);
        let mut bound = Bound::new(false, true, scope);
        bound.write_str(arguments).unwrap();
        Key::new(&HASHER, &session.into(), &statement.into(), bound)
    }

    #[test]
    fn every_part_counts() {
        let base = key("s", "SELECT 1", None, "[1]");
        assert_eq!(base, key("s", "SELECT 1", None, "[1]"));
        for other in [
            key("t", "SELECT 1", None, "[1]"),
            key("s", "SELECT 2", None, "[1]"),
            key("s", "SELECT 1", Some(""), "[1]"),
            key("s", "SELECT 1", Some("a"), "[1]"),
            key("s", "SELECT 1", None, "[2]"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_scope_cannot_pass_for_arguments() {
        assert_ne!(key("s", "q", Some("a|"), "b"), key("s", "q", Some("a"), "|b"));
        assert_ne!(key("s", "q", None, "1:a|"), key("s", "q", Some("a"), ""));
    }

    #[test]
    fn equal_hashes_do_not_make_equal_keys() {
        let a = key("s", "SELECT a", None, "");
        let mut b = key("s", "SELECT b", None, "");
        b.hash = a.hash;
        assert_ne!(a, b);
    }

    #[test]
    fn arguments_beyond_the_limit_are_refused() {
        let mut bound = Bound::new(false, true, None);
        assert!(bound.write_str(&"x".repeat(MAX_BOUND + 1)).is_err());
    }
}
