//! Whether the bound arguments are of the types the server prepared the statement for.
//!
//! In: the `Debug` text of `PgArguments`, the only way to see their types, and the statement. Out: yes or no.
//! It never says yes to a text it cannot read.
//!
//! sqlx keeps prepared statements by their text alone. When the same text is executed again on the same connection with
//! arguments of other types, the server reads the new bytes as the old types: what it answers depends on which
//! connection the pool happened to choose, and must not be kept.

use sqlx::postgres::PgStatement;
use sqlx::{Either, Statement, TypeInfo};

pub(super) fn fit(arguments: &str, statement: &PgStatement) -> bool {
    let Some(bound) = types(arguments) else { return false };
    let Some(Either::Left(parameters)) = statement.parameters() else { return false };
    bound.len() == parameters.len()
        && bound.iter().zip(parameters).all(|(bound, parameter)| {
            let prepared = format!("{parameter:?}");
            match (is_builtin(bound), is_builtin(&prepared)) {
                // The server keeps a type that was declared to it.
                (true, _) => *bound == prepared,
                // Known by name only; sqlx asks the server for the type behind it.
                (false, true) => {
                    name(bound).is_some_and(|name| name.eq_ignore_ascii_case(parameter.name()))
                        || parameter.oid().is_some_and(|oid| *bound == format!("PgTypeInfo(DeclareWithOid({oid:?}))"))
                }
                (false, false) => true,
            }
        })
}

/// A type that sqlx has a variant of its own for: `PgTypeInfo(Int8)`.
fn is_builtin(debug: &str) -> bool {
    debug
        .strip_prefix("PgTypeInfo(")
        .and_then(|rest| rest.strip_suffix(')'))
        .is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The name of a type, or array of a type, that is known by its name only. sqlx prints the one plain, the other in quotes.
fn name(debug: &str) -> Option<&str> {
    let named = debug.strip_prefix("PgTypeInfo(DeclareWithName(").and_then(|rest| rest.strip_suffix("))"));
    named.or_else(|| {
        let array = debug.strip_prefix("PgTypeInfo(DeclareArrayOf(")?;
        let (_, name) = array.strip_suffix("\" }))")?.rsplit_once("name: \"")?;
        Some(name)
    })
}

/// The elements of the list in `PgArguments { types: [..], ..`. Names of types stand in it without quotes; one with
/// brackets that do not match makes the text unreadable, or the count wrong.
fn types(arguments: &str) -> Option<Vec<&str>> {
    split(arguments).map(|(types, _)| types)
}

/// The part of the text that lists the types, up to where the values begin: two texts that begin with the same list
/// have the same types.
pub(super) fn head(arguments: &str) -> Option<&str> {
    split(arguments).map(|(_, values)| &arguments[..values])
}

const TYPES: &str = "PgArguments { types: [";
const VALUES: &str = "], buffer: ";

/// The types, and where the values begin.
fn split(arguments: &str) -> Option<(Vec<&str>, usize)> {
    let list = arguments.strip_prefix(TYPES)?;
    let (mut found, mut start, mut depth, mut in_quotes, mut escaped) = (Vec::new(), 0, 0_usize, false, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ if in_quotes => {}
            b'(' | b'[' | b'{' => depth += 1,
            b']' if depth == 0 => {
                let last = list[start..at].trim();
                if !last.is_empty() {
                    found.push(last);
                }
                return list[at..].starts_with(VALUES).then_some((found, TYPES.len() + at + VALUES.len()));
            }
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                found.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use sqlx::Arguments;
    use sqlx::postgres::{PgArguments, PgTypeInfo};

    use super::*;

    struct Mood;

    impl sqlx::Type<sqlx::Postgres> for Mood {
        fn type_info() -> PgTypeInfo {
            PgTypeInfo::with_name("\"App, 1\".mood")
        }
    }

    impl sqlx::postgres::PgHasArrayType for Mood {
        fn array_type_info() -> PgTypeInfo {
            PgTypeInfo::array_of("mood")
        }
    }

    impl sqlx::Encode<'_, sqlx::Postgres> for Mood {
        fn encode_by_ref(
            &self,
            buffer: &mut sqlx::postgres::PgArgumentBuffer,
        ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
            <&str as sqlx::Encode<sqlx::Postgres>>::encode("],", buffer)
        }
    }

    #[test]
    fn types_are_read_from_the_debug_text() {
        let mut arguments = PgArguments::default();
        assert_eq!(types(&format!("{arguments:?}")), Some(vec![]));
        arguments.add(1_i32).unwrap();
        arguments.add(Mood).unwrap();
        arguments.add(vec![Mood]).unwrap();
        arguments.add(vec!["a".to_owned()]).unwrap();
        let text = format!("{arguments:?}");
        let found = types(&text).unwrap();
        assert_eq!(found.len(), 4);
        assert_eq!((found[0], found[3]), ("PgTypeInfo(Int4)", "PgTypeInfo(TextArray)"));
        assert_eq!((name(found[1]), name(found[2])), (Some("\"App, 1\".mood"), Some("mood[]")));
        assert_eq!(found.iter().map(|text| is_builtin(text)).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(types("PgArguments { types: [PgTypeInfo(Int4), "), None);
        assert_eq!(types("something else"), None);
    }
}
