//! The few messages a MySQL server sends that replay needs (MySQL source documentation, "Client/Server Protocol").
//!
//! In: kept bytes. Out: messages.
//! It never passes a stored message on: each one is framed anew around values that were checked.
//!
//! A message begins with three bytes of length and a number within its conversation. sqlx does not look at the number,
//! which is always 0 here; should it begin to, the self-test of replay will tell.

use super::shape::Layout;
use crate::replay::Unfaithful;
use crate::replay::cells::Cells;

/// `HandshakeV10`, from a server that knows the protocol of version 4.1 (`0x200`), ends results with `OK` instead of `EOF`
/// (`0x0100_0000`), and asks for no password.
pub(super) const GREETING: &[u8] =
    b"\x22\0\0\0\x0a0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x2d\x02\0\0\x01\0\0\0\0\0\0\0\0\0\0\0";

/// `OK`: the session is open.
pub(super) const WELCOME: &[u8] = b"\x07\0\0\0\0\0\0\x02\0\0\0";

/// `COM_STMT_PREPARE_OK`: statement 1 has no parameters, and of its columns more is said when it is executed.
pub(super) const PREPARED: &[u8] = b"\x0c\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0";

/// `OK` after the last row: nothing was changed.
pub(super) const END: &[u8] = b"\x07\0\0\0\xfe\0\0\x02\0\0\0";

/// A message as large as this goes on in the next one.
const TOO_LARGE: usize = 0xff_ff_ff;

/// What comes before the contents of a message.
const HEADER: usize = 4;

/// Bits of a row's NULLs begin here; those before are unused.
const FIRST_NULL: usize = 2;

/// What a row takes in a message besides its values.
pub(super) const fn row_header(columns: usize) -> usize {
    HEADER + 1 + nulls(columns)
}

const fn nulls(columns: usize) -> usize {
    (columns + FIRST_NULL).div_ceil(8)
}

/// Appends a message; `body` writes what it holds.
pub(super) fn message(
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), Unfaithful>,
) -> Result<(), Unfaithful> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    body(out)?;
    let length = out.len() - start - HEADER;
    if length >= TOO_LARGE {
        return Err(Unfaithful::because("a row takes 16 MiB or more"));
    }
    out[start..start + 3].copy_from_slice(&(length as u32).to_le_bytes()[..3]);
    Ok(())
}

/// Appends the next row, as the binary protocol has it.
pub(super) fn row(out: &mut Vec<u8>, cells: &mut Cells<'_>, layouts: &[Layout]) -> Result<(), Unfaithful> {
    message(out, |out| {
        out.push(0);
        let start = out.len();
        out.resize(start + nulls(layouts.len()), 0);
        for (layout, bit) in layouts.iter().zip(FIRST_NULL..) {
            let value = cells.value()?;
            layout.check(value)?;
            match value {
                None => out[start + bit / 8] |= 1 << (bit % 8),
                Some(bytes) if *layout == Layout::Prefixed => text(out, bytes),
                Some(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(())
    })
}

/// Whether a row with `bytes` of values fits into a message.
pub(super) fn row_fits(columns: usize, bytes: usize) -> bool {
    // The length of a value takes fewer bytes in a message than in what is kept.
    1 + nulls(columns) + bytes < TOO_LARGE
}

/// Appends a text with its length.
pub(super) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a length. One of four bytes would not fit into a message anyway.
pub(super) fn length(out: &mut Vec<u8>, length: usize) {
    let bytes = (length as u32).to_le_bytes();
    match length {
        ..251 => out.push(bytes[0]),
        251..0x1_0000 => out.extend_from_slice(&[0xfc, bytes[0], bytes[1]]),
        _ => out.extend_from_slice(&[0xfd, bytes[0], bytes[1], bytes[2]]),
    }
}
