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

/// Writes arguments to a key.
pub(super) fn write(arguments: &mut PgArguments, out: &mut Bound) -> Result<(), TooLong> {
    let before = out.bytes().len();
    out.push(b"p")?;
    let mut types = PlainTypes { out, next: Piece::List };
    // Always an error, since it is stopped.
    let _ = write!(types, "{arguments:?}");
    if types.next == Piece::Done {
        out.push(&[END_OF_TYPES])?;
        let mut seen = None;
        let _ = arguments.add(Values { out, seen: &mut seen });
        // Should it ever not be asked to encode itself, the canary at the start of a pool finds that all are alike.
        return seen.unwrap_or(Ok(()));
    }
    out.truncate(before);
    write!(out, "d{arguments:?}").map_err(|_| TooLong)
}

/// What `Debug` shows of arguments, up to where the values begin.
pub(super) fn types(arguments: &PgArguments) -> String {
    let mut types = String::new();
    let _ = write!(UpToValues(&mut types), "{arguments:?}");
    types
}

struct UpToValues<'t>(&'t mut String);

impl Write for UpToValues<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.push_str(s);
        // The name of a type that looks like it ends the text early: then it cannot be read, and nothing is kept.
        if s == ": " && self.0.ends_with("], buffer: ") { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Follows the pieces in which `Debug` is written (`PgTypeInfo`, `(`, `Int8`, `)`, ..), and writes a byte for each type. It
/// stops where the list ends, or at a type that is not plain.
struct PlainTypes<'b> {
    out: &'b mut Bound,
    next: Piece,
}

/// What is expected next.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    List,
    TypeOrEnd,
    Open,
    Name,
    Close,
    CommaOrEnd,
    Done,
}

impl Write for PlainTypes<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.next = match self.next {
            Piece::List if s == "[" => Piece::TypeOrEnd,
            Piece::List => Piece::List,
            Piece::TypeOrEnd | Piece::CommaOrEnd if s == "]" => Piece::Done,
            Piece::TypeOrEnd => Piece::Open,
            Piece::Open if s == "(" => Piece::Name,
            Piece::Name => {
                self.out.push(&[plain(s).ok_or(fmt::Error)?]).map_err(|TooLong| fmt::Error)?;
                Piece::Close
            }
            Piece::Close if s == ")" => Piece::CommaOrEnd,
            Piece::CommaOrEnd if s == ", " => Piece::TypeOrEnd,
            _ => return Err(fmt::Error),
        };
        if self.next == Piece::Done { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The byte for a type of which the server is sent a value's bytes as they stand in the buffer, or for an array of it.
fn plain(name: &str) -> Option<u8> {
    let (name, array) = name.strip_suffix("Array").map_or((name, 0), |name| (name, ARRAY));
    let at = PLAIN.iter().position(|plain| *plain == name)?;
    Some(u8::try_from(at).ok()? | array)
}

const ARRAY: u8 = 0x40;
const END_OF_TYPES: u8 = 0xff;

/// The order is of no importance but for speed.
///
/// Not among them are bytes and bits, since they may hold anything: a type of the application may be encoded as a record
/// under the name of one of them, and so leave places to be filled in.
const PLAIN: [&str; 24] = [
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

    /// A type that is known by a name of its own.
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

    #[test]
    fn plain_arguments_are_written_as_they_are_sent() {
        let mut arguments = PgArguments::default();
        arguments.add(7_i32).unwrap();
        arguments.add(None::<i64>).unwrap();
        arguments.add("ab").unwrap();
        let written = written(&mut arguments);
        let values = b"\0\0\0\x04\0\0\0\x07\xff\xff\xff\xff\0\0\0\x02ab";
        assert_eq!(written, [b"qa|p\x02\x00\x01\xff", &values[..]].concat(), "Rust writes Debug in other pieces now");
    }

    #[test]
    fn what_is_filled_in_later_is_written_too() {
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
    fn bytes_are_written_with_what_is_filled_in_later() {
        struct Record(Named);
        impl Type<Postgres> for Record {
            fn type_info() -> PgTypeInfo {
                <[u8] as Type<Postgres>>::type_info()
            }
        }
        impl Encode<'_, Postgres> for Record {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let mut record = sqlx::postgres::types::PgRecordEncoder::new(buffer);
                record.encode(Named(self.0.0))?;
                record.finish();
                Ok(IsNull::No)
            }
        }
        let [a, b] = ["a", "b"].map(|name| {
            let mut arguments = PgArguments::default();
            arguments.add(Record(Named(name))).unwrap();
            written(&mut arguments)
        });
        assert_ne!(a, b);
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
