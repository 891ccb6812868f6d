//! Names of relations, folded as the dialect folds them.

use std::fmt;

/// The name of a relation as a statement writes it: one part or several, each folded as the dialect folds it.
///
/// ```
/// use larder::analysis::Name;
/// assert_eq!(Name::new(["shop", "users"]).to_string(), "shop.users");
/// assert_eq!(Name::new(["shop", "a.b"]).to_string(), "shop.\"a.b\"");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    parts: Vec<String>,
}

impl Name {
    /// Builds a name from its parts, the outermost first.
    pub fn new<P: Into<String>>(parts: impl IntoIterator<Item = P>) -> Self {
        Self { parts: parts.into_iter().map(Into::into).collect() }
    }

    /// The parts, the outermost first.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }
}

/// Parts joined by dots; a part that holds a dot or a double quote is quoted.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            if part.contains(['.', '"']) {
                write!(f, "\"{}\"", part.replace('"', "\"\""))?;
            } else {
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}
