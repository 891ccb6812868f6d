//! The few messages a PostgreSQL server sends that replay needs (PostgreSQL documentation, 55.7 Message Formats).
//!
//! In: kept bytes. Out: messages.
//! It never passes a stored message on: each one is framed anew around values that were checked.

use crate::replay::Unfaithful;
use crate::replay::cells::Cells;

/// `ReadyForQuery` outside of a transaction.
pub(super) const READY: &[u8] = b"Z\0\0\0\x05I";

/// `ParseComplete`, then `ReadyForQuery` outside of a transaction.
pub(super) const PREPARED: &[u8] = b"1\0\0\0\x04Z\0\0\0\x05I";

/// `AuthenticationOk`, then `ReadyForQuery`: all that a client without a password waits for.
pub(super) const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// What a `DataRow` takes besides its values: tag, length, number of columns.
pub(super) const ROW_HEADER: usize = 7;

/// Room for `CommandComplete` and `ReadyForQuery`.
pub(super) const COMPLETION: usize = 48;

/// Appends a message; `body` writes what follows the length.
pub(super) fn message(
    out: &mut Vec<u8>,
    tag: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfaithful>,
) -> Result<(), Unfaithful> {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out)?;
    let length = i32::try_from(out.len() - start).map_err(|_| Unfaithful::because("a row is larger than 2 GiB"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Appends the next row as a `DataRow`.
pub(super) fn row(out: &mut Vec<u8>, cells: &mut Cells<'_>, columns: u16) -> Result<(), Unfaithful> {
    message(out, b'D', |out| {
        out.extend_from_slice(&columns.to_be_bytes());
        (0..columns).try_for_each(|_| crate::replay::cells::push(out, cells.value()?))
    })
}

/// Appends what follows the last row: `CommandComplete` of a SELECT.
pub(super) fn completion(out: &mut Vec<u8>, rows: usize) -> Result<(), Unfaithful> {
    message(out, b'C', |out| {
        out.extend_from_slice(format!("SELECT {rows}\0").as_bytes());
        Ok(())
    })
}
