//! When two rows are alike: in columns, bytes, types, and whatever a decode into any type gives, error or value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Sub;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlx::mysql::types::MySqlTime;
use sqlx::types::{BigDecimal, Decimal, Json, Text, Uuid, chrono, time, uuid};
use sqlx::{Decode, Type};

use super::*;

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(rename_all = "lowercase")]
pub(super) enum Mood {
    Sad,
    Happy,
}

#[derive(Debug, sqlx::Type)]
#[sqlx(transparent)]
struct Amount(i64);

#[derive(Debug, sqlx::Type)]
#[repr(i32)]
enum Grade {
    None = 0,
    Pass = 1,
}

/// `TimeDelta` and `Duration`, which sqlx decodes but does not pass on by name.
type ChronoDuration = <chrono::NaiveDateTime as Sub>::Output;
type TimeDuration = <time::Date as Sub>::Output;

pub(super) fn assert_same_cells(direct: &[MySqlRow], replayed: &[MySqlRow]) {
    assert_eq!(direct.len(), replayed.len());
    let mut seen = None;
    for (one, other) in direct.iter().zip(replayed) {
        // Lists of columns are shared between rows.
        let columns = (one.columns().as_ptr(), other.columns().as_ptr());
        if seen.replace(columns) != Some(columns) {
            same_columns(one, other);
        }
        for i in 0..one.len() {
            let (value, again) = (one.try_get_raw(i).unwrap(), other.try_get_raw(i).unwrap());
            assert_eq!(value.is_null(), again.is_null());
            assert_eq!(one.try_get_unchecked::<&[u8], _>(i).ok(), other.try_get_unchecked::<&[u8], _>(i).ok());
            assert_eq!(
                sqlx::Value::is_null(&ValueRef::to_owned(&value)),
                sqlx::Value::is_null(&ValueRef::to_owned(&again))
            );
        }
    }
}

/// The `Debug` of columns shows every field there is. Equality of types and the search by name are made of them.
fn same_columns(one: &MySqlRow, other: &MySqlRow) {
    assert_eq!(format!("{:?}", one.columns()), format!("{:?}", other.columns()));
    for (column, again) in one.columns().iter().zip(other.columns()) {
        assert!(column.type_info() == again.type_info());
        assert_eq!(column.type_info().name(), again.type_info().name());
        let name = column.name();
        assert_eq!(one.try_column(name).unwrap().ordinal(), other.try_column(name).unwrap().ordinal());
    }
    let beyond = one.len();
    assert_eq!(told(one.try_get_raw(beyond).map(drop)), told(other.try_get_raw(beyond).map(drop)));
    assert_eq!(told(one.try_get::<i32, _>("no such")), told(other.try_get::<i32, _>("no such")));
}

pub(super) fn assert_same(direct: &[MySqlRow], replayed: &[MySqlRow]) {
    assert_same_cells(direct, replayed);
    // The many decodes are slow in a debug build; the first rows have every kind of value.
    let few = direct.iter().zip(replayed).take(40).filter(|(row, _)| MySqlReplay::row_bytes(row) < 100 << 10);
    for (one, other) in few {
        let printed = |row: &MySqlRow| or_panics(|| format!("{row:?}"));
        assert_eq!(printed(one), printed(other));
        (0..one.len().min(100)).for_each(|i| same_decodes(one, other, i));
    }
}

fn told<T: Debug>(result: Result<T, sqlx::Error>) -> String {
    format!("{result:?}")
}

/// Some decodes of sqlx panic, unchecked ones of short values and ones of dates with zeros in them: then both must.
fn or_panics(read: impl FnOnce() -> String) -> Option<String> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn same_decode<T>(one: &MySqlRow, other: &MySqlRow, i: usize)
where
    T: for<'r> Decode<'r, MySql> + Type<MySql> + Debug,
{
    let name = one.column(i).name();
    let decoded = |row: &MySqlRow| {
        [
            or_panics(|| told(row.try_get::<Option<T>, _>(i))),
            or_panics(|| told(row.try_get::<T, _>(name))),
            or_panics(|| told(row.try_get_unchecked::<T, _>(i))),
            or_panics(|| told(row.try_get_unchecked::<Option<T>, _>(i))),
        ]
    };
    assert_eq!(decoded(one), decoded(other), "{:?} as {}", one.column(i), std::any::type_name::<T>());
}

macro_rules! same_decodes {
    ($one:ident, $other:ident, $i:ident: $($ty:ty),+ $(,)?) => {
        $(same_decode::<$ty>($one, $other, $i);)+
    };
}

fn same_decodes(one: &MySqlRow, other: &MySqlRow, i: usize) {
    same_decodes!(one, other, i:
        bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, String, Vec<u8>, Box<str>, Box<[u8]>,
        chrono::NaiveDate, chrono::NaiveTime, chrono::NaiveDateTime, chrono::DateTime<chrono::Utc>,
        chrono::DateTime<chrono::Local>,
        time::Date, time::Time, time::PrimitiveDateTime, time::OffsetDateTime,
        ChronoDuration, TimeDuration, MySqlTime, Decimal, BigDecimal, Uuid, uuid::fmt::Hyphenated, uuid::fmt::Simple,
        serde_json::Value, Json<Vec<i32>>, Text<i64>, IpAddr, Ipv4Addr, Ipv6Addr, Mood, Amount, Grade,
    );
}
