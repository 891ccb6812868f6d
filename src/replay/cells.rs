//! The bytes a result is kept as: row by row, for each value a big-endian `i32` length (-1 for NULL) and that many bytes.
//!
//! In: values. Out: bytes, and from bytes the values again.
//! It never trusts bytes it reads: counts are held against lengths before anything is allocated for them.

use super::Unfaithful;

/// What a value takes besides its own bytes.
pub(super) const LENGTH: usize = 4;

/// Appends one value.
pub(super) fn push(out: &mut Vec<u8>, value: Option<&[u8]>) -> Result<(), Unfaithful> {
    match value {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(bytes) => {
            let length = i32::try_from(bytes.len()).map_err(|_| Unfaithful::because("a value is larger than 2 GiB"))?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// Reads values back, one after the other.
#[derive(Clone)]
pub(super) struct Cells<'a> {
    rest: &'a [u8],
}

impl<'a> Cells<'a> {
    /// Reads `rows` rows of `columns` values. Refuses counts that these bytes cannot hold.
    pub fn new(bytes: &'a [u8], columns: usize, rows: usize) -> Result<Self, Unfaithful> {
        // Without columns any number of rows would fit into no bytes at all.
        let values = if columns == 0 && rows > 0 { None } else { rows.checked_mul(columns) };
        match values.and_then(|values| values.checked_mul(LENGTH)) {
            Some(least) if least <= bytes.len() => Ok(Self { rest: bytes }),
            _ => Err(corrupt("they cannot hold as many rows")),
        }
    }

    /// The next value; `None` for NULL.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>, Unfaithful> {
        let (length, rest) = self.rest.split_first_chunk().ok_or_else(|| corrupt("they end within a length"))?;
        let length = i32::from_be_bytes(*length);
        if length == -1 {
            self.rest = rest;
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| corrupt("a length is negative"))?;
        let (value, rest) = rest.split_at_checked(length).ok_or_else(|| corrupt("they end within a value"))?;
        self.rest = rest;
        Ok(Some(value))
    }

    /// Nothing may be left after the last value.
    pub fn end(&self) -> Result<(), Unfaithful> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt("more follows after the last row")) }
    }

    /// Reads everything once, before any of it is used.
    #[cfg(any(test, all(unix, any(feature = "mysql", feature = "postgres"))))]
    pub fn check(bytes: &'a [u8], columns: usize, rows: usize) -> Result<(), Unfaithful> {
        let mut cells = Self::new(bytes, columns, rows)?;
        for _ in 0..rows * columns {
            cells.value()?;
        }
        cells.end()
    }
}

fn corrupt(why: &str) -> Unfaithful {
    Unfaithful::because(format!("the stored bytes are damaged: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut bytes = Vec::new();
        for value in [None, Some(&b""[..]), Some(b"\0\xff"), None] {
            push(&mut bytes, value).unwrap();
        }
        let mut cells = Cells::new(&bytes, 2, 2).unwrap();
        assert_eq!(cells.value().unwrap(), None);
        assert_eq!(cells.value().unwrap(), Some(&b""[..]));
        assert_eq!(cells.value().unwrap(), Some(&b"\0\xff"[..]));
        assert_eq!(cells.value().unwrap(), None);
        cells.end().unwrap();
        assert!(cells.value().is_err());
    }

    #[test]
    fn damage_is_refused() {
        let mut bytes = Vec::new();
        push(&mut bytes, Some(b"abc")).unwrap();
        push(&mut bytes, None).unwrap();
        Cells::check(&bytes, 1, 2).unwrap();
        Cells::check(&bytes, 2, 1).unwrap();
        for end in 0..bytes.len() {
            assert!(Cells::check(&bytes[..end], 2, 1).is_err(), "cut at {end}");
        }
        for (columns, rows) in [(1, 1), (0, 1), (1, 0), (3, 1), (usize::MAX, 2), (2, usize::MAX), (0, usize::MAX)] {
            assert!(Cells::check(&bytes, columns, rows).is_err(), "{rows} rows of {columns}");
        }
        bytes[0] = 0x80;
        assert!(Cells::check(&bytes, 2, 1).is_err());
        Cells::check(&[], 0, 0).unwrap();
        Cells::check(&[], 5, 0).unwrap();
    }
}
