//! Replays results of its own making and compares, before any cached result is trusted to the links.
//!
//! In: the links. Out: nothing, or why replay must stay off.
//! It never needs a database.

use std::sync::Arc;

use sqlx::postgres::types::Oid;
use sqlx::{Column, Executor, Row, Statement};

use super::{Prepared, Shape, encode, tag, wire};
use crate::entry::Stored;
use crate::replay::links::Links;
use crate::replay::{Replayed, Unfaithful, cells};

/// The types every PostgreSQL has from the start: bool to jsonb, with arrays, ranges and geometry among them.
const TYPES: &[u32] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 600, 601, 602, 603, 604, 628, 650, 700, 701, 705, 718, 774, 790, 829, 869,
    1000, 1001, 1005, 1007, 1009, 1016, 1021, 1022, 1042, 1043, 1082, 1083, 1114, 1184, 1185, 1186, 1231, 1266, 1560,
    1562, 1700, 2249, 2278, 2950, 2951, 3802, 3807, 3904, 3906, 3908, 3910, 3912, 3926,
];

pub(super) async fn run(links: &Links<Prepared>) -> Result<(), Unfaithful> {
    let wide = shape(links, TYPES, 0).await?;
    let narrow = shape(links, &[20, 25], 1).await?;
    let value = |length: usize| vec![0xa5; length];

    // Each type with a NULL, an empty value, one of each small length.
    let cells = (0..3 * TYPES.len()).map(|i| (i % 7 != 0).then(|| value(i % 40))).collect::<Vec<_>>();
    expect(links, &wide, &cells, 3).await?;
    expect(links, &wide, &[], 0).await?;
    for length in [0, 1, 65_000, 66_000, 300_000] {
        expect(links, &narrow, &[Some(7_i64.to_be_bytes().to_vec()), Some(value(length)), None, None], 2).await?;
    }
    for rows in [1, 100, 4_000] {
        let cells = (0..rows).flat_map(|i: i64| [Some(i.to_be_bytes().to_vec()), (i % 3 > 0).then(|| value(5))]);
        expect(links, &narrow, &cells.collect::<Vec<_>>(), rows as usize).await?;
    }
    // Once more after the large ones, on links that have seen them.
    expect(links, &narrow, &[Some(8_i64.to_be_bytes().to_vec()), Some(b"text".to_vec())], 1).await?;
    let last = one(links, &stored(&narrow, &[Some(8_i64.to_be_bytes().to_vec()), Some(b"text".to_vec())], 1)?).await?;
    match (last.rows[0].try_get("c20"), last.rows[0].try_get("c25")) {
        (Ok(8_i64), Ok("text")) => Ok(()),
        _ => Err(failed("values are not decoded as they were")),
    }
}

/// A statement of columns of these types, one of each.
async fn shape(links: &Links<Prepared>, types: &[u32], number: u64) -> Result<Arc<Shape>, Unfaithful> {
    let mut description = Vec::new();
    wire::message(&mut description, b'1', |_| Ok(()))?;
    wire::message(&mut description, b't', |out| {
        out.extend_from_slice(&0_u16.to_be_bytes());
        Ok(())
    })?;
    wire::message(&mut description, b'T', |out| {
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        for oid in types {
            out.extend_from_slice(format!("c{oid}\0").as_bytes());
            // No table, no position in it.
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&oid.to_be_bytes());
            // Unknown size, no modifier, text until a format is asked for.
            out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]);
        }
        Ok(())
    })?;
    // Ready for the next query.
    description.extend_from_slice(&wire::PREPARED[5..]);

    let statement = links
        .with_new_link(async move |mut link| {
            link.answer(&description)?
                .prepare(tag(number))
                .await
                .map_err(|error| Unfaithful::because(format!("the self-test of replay cannot prepare: {error}")))
        })
        .await?;
    let same = statement
        .columns()
        .iter()
        .zip(types)
        .all(|(column, oid)| column.name() == format!("c{oid}") && column.type_info().oid() == Some(Oid(*oid)));
    if same && statement.columns().len() == types.len() {
        Ok(Arc::new(Shape::new(statement)))
    } else {
        Err(failed("columns do not come back as they were"))
    }
}

fn stored(shape: &Arc<Shape>, values: &[Option<Vec<u8>>], rows: usize) -> Result<Stored<Shape>, Unfaithful> {
    let mut bytes = Vec::new();
    for value in values {
        cells::push(&mut bytes, value.as_deref())?;
    }
    Ok(Stored { shape: Arc::clone(shape), bytes: bytes.into(), rows })
}

/// Replays the values and makes bytes of the rows again, in the way of a result from a database.
async fn expect(
    links: &Links<Prepared>,
    shape: &Arc<Shape>,
    values: &[Option<Vec<u8>>],
    rows: usize,
) -> Result<(), Unfaithful> {
    let stored = stored(shape, values, rows)?;
    let Replayed { rows, result } = one(links, &stored).await?;
    if rows.len() != stored.rows || result.rows_affected() != stored.rows as u64 {
        return Err(failed("rows are lost"));
    }
    if encode(&rows, &shape.statement)? != *stored.bytes {
        return Err(failed("values do not come back as they were"));
    }
    for copy in links.mint(&stored, 3).await? {
        if encode(&copy.rows, &shape.statement)? != *stored.bytes || copy.result.rows_affected() != stored.rows as u64 {
            return Err(failed("copies from one reply differ"));
        }
    }
    Ok(())
}

async fn one(links: &Links<Prepared>, stored: &Stored<Shape>) -> Result<Replayed<sqlx::Postgres>, Unfaithful> {
    links.mint(stored, 1).await?.pop().ok_or_else(|| failed("rows are lost"))
}

fn failed(what: &str) -> Unfaithful {
    Unfaithful::because(format!("the self-test of replay found that {what}"))
}
