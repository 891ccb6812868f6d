//! Reads the arguments that a query was bound with.
//!
//! In: `MySqlArguments`, whose fields are private. Out: their types and values, as part of a key.
//! It never changes them, and never leaves out anything that the server would be sent.
//!
//! `Debug` shows everything, the values first and one byte at a time. So it is asked of a copy without values: an argument
//! that is added is given the buffer that the others were encoded to, may take it, and by failing to be encoded is taken
//! back.

use std::fmt::Write;

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlTypeInfo};
use sqlx::{Arguments, Encode, MySql, Type};

use crate::key::{Bound, TooLong};

/// Writes arguments to a key.
pub(super) fn write(arguments: &mut MySqlArguments, out: &mut Bound) -> Result<(), TooLong> {
    let (types, values) = parts(arguments);
    out.push(&types.len().to_le_bytes())?;
    out.push(types.as_bytes())?;
    out.push(&values)
}

/// Whether one of them is a time of day, to which the server adds today's date where it wants a date.
pub(super) fn has_time_of_day(arguments: &MySqlArguments) -> bool {
    let (types, _) = parts(arguments);
    // What cannot be read may be anything.
    !types.starts_with(SHORT) || types.split(';').any(|one| one.trim_start_matches(SHORT).starts_with("Time("))
}

/// The types, with the places of NULLs; and the values.
fn parts(arguments: &MySqlArguments) -> (String, Vec<u8>) {
    let mut copy = arguments.clone();
    let mut values = Vec::new();
    // Should it ever not be asked to encode itself, the canary at the start of a pool finds that all are alike.
    let _ = copy.add(Values(&mut values));
    let shown = format!("{copy:?}");
    (short(&shown).unwrap_or(shown), values)
}

/// What a text in the short form begins with.
const SHORT: char = '=';

/// Of each type what tells it from others: `LongLong(BINARY)63;`, and then the places of NULLs. `None` where `Debug` shows
/// anything else than is expected.
fn short(shown: &str) -> Option<String> {
    let (types, nulls) = shown.strip_prefix("MySqlArguments { values: [], types: [")?.split_once("], null_bitmap: ")?;
    let mut text = String::with_capacity(shown.len() / 3);
    text.push(SHORT);
    for one in types.split_inclusive(" }") {
        let one = one.strip_prefix(", ").unwrap_or(one);
        let (name, rest) = one.strip_prefix("MySqlTypeInfo { type: ")?.split_once(", flags: ColumnFlags(")?;
        let (flags, rest) = rest.split_once("), collation: Collation(")?;
        let collation = rest.strip_suffix("), max_size: None }")?;
        if [name, flags, collation].iter().any(|part| part.contains([';', '(', ')'])) {
            return None;
        }
        write!(text, "{name}({flags}){collation};").ok()?;
    }
    text.push_str(nulls);
    Some(text)
}

/// An argument that takes the values of those before it, and fails.
struct Values<'v>(&'v mut Vec<u8>);

impl Type<MySql> for Values<'_> {
    fn type_info() -> MySqlTypeInfo {
        <bool as Type<MySql>>::type_info()
    }
}

impl Encode<'_, MySql> for Values<'_> {
    fn encode(self, buffer: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
        *self.0 = std::mem::take(buffer);
        Err(Box::new(Seen))
    }

    fn encode_by_ref(&self, _buffer: &mut Vec<u8>) -> Result<IsNull, BoxDynError> {
        Err(Box::new(Seen))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("this argument is not to be sent")]
struct Seen;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(arguments: &mut MySqlArguments) -> Vec<u8> {
        let before = format!("{arguments:?}");
        let mut bound = Bound::new(false, true, None, []).unwrap();
        write(arguments, &mut bound).unwrap();
        assert_eq!(format!("{arguments:?}"), before, "arguments must stay as they are");
        bound.bytes().to_vec()
    }

    #[test]
    fn the_usual_types_are_written_short() {
        let mut arguments = MySqlArguments::default();
        arguments.add(7_i64).unwrap();
        arguments.add("x").unwrap();
        arguments.add(None::<u32>).unwrap();
        arguments.add(sqlx::types::chrono::NaiveDate::MIN).unwrap();
        let (types, values) = parts(&arguments);
        assert!(types.starts_with("=LongLong(BINARY)63;VarString(0x0)"), "{types}");
        assert_eq!(types.matches(';').count(), 4);
        assert_eq!(&values[..10], b"\x07\0\0\0\0\0\0\0\x01x");
        assert!(parts(&MySqlArguments::default()).0.starts_with(SHORT));
    }

    #[test]
    fn what_differs_is_written_differently() {
        let with = |value: Option<i64>, other: Option<i64>| {
            let mut arguments = MySqlArguments::default();
            arguments.add(value).unwrap();
            arguments.add(other).unwrap();
            written(&mut arguments)
        };
        let all = [(Some(1), None), (None, Some(1)), (None, None), (Some(1), Some(1)), (Some(1), Some(2))];
        let keys: std::collections::HashSet<_> = all.iter().map(|(one, other)| with(*one, *other)).collect();
        assert_eq!(keys.len(), all.len());
    }

    #[test]
    fn a_time_of_day_is_found() {
        let with = |add: &dyn Fn(&mut MySqlArguments)| {
            let mut arguments = MySqlArguments::default();
            arguments.add(1).unwrap();
            add(&mut arguments);
            arguments.add("Time(").unwrap();
            has_time_of_day(&arguments)
        };
        assert!(with(&|arguments| arguments.add(sqlx::types::chrono::NaiveTime::MIN).unwrap()));
        assert!(!with(&|arguments| arguments.add(sqlx::types::chrono::NaiveDateTime::MIN).unwrap()));
        assert!(!with(&|arguments| arguments.add(1.5).unwrap()));
    }

    #[test]
    fn too_much_is_refused() {
        let mut bound = Bound::new(false, true, None, []).unwrap();
        let mut arguments = MySqlArguments::default();
        arguments.add("x".repeat(crate::key::MAX_BOUND)).unwrap();
        assert!(write(&mut arguments, &mut bound).is_err());
    }
}
