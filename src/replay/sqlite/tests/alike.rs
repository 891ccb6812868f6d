//! When two rows are alike: in columns, storage classes, bits, and whatever a decode into any type gives, error or value.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlx::types::{Json, Uuid, chrono, time};
use sqlx::{Decode, Sqlite, Type};

use super::*;

/// For a last comparison: the decodes may leave traces on the rows.
pub(super) fn assert_same(direct: &[SqliteRow], replayed: &[SqliteRow]) {
    assert_same_cells(direct, replayed);
    // The many decodes are slow in a debug build; the first rows have every kind of value.
    let few = direct.iter().zip(replayed).take(40).filter(|(row, _)| SqliteReplay::row_bytes(row) < 100 << 10);
    for (one, other) in few {
        let printed = |row: &SqliteRow| or_panics(|| format!("{row:?}"));
        assert_eq!(printed(one), printed(other));
        (0..one.len().min(60)).for_each(|i| same_decodes(one, other, i));
    }
}

pub(super) fn assert_same_cells(direct: &[SqliteRow], replayed: &[SqliteRow]) {
    assert_eq!(direct.len(), replayed.len());
    let mut seen = None;
    for (one, other) in direct.iter().zip(replayed) {
        // Lists of columns are shared between rows.
        let columns = (one.columns().as_ptr(), other.columns().as_ptr());
        if seen.replace(columns) != Some(columns) {
            assert_eq!(format!("{:?}", one.columns()), format!("{:?}", other.columns()));
        }
        same_cells(one, other);
    }
}

fn same_cells(one: &SqliteRow, other: &SqliteRow) {
    for i in 0..one.len() {
        let (value, again) = (one.try_get_raw(i).unwrap(), other.try_get_raw(i).unwrap());
        assert_eq!(value.is_null(), again.is_null());
        assert_eq!(value.type_info(), again.type_info(), "{:?}", one.column(i));
        match value.type_info().name() {
            _ if value.is_null() => {}
            "INTEGER" => assert_eq!(one.get_unchecked::<i64, _>(i), other.get_unchecked::<i64, _>(i)),
            "REAL" => {
                assert_eq!(one.get_unchecked::<f64, _>(i).to_bits(), other.get_unchecked::<f64, _>(i).to_bits());
            }
            _ => assert_eq!(one.get_unchecked::<Vec<u8>, _>(i), other.get_unchecked::<Vec<u8>, _>(i)),
        }
        let name = one.column(i).name();
        assert_eq!(one.try_column(name).unwrap().ordinal(), other.try_column(name).unwrap().ordinal());
    }
    let beyond = one.len();
    assert_eq!(told(one.try_get_raw(beyond).map(drop)), told(other.try_get_raw(beyond).map(drop)));
    assert_eq!(told(one.try_get::<i32, _>("no such")), told(other.try_get::<i32, _>("no such")));
}

fn told<T: Debug>(result: Result<T, sqlx::Error>) -> String {
    format!("{result:?}")
}

fn or_panics(read: impl FnOnce() -> String) -> Option<String> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn same_decode<T>(one: &SqliteRow, other: &SqliteRow, i: usize)
where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + Debug,
{
    let name = one.column(i).name();
    let decoded = |row: &SqliteRow| {
        (or_panics(|| told(row.try_get::<Option<T>, _>(i))), or_panics(|| told(row.try_get::<T, _>(name))))
    };
    assert_eq!(decoded(one), decoded(other));
}

macro_rules! same_decodes {
    ($one:ident, $other:ident, $i:ident: $($ty:ty),+ $(,)?) => {
        $(same_decode::<$ty>($one, $other, $i);)+
    };
}

/// The borrowing decodes come last: they are allowed to spoil a row for the ones after them, here and there alike.
fn same_decodes(one: &SqliteRow, other: &SqliteRow, i: usize) {
    same_decodes!(one, other, i:
        bool, i8, i16, i32, i64, u8, u16, u32, f32, f64, String, Vec<u8>, Box<str>, Uuid,
        chrono::NaiveDate, chrono::NaiveTime, chrono::NaiveDateTime, chrono::DateTime<chrono::Utc>,
        chrono::DateTime<chrono::FixedOffset>,
        time::Date, time::Time, time::PrimitiveDateTime, time::OffsetDateTime,
        serde_json::Value, Json<Vec<i32>>, i64, f64, String,
    );
    assert_eq!(told(one.try_get::<&str, _>(i)), told(other.try_get::<&str, _>(i)));
    assert_eq!(told(one.try_get::<&[u8], _>(i)), told(other.try_get::<&[u8], _>(i)));
    same_decodes!(one, other, i: i64, f64, String);
}
