//! Shows what was measured: a table for people, one object for programs.
//!
//! In: two runs and the outcome of the comparison. Out: text.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::presets;
use comfy_table::{Attribute, Cell, CellAlignment, Color, LineStyle, Table};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::mix::Class;
use super::run::{Load, Measured};
use crate::wording::grouped;

/// Everything there is to tell.
pub struct Report {
    pub load: Load,
    pub rows: u32,
    pub pool_size: u32,
    pub direct: Measured,
    pub cached: Measured,
    pub checked: u64,
    pub mismatches: u64,
    /// Some of the mismatches, as sentences.
    pub examples: Vec<String>,
}

impl Report {
    /// Prints to stdout. `place`: where the shop stood.
    pub fn print(&self, place: &str, json: bool) {
        let text = if json { format!("{:#}", self.json(place)) } else { self.text(place) };
        // Whoever closed the pipe has seen enough.
        let _ = writeln!(anstream::stdout(), "{text}");
    }

    fn speedup(&self) -> f64 {
        self.cached.total().len() as f64 / (self.direct.total().len() as f64).max(1.0)
    }

    fn hits(&self) -> u64 {
        self.cached.hits.iter().sum()
    }

    fn json(&self, place: &str) -> Value {
        let (direct, cached) = (self.direct.total(), self.cached.total());
        let seconds = self.direct.duration.as_secs_f64();
        let with_hits = |histogram: &Histogram<u64>, hits: u64| {
            let mut value = latencies(histogram, seconds);
            value["hit_rate"] = json!(rate(hits, histogram.len()));
            value["queries_saved"] = json!(hits);
            value
        };
        let classes = Class::ALL.iter().enumerate().map(|(at, (class, _))| {
            let value = json!({
                "direct": latencies(&self.direct.reads[at], seconds),
                "cached": with_hits(&self.cached.reads[at], self.cached.hits[at]),
            });
            (class.label().to_owned(), value)
        });
        json!({
            "database": place,
            "seconds": seconds,
            "rows": self.rows,
            "readers": self.load.readers,
            "pool_size": self.pool_size,
            "writes_per_second": self.load.writes_per_second,
            "seed": self.load.seed,
            "direct": latencies(&direct, seconds),
            "cached": with_hits(&cached, self.hits()),
            "classes": classes.collect::<serde_json::Map<_, _>>(),
            "writes": {
                "direct": latencies(&self.direct.writes, seconds),
                "cached": latencies(&self.cached.writes, seconds),
            },
            "speedup": round(self.speedup(), 2),
            "queries_saved": self.hits(),
            "checked": self.checked,
            "mismatches": self.mismatches,
        })
    }

    fn text(&self, place: &str) -> String {
        let (direct, cached) = (self.direct.total(), self.cached.total());
        let mut table = Table::new();
        let line = LineStyle::none().fill('─').junction('─');
        table.load_style(presets::NOTHING.header_separator(line).bottom_border(line));
        let headings = ["", "", "per second", "p50", "p95", "p99", "hit rate", "saved"];
        table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
        for (at, column) in table.column_iter_mut().enumerate() {
            // 80 columns must do, also for millions of reads.
            column.set_padding((0, if at + 1 < headings.len() { 2 } else { 0 }));
            if at >= 2 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (at, (class, _)) in Class::ALL.iter().enumerate() {
            self.rows(
                &mut table,
                plural(*class),
                &self.direct.reads[at],
                &self.cached.reads[at],
                Some(self.cached.hits[at]),
            );
        }
        self.rows(&mut table, "all reads", &direct, &cached, Some(self.hits()));
        if self.load.writes_per_second > 0 {
            self.rows(&mut table, "writes", &self.direct.writes, &self.cached.writes, None);
        }

        let (bold, plain) = (Style::new().bold(), Style::new());
        let good = AnsiColor::Green.on_default().bold();
        let bad = AnsiColor::Red.on_default().bold();
        let verdict = if self.mismatches == 0 { good } else { bad };
        let mut text = format!(
            "{bold}{place}{bold:#}: {} rows, {} readers, {} connections, {} writes per second, {} s each\n\n{}\n\n",
            grouped(self.rows.into()),
            self.load.readers,
            self.pool_size,
            self.load.writes_per_second,
            self.load.duration.as_secs(),
            table.trim_fmt(),
        );
        let speedup = if self.speedup() >= 1.0 { good } else { plain };
        text += &format!(
            "{speedup}{:.1} times{speedup:#} as many reads per second through Larder; {} of {} needed no query.\n\
             {} answers compared with the database's own, {verdict}{} wrong{verdict:#}.",
            self.speedup(),
            grouped(self.hits()),
            grouped(cached.len()),
            grouped(self.checked),
            grouped(self.mismatches),
        );
        for example in &self.examples {
            text += &format!("\n  {example}");
        }
        text
    }

    /// Two rows: sqlx and Larder.
    fn rows(&self, table: &mut Table, name: &str, direct: &Histogram<u64>, cached: &Histogram<u64>, hits: Option<u64>) {
        let seconds = self.direct.duration.as_secs_f64();
        let row = |name: &str, through: &str, histogram: &Histogram<u64>| {
            let quantile = |quantile| match histogram.is_empty() {
                true => "-".to_owned(),
                false => duration(histogram.value_at_quantile(quantile)),
            };
            let per_second = grouped((histogram.len() as f64 / seconds).round() as u64);
            vec![name.to_owned(), through.to_owned(), per_second, quantile(0.5), quantile(0.95), quantile(0.99)]
        };
        table.add_row(row(name, "sqlx", direct));
        let mut through = row("", "Larder", cached);
        if let Some(hits) = hits {
            through.push(rate(hits, cached.len()).map_or("-".to_owned(), |rate| format!("{:.1} %", rate * 100.0)));
            through.push(grouped(hits));
        }
        table.add_row(through.into_iter().map(|text| Cell::new(text).fg(Color::Cyan)));
    }
}

fn plural(class: Class) -> &'static str {
    match class {
        Class::Lookup => "lookups",
        Class::Join => "joins",
        Class::List => "lists",
        Class::Aggregate => "aggregates",
        Class::Report => "reports",
    }
}

fn latencies(histogram: &Histogram<u64>, seconds: f64) -> Value {
    let quantile = |quantile| match histogram.is_empty() {
        true => Value::Null,
        false => json!(round(histogram.value_at_quantile(quantile) as f64 / 1000.0, 1)),
    };
    json!({
        "ops": histogram.len(),
        "ops_per_s": round(histogram.len() as f64 / seconds, 1),
        "p50_us": quantile(0.5),
        "p95_us": quantile(0.95),
        "p99_us": quantile(0.99),
    })
}

/// A part of a whole, if there is a whole.
fn rate(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| round(part as f64 / whole as f64, 4))
}

fn round(number: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (number * scale).round() / scale
}

/// Nanoseconds, to two or three digits.
fn duration(nanoseconds: u64) -> String {
    let microseconds = nanoseconds as f64 / 1e3;
    match microseconds {
        ..10.0 => format!("{microseconds:.1} µs"),
        ..1e3 => format!("{microseconds:.0} µs"),
        ..1e4 => format!("{:.1} ms", microseconds / 1e3),
        ..1e6 => format!("{:.0} ms", microseconds / 1e3),
        _ => format!("{:.1} s", microseconds / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::{duration, grouped, rate};

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1_000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(
            ["0.4 µs", "12 µs", "1.5 ms", "250 ms", "3.0 s"],
            [400, 12_000, 1_500_000, 250_000_000, 3_000_000_000].map(duration).each_ref().map(String::as_str)
        );
        assert_eq!([rate(1, 4), rate(0, 0)], [Some(0.25), None]);
    }
}
