//! A report as a text for people.

use std::fmt;

use super::Report;
use super::document::{Body, Cell};
use crate::wording::plain;

/// For people, in columns.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", plain(&self.summary()))?;
        for section in self.sections() {
            writeln!(f, "\n{}", section.title)?;
            match &section.body {
                Body::Numbered(rows) => {
                    for (at, row) in rows.iter().enumerate() {
                        writeln!(f, "  {}. {}", at + 1, line(row))?;
                    }
                }
                Body::Points(rows) => {
                    for row in rows {
                        writeln!(f, "  - {}", line(row))?;
                    }
                }
                Body::Table(headings, rows) => table(f, headings, rows)?,
            }
            if let Some(more) = section.more() {
                writeln!(f, "  {more}")?;
            }
        }
        Ok(())
    }
}

fn line(row: &[Cell]) -> String {
    row.iter().map(shown).collect::<Vec<_>>().join(" ")
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) | Cell::Code(text) => plain(text),
    }
}

/// All columns to the right, but the last.
fn table(f: &mut fmt::Formatter<'_>, headings: &[&str], rows: &[Vec<Cell>]) -> fmt::Result {
    let headings = headings.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> =
        [headings].into_iter().chain(rows.iter().map(|row| row.iter().map(shown).collect())).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column + 1 == columns {
            true => cell.clone(),
            false => format!("{cell:>width$}"),
        });
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}
