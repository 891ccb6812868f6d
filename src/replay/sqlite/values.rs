//! Values of SQLite: a byte for the storage class, then the number in eight bytes, or the text or blob itself.
//!
//! In: a value of a row, or kept bytes. Out: kept bytes, or a value to bind.
//! It never leaves a trace on the row: a borrowing decode would make later ones of the same value fail.

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Decode, Row, Sqlite, Type, TypeInfo, ValueRef};

use crate::replay::{Unfaithful, cells};

const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// About how many bytes [`encode`] appends for a value, besides its length.
pub(super) fn size(row: &SqliteRow, i: usize) -> usize {
    match class(row, i) {
        Ok(Some(INTEGER | REAL)) => 9,
        Ok(Some(_)) => 1 + row.try_get_unchecked::<Vec<u8>, _>(i).map_or(0, |bytes| bytes.len()),
        _ => 0,
    }
}

/// Appends a value of a row.
pub(super) fn encode(row: &SqliteRow, i: usize, out: &mut Vec<u8>) -> Result<(), Unfaithful> {
    let Some(class) = class(row, i)? else { return cells::push(out, None) };
    match class {
        INTEGER => number(class, read::<i64>(row, i)?.to_be_bytes(), out),
        REAL => number(class, read::<f64>(row, i)?.to_bits().to_be_bytes(), out),
        TEXT => {
            let text: String = row
                .try_get_unchecked(i)
                .map_err(|_| Unfaithful::because("a text is not UTF-8, and could not be bound again"))?;
            bytes(class, text.as_bytes(), out)
        }
        _ => bytes(class, &read::<Vec<u8>>(row, i)?, out),
    }
}

/// The storage class of a value, `None` for NULL.
fn class(row: &SqliteRow, i: usize) -> Result<Option<u8>, Unfaithful> {
    let value = row.try_get_raw(i).map_err(|_| Unfaithful::because("a row lacks a column"))?;
    if value.is_null() {
        return Ok(None);
    }
    // The type info of a value that is not NULL is its storage class, whatever its column declares.
    match value.type_info().name() {
        "INTEGER" => Ok(Some(INTEGER)),
        "REAL" => Ok(Some(REAL)),
        "TEXT" => Ok(Some(TEXT)),
        "BLOB" => Ok(Some(BLOB)),
        _ => Err(Unfaithful::because("a value has an unknown storage class")),
    }
}

fn read<T>(row: &SqliteRow, i: usize) -> Result<T, Unfaithful>
where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
{
    row.try_get_unchecked(i).map_err(|_| Unfaithful::because("a value cannot be read"))
}

fn number(class: u8, number: [u8; 8], out: &mut Vec<u8>) -> Result<(), Unfaithful> {
    bytes(class, &number, out)
}

fn bytes(class: u8, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unfaithful> {
    let length = i32::try_from(bytes.len() + 1).map_err(|_| Unfaithful::because("a value is larger than 2 GiB"))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.push(class);
    out.extend_from_slice(bytes);
    Ok(())
}

/// Appends a kept value to the arguments of a statement.
pub(super) fn bind(cell: Option<&[u8]>, arguments: &mut SqliteArguments) -> Result<(), Unfaithful> {
    let Some(cell) = cell else { return add(arguments, None::<i64>) };
    let damaged = || Unfaithful::because("the stored bytes are damaged: a value is not of its storage class");
    let (&class, bytes) = cell.split_first().ok_or_else(damaged)?;
    let number = || <[u8; 8]>::try_from(bytes).map_err(|_| damaged());
    match class {
        INTEGER => add(arguments, i64::from_be_bytes(number()?)),
        REAL => {
            let real = f64::from_bits(u64::from_be_bytes(number()?));
            // Bound, it would become NULL; SQLite has no such value.
            if real.is_nan() { Err(damaged()) } else { add(arguments, real) }
        }
        TEXT => add(arguments, String::from_utf8(bytes.to_vec()).map_err(|_| damaged())?),
        BLOB => add(arguments, bytes.to_vec()),
        _ => Err(damaged()),
    }
}

fn add<'t, T>(arguments: &mut SqliteArguments, value: T) -> Result<(), Unfaithful>
where
    T: sqlx::Encode<'t, Sqlite> + Type<Sqlite>,
{
    Arguments::add(arguments, value).map_err(|_| Unfaithful::because("a value cannot be bound"))
}
