//! When two rows are alike: in columns, bytes, types, and whatever a decode into any type gives, error or value.

use std::panic::{AssertUnwindSafe, catch_unwind};

use sqlx::postgres::types::{
    Oid, PgBox, PgCiText, PgCircle, PgCube, PgHstore, PgInterval, PgLQuery, PgLSeg, PgLTree, PgLine, PgMoney, PgPath,
    PgPoint, PgPolygon, PgRange, PgTimeTz,
};
use sqlx::types::{BigDecimal, BitVec, Decimal, Uuid, chrono, ipnet, ipnetwork, mac_address, time};
use sqlx::{Decode, Postgres, Type};

use super::*;

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
pub(super) enum Mood {
    Sad,
    Happy,
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "place")]
pub(super) struct Place {
    pub name: Option<String>,
    pub at: Option<PgPoint>,
    pub mood: Option<Mood>,
}

pub(super) fn assert_same_cells(direct: &[PgRow], replayed: &[PgRow]) {
    assert_eq!(direct.len(), replayed.len());
    for (one, other) in direct.iter().zip(replayed) {
        same_cells(one, other);
    }
}

pub(super) fn assert_same(direct: &[PgRow], replayed: &[PgRow]) {
    assert_same_cells(direct, replayed);
    // The many decodes are slow in a debug build; the first rows have every kind of value.
    let few = direct.iter().zip(replayed).take(40).filter(|(row, _)| PostgresReplay::row_bytes(row) < 100 << 10);
    for (one, other) in few {
        let printed = |row: &PgRow| or_panics(|| format!("{row:?}"));
        assert_eq!(printed(one), printed(other));
        (0..one.len().min(60)).for_each(|i| same_decodes(one, other, i));
    }
}

fn same_cells(one: &PgRow, other: &PgRow) {
    if !std::ptr::eq(one.columns(), other.columns()) {
        assert_eq!(format!("{:?}", one.columns()), format!("{:?}", other.columns()));
    }
    for i in 0..one.len() {
        let (value, again) = (one.try_get_raw(i).unwrap(), other.try_get_raw(i).unwrap());
        assert_eq!(value.is_null(), again.is_null());
        assert_eq!(value.format(), again.format());
        assert!(value.type_info().type_eq(&again.type_info()));
        assert_eq!(value.as_bytes().ok(), again.as_bytes().ok());
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

/// Some decodes of sqlx panic, on dates beyond those of the crate `time`: then both must.
fn or_panics(read: impl FnOnce() -> String) -> Option<String> {
    catch_unwind(AssertUnwindSafe(read)).ok()
}

fn same_decode<T>(one: &PgRow, other: &PgRow, i: usize)
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Debug,
{
    let name = one.column(i).name();
    let decoded = |row: &PgRow| {
        (or_panics(|| told(row.try_get::<Option<T>, _>(i))), or_panics(|| told(row.try_get::<T, _>(name))))
    };
    assert_eq!(decoded(one), decoded(other));
}

macro_rules! same_decodes {
    ($one:ident, $other:ident, $i:ident: $($ty:ty),+ $(,)?) => {
        $(same_decode::<$ty>($one, $other, $i);)+
    };
}

fn same_decodes(one: &PgRow, other: &PgRow, i: usize) {
    same_decodes!(one, other, i:
        (), bool, i8, i16, i32, i64, f32, f64, String, Vec<u8>, Box<str>,
        Vec<bool>, Vec<i16>, Vec<i32>, Vec<Option<i64>>, Vec<f64>, Vec<Option<String>>, Vec<Vec<u8>>, Vec<Uuid>,
        Oid, PgInterval, PgMoney, PgTimeTz, PgCiText, PgHstore, PgLTree, PgLQuery, PgCube,
        PgTimeTz<chrono::NaiveTime, chrono::FixedOffset>,
        PgPoint, PgLine, PgLSeg, PgBox, PgPath, PgPolygon, PgCircle, Vec<PgPoint>,
        PgRange<i32>, PgRange<i64>, PgRange<Decimal>, PgRange<chrono::NaiveDate>, PgRange<chrono::DateTime<chrono::Utc>>,
        Vec<PgRange<i32>>, Uuid, Decimal, BigDecimal, Vec<BigDecimal>,
        chrono::NaiveDate, chrono::NaiveTime, chrono::NaiveDateTime, chrono::DateTime<chrono::Utc>,
        time::Date, time::Time, time::PrimitiveDateTime, time::OffsetDateTime,
        serde_json::Value, sqlx::types::Json<Vec<i32>>, BitVec, ipnetwork::IpNetwork, ipnet::IpNet,
        mac_address::MacAddress, Mood, Vec<Mood>, Place, Vec<Place>, (Option<i32>, Option<String>),
    );
}
