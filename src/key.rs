//! What makes two reads the same: statement, bound arguments with their types, scope, tags and session.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use equivalent::Equivalent;

/// The key of a result. Two keys are equal only if every part is, so that no collision of hashes can share a row.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    hash: u64,
    stem: Arc<Stem>,
    /// How the query was sent, the scope, the tags and the arguments with their types.
    bound: Box<[u8]>,
}

/// Longest `bound` part; above it, comparing and keeping keys would cost more than a hit saves.
pub(crate) const MAX_BOUND: usize = 16 << 10;

impl Key {
    /// Another number for each key, but for chance, and other ones in each pool.
    pub fn name(&self) -> u64 {
        self.hash
    }

    /// Bytes of memory that the key holds alone.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.bound.len()
    }
}

#[cfg_attr(not(feature = "redis"), allow(dead_code))]
impl Key {
    /// What the key is made of, the same in every process: session, statement, and all that differs from call to call.
    pub fn parts(&self) -> [&[u8]; 3] {
        [self.stem.session.as_bytes(), self.stem.statement.as_bytes(), &self.bound]
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.bound == other.bound && self.stem == other.stem
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// The part of a key that is the same for all calls of a statement on one pool, hashed once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stem {
    hash: u64,
    /// The settings of the sessions of the pool.
    session: Arc<str>,
    /// The statement in normal form.
    statement: Arc<str>,
}

impl Stem {
    pub fn new(hasher: &foldhash::fast::RandomState, session: &Arc<str>, statement: &Arc<str>) -> Self {
        Self { hash: hasher.hash_one((session, statement)), session: session.clone(), statement: statement.clone() }
    }
}

/// A key to look something up by.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    hash: u64,
    stem: &'a Arc<Stem>,
    bound: &'a Bound,
}

impl<'a> Lookup<'a> {
    /// Joins the parts. The hasher is that of the stem.
    pub fn new(hasher: &foldhash::fast::RandomState, stem: &'a Arc<Stem>, bound: &'a Bound) -> Self {
        Self { hash: hasher.hash_one((stem.hash, &*bound.bytes)), stem, bound }
    }

    /// The key to keep something under.
    pub fn to_key(&self) -> Key {
        Key { hash: self.hash, stem: self.stem.clone(), bound: self.bound.bytes.as_slice().into() }
    }
}

impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.hash == key.hash && *self.bound.bytes == *key.bound && *self.stem == key.stem
    }
}

/// Builds the part of a key that differs from call to call; refuses to grow beyond [`MAX_BOUND`].
#[derive(Debug)]
pub struct Bound {
    bytes: Vec<u8>,
}

/// The arguments are too long for a key.
#[derive(Debug)]
pub struct TooLong;

impl Bound {
    /// Begins with how the query was sent, the scope and the tags, whose lengths keep them apart from what follows.
    pub fn new<'t>(
        prepared_by_user: bool,
        has_arguments: bool,
        scope: Option<&str>,
        tags: impl IntoIterator<Item = &'t Arc<str>>,
    ) -> Result<Self, TooLong> {
        let mut bound = Self { bytes: Vec::with_capacity(128) };
        let sent = [if prepared_by_user { b's' } else { b'q' }, if has_arguments { b'a' } else { b'n' }];
        bound.push(&sent)?;
        let tags = tags.into_iter().map(|tag| (b'#', &**tag));
        for (kind, name) in scope.map(|scope| (b':', scope)).into_iter().chain(tags) {
            bound.push(&[kind])?;
            bound.push(&name.len().to_le_bytes())?;
            bound.push(name.as_bytes())?;
        }
        bound.push(b"|")?;
        Ok(bound)
    }

    /// Appends to the arguments.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.bytes.len() + bytes.len() > MAX_BOUND {
            return Err(TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes back what was appended since there were `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Everything that was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Appends to the arguments.
impl std::fmt::Write for Bound {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.push(s.as_bytes()).map_err(|TooLong| std::fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static HASHER: std::sync::LazyLock<foldhash::fast::RandomState> = std::sync::LazyLock::new(Default::default);

    fn key(session: &str, statement: &str, scope: Option<&str>, tags: &[&str], arguments: &str) -> Key {
        let tags: Vec<Arc<str>> = tags.iter().map(|tag| (*tag).into()).collect();
        let mut bound = Bound::new(false, true, scope, &tags).unwrap();
        bound.push(arguments.as_bytes()).unwrap();
        Lookup::new(&HASHER, &Stem::new(&HASHER, &session.into(), &statement.into()).into(), &bound).to_key()
    }

    #[test]
    fn every_part_counts() {
        let base = key("s", "SELECT 1", None, &[], "[1]");
        assert_eq!(base, key("s", "SELECT 1", None, &[], "[1]"));
        for other in [
            key("t", "SELECT 1", None, &[], "[1]"),
            key("s", "SELECT 2", None, &[], "[1]"),
            key("s", "SELECT 1", Some(""), &[], "[1]"),
            key("s", "SELECT 1", Some("a"), &[], "[1]"),
            key("s", "SELECT 1", None, &["a"], "[1]"),
            key("s", "SELECT 1", None, &["a", "b"], "[1]"),
            key("s", "SELECT 1", None, &[], "[2]"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_name_cannot_pass_for_what_follows() {
        let plain = |scope, tags, arguments| key("s", "q", scope, tags, arguments);
        assert_ne!(plain(Some("a|"), &[], "b"), plain(Some("a"), &[], "|b"));
        assert_ne!(plain(None, &["a|"], "b"), plain(None, &["a"], "|b"));
        assert_ne!(plain(Some("a"), &[], ""), plain(None, &["a"], ""));
        assert_ne!(plain(None, &["ab", "c"], ""), plain(None, &["a", "bc"], ""));
    }

    #[test]
    fn equal_hashes_do_not_make_equal_keys() {
        let a = key("s", "SELECT a", None, &[], "");
        let mut b = key("s", "SELECT b", None, &[], "");
        b.hash = a.hash;
        assert_ne!(a, b);
    }

    #[test]
    fn a_lookup_finds_its_own_key_only() {
        let stem = Stem::new(&HASHER, &"s".into(), &"SELECT a".into()).into();
        let bound = |arguments: &[u8]| {
            let mut bound = Bound::new(false, true, None, []).unwrap();
            bound.push(arguments).unwrap();
            bound
        };
        let (one, other) = (bound(b"1"), bound(b"2"));
        let lookup = |bound| Lookup::new(&HASHER, &stem, bound);
        let key = lookup(&one).to_key();
        assert!(lookup(&one).equivalent(&key));
        assert!(!Lookup { hash: key.hash, ..lookup(&other) }.equivalent(&key));
    }

    #[test]
    fn arguments_beyond_the_limit_are_refused() {
        let mut bound = Bound::new(false, true, None, []).unwrap();
        assert!(bound.push(&[b'x'; MAX_BOUND + 1]).is_err());
        assert!(Bound::new(false, true, Some(&"x".repeat(MAX_BOUND)), []).is_err());
    }
}
