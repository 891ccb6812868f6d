//! Replays results of its own making and compares, before any cached result is trusted to the links.
//!
//! In: the links. Out: nothing, or why replay must stay off.
//! It never needs a database.

use std::sync::Arc;

use sqlx::Row;

use super::shape::{Column, FLAGS, Kind, Layout, TYPES};
use super::{Server, Shape, encode};
use crate::entry::Stored;
use crate::replay::links::Links;
use crate::replay::{Replayed, Unfaithful, cells};

/// Bytes, the text most servers have, and one with a number of two bytes.
const COLLATIONS: [u16; 3] = [63, 45, 2303];

pub(super) async fn run(links: &Links<Server>) -> Result<(), Unfaithful> {
    let wide = Arc::new(Shape::new(&every_type())?);
    let narrow = Arc::new(Shape::new(&[column("id", 8, 0x8021), column("name", 253, 0)])?);
    let columns = wide.columns();

    // Each type with a NULL, as small as it can be, and larger.
    let cells = (0..3 * columns).map(|i| value_for(wide.layouts[i % columns], i / columns, i % 7 == 0));
    expect(links, &wide, &cells.collect::<Vec<_>>(), 3).await?;
    let id = |id: i64| Some(id.to_le_bytes().to_vec());
    for length in [0, 250, 251, 65_000, 66_000, 300_000] {
        expect(links, &narrow, &[id(1), Some(vec![0xa5; length]), None, None], 2).await?;
    }
    for rows in [1, 100, 4_000] {
        let cells = (0..rows).flat_map(|i| [id(i), (i % 3 > 0).then(|| vec![b'x'; 5])]);
        expect(links, &narrow, &cells.collect::<Vec<_>>(), rows as usize).await?;
    }
    // Once more after the large ones, on links that have seen them.
    let last = [id(8), Some(b"text".to_vec())];
    expect(links, &narrow, &last, 1).await?;
    let last = one(links, &stored(&narrow, &last, 1)?).await?;
    match (last.rows[0].try_get("id"), last.rows[0].try_get("name")) {
        (Ok(8_u64), Ok("text")) => Ok(()),
        _ => Err(failed("values are not decoded as they were")),
    }
}

fn column(name: &str, code: u8, flags: u16) -> Column<'_> {
    let layout = TYPES.iter().find(|(_, known, _)| *known == code).map_or(Layout::Null, |(_, _, layout)| *layout);
    Column {
        name,
        table: "",
        original: name,
        kind: Kind { code, layout, flags, collation: COLLATIONS[1], max_size: 20 },
    }
}

/// Each type with each collation, and each flag among them, alone and with others; names that repeat, and one without.
fn every_type() -> Vec<Column<'static>> {
    const NAMES: [&str; 5] = ["name", "", "two words", "na\u{ef}ve `\"'\\", "name"];
    let mut columns = Vec::new();
    for (_, code, layout) in TYPES {
        for collation in COLLATIONS {
            let at = columns.len();
            let flag = FLAGS[at % FLAGS.len()].1;
            let flags = [0, flag, !flag & !0x4000][at % 3];
            let name = NAMES[at % NAMES.len()];
            let (table, original) = [("", name), ("shop.orders", "original"), ("t", "")][at / 3 % 3];
            // sqlx takes the one name where the other is empty.
            let name = if name.is_empty() { original } else { name };
            let kind = Kind { code: *code, layout: *layout, flags, collation, max_size: at as u32 * 0x0101_0101 };
            columns.push(Column { name, table, original, kind });
        }
    }
    columns
}

fn value_for(layout: Layout, row: usize, is_null: bool) -> Option<Vec<u8>> {
    let temporal = |rest: u8| [vec![rest], vec![7; rest.into()]].concat();
    match layout {
        _ if is_null => None,
        Layout::Fixed(length) => Some(vec![row as u8 + 1; length.into()]),
        Layout::Temporal => Some(temporal([0, 4, 12][row % 3])),
        Layout::Prefixed => Some(vec![b'0' + row as u8; [0, 3, 300][row % 3]]),
        Layout::Null => None,
    }
}

fn stored(shape: &Arc<Shape>, values: &[Option<Vec<u8>>], rows: usize) -> Result<Stored<Shape>, Unfaithful> {
    let mut bytes = Vec::new();
    for value in values {
        cells::push(&mut bytes, value.as_deref())?;
    }
    Ok(Stored { shape: Arc::clone(shape), bytes: bytes.into(), rows })
}

/// Replays the values and makes shape and bytes of the rows again, in the way of a result from a database.
async fn expect(
    links: &Links<Server>,
    shape: &Arc<Shape>,
    values: &[Option<Vec<u8>>],
    rows: usize,
) -> Result<(), Unfaithful> {
    let stored = stored(shape, values, rows)?;
    let mut copies = vec![one(links, &stored).await?];
    copies.extend(links.mint(&stored, 3).await?);
    for Replayed { rows, result } in copies {
        if rows.len() != stored.rows || result.rows_affected() != 0 || result.last_insert_id() != 0 {
            return Err(failed("rows are lost"));
        }
        if Shape::of(rows[0].columns())? != **shape {
            return Err(failed("columns do not come back as they were"));
        }
        if encode(&rows, shape)? != *stored.bytes {
            return Err(failed("values do not come back as they were"));
        }
    }
    Ok(())
}

async fn one(links: &Links<Server>, stored: &Stored<Shape>) -> Result<Replayed<sqlx::MySql>, Unfaithful> {
    links.mint(stored, 1).await?.pop().ok_or_else(|| failed("rows are lost"))
}

fn failed(what: &str) -> Unfaithful {
    Unfaithful::because(format!("the self-test of replay found that {what}"))
}
