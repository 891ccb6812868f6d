//! Reads the arguments that a query was bound with.
//!
//! In: `PgArguments`, whose fields are private. Out: their types and values, as part of a key.
//! It never changes them, and never leaves out anything that the server would be sent.
//!
//! `Debug` shows everything, one byte of a value at a time, which is most of what a hit on a decoded value would cost. So
//! it is stopped where the types end. The values are then read as an argument sees them that is added: it is given the buffer
//! that the others were encoded to, and by failing to be encoded it is taken back. What else there is (places in the buffer
//! that are filled in later, from the names of types) exists only for types that are not built in, and for JSON: there
//! `Debug` is read to its end.

use std::fmt::{self, Write};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo};
use sqlx::{Arguments, Encode, Postgres, Type};

use crate::key::{Bound, TooLong};

pub(super) fn write(arguments: &mut PgArguments, out: &mut Bound) -> Result<(), TooLong> {
    let mut types = Types { out, ended: false };
    let written = write!(types, "{arguments:?}");
    match (written, types.ended) {
        (Err(_), false) => return Err(TooLong),
        (Err(_), true) if are_plain(out.arguments()) => {
            let mut seen = None;
            let _ = arguments.add(Values { out, seen: &mut seen });
            // The canary at the start of a pool sees to it that there is something to see.
            return seen.unwrap_or(Err(TooLong));
        }
        _ => {}
    }
    out.clear();
    write!(out, "{arguments:?}").map_err(|_| TooLong)
}

const BEGIN: &str = "PgArguments { types: [";
const END: &str = "], buffer: ";

/// Takes the text as far as the types.
struct Types<'b> {
    out: &'b mut Bound,
    ended: bool,
}

impl Write for Types<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.out.write_str(s)?;
        self.ended = s == ": " && self.out.arguments().ends_with(END);
        if self.ended { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Whether these are types of which the server is sent a value's bytes as they stand in the buffer.
fn are_plain(types: &str) -> bool {
    let Some(types) = types.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) else { return false };
    types.is_empty()
        || types.split(", ").all(|one| {
            let name = one.strip_prefix("PgTypeInfo(").and_then(|rest| rest.strip_suffix(')'));
            name.is_some_and(|name| PLAIN.contains(&name.strip_suffix("Array").unwrap_or(name)))
        })
}

const PLAIN: &[&str] = &[
    "Int8",
    "Text",
    "Int4",
    "Uuid",
    "Bool",
    "Timestamptz",
    "Varchar",
    "Float8",
    "Timestamp",
    "Date",
    "Numeric",
    "Int2",
    "Float4",
    "Bytea",
    "Time",
    "Timetz",
    "Interval",
    "Inet",
    "Cidr",
    "Macaddr",
    "Bpchar",
    "Name",
    "Char",
    "Oid",
    "Bit",
    "Varbit",
    "Money",
];

/// An argument that reads those before it, and fails.
struct Values<'b> {
    out: &'b mut Bound,
    seen: &'b mut Option<Result<(), TooLong>>,
}

impl Type<Postgres> for Values<'_> {
    fn type_info() -> PgTypeInfo {
        <bool as Type<Postgres>>::type_info()
    }
}

impl Encode<'_, Postgres> for Values<'_> {
    fn encode(self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // Behind the values is the room for the length of this one.
        let values = &buffer[..buffer.len().saturating_sub(size_of::<i32>())];
        *self.seen = Some(self.out.push(values));
        Err(Box::new(Seen))
    }

    fn encode_by_ref(&self, _buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Err(Box::new(Seen))
    }
}

#[derive(Debug, thiserror::Error)]
#[error("this argument is not to be sent")]
struct Seen;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(arguments: &mut PgArguments) -> Vec<u8> {
        let before = format!("{arguments:?}");
        let mut bound = Bound::new(false, true, None, []).unwrap();
        write(arguments, &mut bound).unwrap();
        assert_eq!(format!("{arguments:?}"), before, "arguments must stay as they are");
        bound.bytes().to_vec()
    }

    #[test]
    fn plain_arguments_are_written_as_they_are_sent() {
        let mut arguments = PgArguments::default();
        arguments.add(7_i32).unwrap();
        arguments.add(None::<i64>).unwrap();
        arguments.add("ab").unwrap();
        let written = written(&mut arguments);
        let values = b"\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\0\0\x02ab";
        assert!(written.ends_with(&[END.as_bytes(), values].concat()));
    }

    #[test]
    fn what_is_filled_in_later_is_written_too() {
        struct Named(&'static str);
        impl Type<Postgres> for Named {
            fn type_info() -> PgTypeInfo {
                PgTypeInfo::with_name("buffer")
            }
        }
        impl Encode<'_, Postgres> for Named {
            fn produces(&self) -> Option<PgTypeInfo> {
                Some(PgTypeInfo::with_name(self.0))
            }
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                buffer.extend_from_slice(b"x");
                Ok(IsNull::No)
            }
        }
        let of = |name| {
            let mut arguments = PgArguments::default();
            arguments.add(1_i32).unwrap();
            arguments.add(Named(name)).unwrap();
            written(&mut arguments)
        };
        let names = ["a", "b", "buffer", "Int4)", "x], buffer: ", "x], buffer: PgTypeInfo(Int4)"];
        let all: std::collections::HashSet<_> = names.into_iter().map(of).collect();
        assert_eq!(all.len(), names.len());
    }

    #[test]
    fn too_much_is_refused_in_either_way() {
        let mut bound = Bound::new(false, true, None, []).unwrap();
        let mut arguments = PgArguments::default();
        arguments.add("x".repeat(crate::key::MAX_BOUND)).unwrap();
        assert!(write(&mut arguments, &mut bound).is_err());
        let mut arguments = PgArguments::default();
        arguments.add(sqlx::types::Json("x".repeat(crate::key::MAX_BOUND))).unwrap();
        assert!(write(&mut arguments, &mut bound).is_err());
    }
}
