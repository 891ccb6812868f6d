//! Reads the arguments that a query was bound with.
//!
//! In: `MySqlArguments`, whose fields are private. Out: their types and values, as part of a key.
//! It never changes them, and never leaves out anything that the server would be sent.
//!
//! `Debug` shows everything, the values first and one byte at a time. So it is asked of a copy without values: an argument
//! that is added is given the buffer that the others were encoded to, may take it, and by failing to be encoded is taken
//! back.

use std::fmt::{self, Write};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlTypeInfo};
use sqlx::{Arguments, Encode, MySql, Type};

use crate::key::{Bound, TooLong};

/// Writes arguments to a key: their types and which are NULL, and then the values.
pub(super) fn write(arguments: &mut MySqlArguments, out: &mut Bound) -> Result<(), TooLong> {
    let mut copy = arguments.clone();
    let mut values = Vec::new();
    // Should it ever not be asked to encode itself, the canary at the start of a pool finds that all are alike.
    let _ = copy.add(Values(&mut values));
    let before = out.bytes().len();
    out.push(&[SHORT])?;
    let mut types = Types { out, next: Next::Text(HEAD, &Next::FirstType) };
    if write!(types, "{copy:?}").is_err() || !matches!(types.next, Next::Rest) {
        out.truncate(before);
        write!(out, "{copy:?}").map_err(|_| TooLong)?;
    }
    out.push(&[END_OF_TYPES])?;
    out.push(&values)
}

/// Whether one of the arguments that were written is a time of day, to which the server adds today's date where it wants a
/// date.
pub(super) fn have_time_of_day(written: &[u8]) -> bool {
    let types = written.split(|byte| *byte == END_OF_TYPES).next().unwrap_or_default();
    // What was not read may be anything.
    types.first() != Some(&SHORT) || types.windows(TIME.len()).any(|part| part == TIME)
}

/// What types in their short form begin with.
const SHORT: u8 = b'=';
/// A byte that is in no text.
const END_OF_TYPES: u8 = 0xff;
/// No other type is called like that at its end.
const TIME: &[u8] = b"Time(";

const HEAD: &str = "MySqlArguments { values: [], types: [";
const TYPE: &str = "MySqlTypeInfo { type: ";
const FLAGS: &str = ", flags: ColumnFlags(";
const COLLATION: &str = ", collation: Collation(";
const SIZE: &str = ", max_size: None }";

/// Follows the pieces in which `Debug` is written, and of each type writes what tells it from others, `LongLong(BINARY)63;`.
/// It fails at anything else than is expected.
struct Types<'b> {
    out: &'b mut Bound,
    next: Next,
}

/// What is expected next.
#[derive(Clone, Copy)]
enum Next {
    /// This text, and then that.
    Text(&'static str, &'static Next),
    FirstType,
    Name,
    /// Up to the closing bracket.
    Flags,
    Collation,
    TypeOrEnd,
    /// Which of them are NULL, and the end.
    Rest,
}

impl Types<'_> {
    fn push(&mut self, text: &str) -> fmt::Result {
        self.out.push(text.as_bytes()).map_err(|TooLong| fmt::Error)
    }
}

impl Write for Types<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.next = match self.next {
            Next::Text(text, then) => match text.strip_prefix(s).ok_or(fmt::Error)? {
                "" => *then,
                rest => Next::Text(rest, then),
            },
            Next::FirstType | Next::TypeOrEnd if s == "]" => Next::Rest,
            Next::FirstType => Next::Text(TYPE.strip_prefix(s).ok_or(fmt::Error)?, &Next::Name),
            Next::TypeOrEnd if s == ", " => Next::Text(TYPE, &Next::Name),
            Next::TypeOrEnd => return Err(fmt::Error),
            Next::Name => {
                self.push(s)?;
                self.push("(")?;
                Next::Text(FLAGS, &Next::Flags)
            }
            Next::Flags if s == ")" => {
                self.push(s)?;
                Next::Text(COLLATION, &Next::Collation)
            }
            Next::Collation if s == ")" => {
                self.push(";")?;
                Next::Text(SIZE, &Next::TypeOrEnd)
            }
            same @ (Next::Flags | Next::Collation | Next::Rest) => {
                self.push(s)?;
                same
            }
        };
        Ok(())
    }
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
        arguments.add(sqlx::types::chrono::NaiveDate::default()).unwrap();
        let written = written(&mut arguments);
        let text = String::from_utf8_lossy(&written);
        let (types, values) = text.split_once('\u{fffd}').unwrap();
        assert!(types.contains("|=LongLong(BINARY)63;VarString(0x0)"), "{types}");
        assert_eq!(types.matches(';').count(), 4);
        assert!(values.starts_with("\x07\0\0\0\0\0\0\0\x01x"), "{values:?}");
    }

    #[test]
    fn arguments_need_not_be_there() {
        assert!(written(&mut MySqlArguments::default()).contains(&SHORT));
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
            let mut bound = Bound::new(false, true, Some("Time("), []).unwrap();
            let start = bound.bytes().len();
            write(&mut arguments, &mut bound).unwrap();
            have_time_of_day(&bound.bytes()[start..])
        };
        assert!(with(&|arguments| arguments.add(sqlx::types::chrono::NaiveTime::MIN).unwrap()));
        assert!(!with(&|arguments| arguments.add(sqlx::types::chrono::NaiveDateTime::default()).unwrap()));
        assert!(!with(&|arguments| arguments.add(1.5).unwrap()));
        assert!(have_time_of_day(b"anything else"));
    }

    #[test]
    fn too_much_is_refused() {
        let mut bound = Bound::new(false, true, None, []).unwrap();
        let mut arguments = MySqlArguments::default();
        arguments.add("x".repeat(crate::key::MAX_BOUND)).unwrap();
        assert!(write(&mut arguments, &mut bound).is_err());
    }
}
