//! A report as Markdown, with tables as GitHub has them.

use std::fmt::Write;

use super::Report;
use super::document::{Body, Cell};
use crate::wording::plain;

impl Report {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("# What the pool did\n\n{}\n", escaped(&self.summary()));
        for section in self.sections() {
            let _ = write!(out, "\n## {}\n\n", section.title);
            match &section.body {
                Body::Numbered(rows) => {
                    for (at, row) in rows.iter().enumerate() {
                        let _ = writeln!(out, "{}. {}", at + 1, line(row));
                    }
                }
                Body::Points(rows) => {
                    for row in rows {
                        let _ = writeln!(out, "- {}", line(row));
                    }
                }
                Body::Table(headings, rows) => {
                    let sides = format!("{}---|", "---:|".repeat(headings.len() - 1));
                    let _ = writeln!(out, "| {} |\n|{sides}", headings.join(" | "));
                    for row in rows {
                        let cells: Vec<_> = row.iter().map(in_table).collect();
                        let _ = writeln!(out, "| {} |", cells.join(" | "));
                    }
                }
            }
            if let Some(more) = section.more() {
                let _ = writeln!(out, "\n{more}");
            }
        }
        out
    }
}

fn line(row: &[Cell]) -> String {
    let cells = row.iter().map(|cell| match cell {
        Cell::Text(text) => escaped(text),
        Cell::Code(text) => span(text),
    });
    cells.collect::<Vec<_>>().join(" ")
}

fn in_table(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => escaped(text),
        // A table is cut into cells before code is looked for.
        Cell::Code(text) => span(text).replace('|', "\\|"),
    }
}

/// Nothing in it means anything but itself.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in plain(text).chars() {
        if "\\`*_{}[]<>#|~&$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// As code: between more backticks than it holds in a row.
fn span(text: &str) -> String {
    let text = plain(text);
    if text.trim().is_empty() {
        return "(nothing)".to_owned();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A blank at each side is taken off again, if there is one at both.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_cannot_break_out() {
        assert_eq!(escaped("a|b *c* _d_ `e` <f>\n[g](h)"), "a\\|b \\*c\\* \\_d\\_ \\`e\\` \\<f\\> \\[g\\](h)");
        assert_eq!(span("select 1"), "`select 1`");
        assert_eq!(span("select `a``b`"), "``` select `a``b` ```");
        assert_eq!(span("a\n\u{1b}[31mb\u{202e}c"), "`a  [31mb c`");
        assert_eq!(in_table(&Cell::Code("a || b".into())), "`a \\|\\| b`");
        assert_eq!(line(&[Cell::Code("a || b".into())]), "`a || b`");
    }
}
