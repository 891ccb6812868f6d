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

    /// Reads a name as it is displayed.
    pub(crate) fn displayed(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let quoted = text.strip_prefix('"').and_then(|inner| {
                // A closing quote is followed by a dot or by nothing; a doubled one is not.
                let mut at = 0;
                loop {
                    at += inner.get(at..)?.find('"')?;
                    match inner.as_bytes().get(at + 1) {
                        Some(b'"') => at += 2,
                        _ => return Some((&inner[..at], inner.get(at + 1..)?)),
                    }
                }
            });
            let (part, behind) = match quoted {
                Some((part, behind)) => (part.replace("\"\"", "\""), behind.strip_prefix('.')),
                None => match text.split_once('.') {
                    Some((part, behind)) => (part.to_owned(), Some(behind)),
                    None => (text.to_owned(), None),
                },
            };
            parts.push(part);
            rest = behind;
        }
        Self { parts }
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

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn what_is_displayed_can_be_read() {
        for parts in [
            &["users"][..],
            &["shop", "users"],
            &["a.b", "c\"d"],
            &["\"", "\"\"."],
            &["we ird", "[x"],
            &[".", ""],
            &["a\".\"b", "é"],
        ] {
            let name = Name::new(parts.iter().copied());
            assert_eq!(Name::displayed(&name.to_string()), name, "{name}");
        }
    }
}
