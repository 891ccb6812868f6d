//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used. It says where, what is wrong and what is expected, and never repeats a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or does not hold a text of a sensible size.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What the system said.
        #[source]
        source: Option<io::Error>,
    },
    /// The text is not TOML.
    #[error("{place}: {problem}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong.
        problem: String,
    },
    /// There is no such key or variable.
    #[error("{place}: unknown {}{}", named(place, key), meant(place, nearest.as_deref(), valid))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key as it was written.
        key: String,
        /// The valid one that is most like it, if one is like it at all.
        nearest: Option<String>,
        /// Those that are valid there.
        valid: Vec<String>,
    },
    /// A key has a value that it cannot have.
    #[error("{place}: {} {problem}: expected {expected}", named(place, key))]
    BadValue {
        /// Where.
        place: Place,
        /// The key.
        key: String,
        /// What is wrong.
        problem: String,
        /// What would be right.
        expected: String,
    },
}

/// Where a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In a text.
    Text {
        /// The file that holds the text, if it came from one.
        file: Option<PathBuf>,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { file: Some(file), line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Text { file: None, line, column } => write!(f, "line {line}, column {column}"),
            Self::Variable(_) => f.write_str("environment"),
        }
    }
}

fn named(place: &Place, key: &str) -> String {
    match place {
        Place::Text { .. } => format!("key `{key}`"),
        Place::Variable(name) => format!("variable {name}"),
    }
}

fn meant(place: &Place, nearest: Option<&str>, valid: &[String]) -> String {
    let quote = |name: &str| match place {
        Place::Text { .. } => format!("`{name}`"),
        Place::Variable(_) => name.to_owned(),
    };
    match nearest {
        Some(name) => format!(": did you mean {}?", quote(name)),
        None => format!(": valid are {}", valid.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ")),
    }
}

/// The name in `valid` that somebody who wrote `name` most likely meant.
pub(super) fn most_like<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase().replace('-', "_");
    valid
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate.to_owned())
}
