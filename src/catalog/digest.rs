//! One number for all that was seen of a schema, to tell whether it is still the same.
//!
//! In: rows, in whatever order. Out: a digest, equal only where the same rows were seen, as far as 128 bits can tell.

/// The sum of the hashes of all rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// Adds a row of columns.
    pub(super) fn add<'c>(&mut self, columns: impl IntoIterator<Item = &'c str>) {
        let mut hasher = blake3::Hasher::new();
        for column in columns {
            hasher.update(&(column.len() as u64).to_le_bytes());
            hasher.update(column.as_bytes());
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        self.0 = self.0.wrapping_add(u128::from_le_bytes(half));
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    #[test]
    fn rows_count_and_their_order_does_not() {
        let of = |rows: &[&[&str]]| {
            let mut digest = Digest::default();
            rows.iter().for_each(|row| digest.add(row.iter().copied()));
            digest
        };
        assert_eq!(of(&[&["a", "b"], &["c"]]), of(&[&["c"], &["a", "b"]]));
        for other in [&[&["ab", ""][..], &["c"]][..], &[&["a", "b"]], &[&["a", "b"], &["c"], &["c"]], &[]] {
            assert_ne!(of(&[&["a", "b"], &["c"]]), of(other));
        }
    }
}
