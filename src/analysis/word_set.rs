//! A fixed set of words, written as one text and looked up by hash.

use std::collections::HashSet;
use std::sync::OnceLock;

/// Words separated by white space.
pub(super) struct WordSet {
    text: &'static str,
    words: OnceLock<HashSet<&'static str, foldhash::fast::FixedState>>,
}

impl WordSet {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, words: OnceLock::new() }
    }

    pub(super) fn contains(&self, word: &str) -> bool {
        self.words.get_or_init(|| self.text.split_ascii_whitespace().collect()).contains(word)
    }

    /// The same for a set in lower case, whatever the case of the word.
    pub(super) fn contains_lowered(&self, word: &str) -> bool {
        if word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.contains(&word.to_ascii_lowercase())
        } else {
            self.contains(word)
        }
    }
}
