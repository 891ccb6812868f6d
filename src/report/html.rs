//! A report as one HTML file: with its style and its charts in it, without a script, and without anything from elsewhere.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::document::{Body, Cell, Section};
use crate::chart::{self, Hue, Line};
use crate::observe::Sample;
use crate::wording::{plain, shortened};

/// Statements in the chart of the heaviest.
const BARS: usize = 8;
/// Letters of a statement in a bar.
const IN_A_BAR: usize = 60;

/// One of those files.
pub(crate) struct Page<'r> {
    pub title: &'r str,
    /// The first paragraphs.
    pub summary: &'r [String],
    pub charts: Option<Markup>,
    pub sections: &'r [Section],
    /// The last line.
    pub end: &'r str,
}

impl Page<'_> {
    pub fn html(&self) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(include_str!("html.css"))) }
                }
                body {
                    header { h1 { (self.title) } @for paragraph in self.summary { p { (plain(paragraph)) } } }
                    main {
                        @if let Some(charts) = &self.charts { section.charts { h2 { "At a glance" } (charts) } }
                        @for section in self.sections {
                            section {
                                h2 { (section.title) }
                                (body(&section.body))
                                @if let Some(more) = section.more() { p { (more) } }
                            }
                        }
                    }
                    footer { p { (plain(self.end)) } }
                }
            }
        }
        .into_string()
    }
}

/// How much time each statement takes, by bars; `None`: none takes any.
pub(crate) fn heaviest<'q>(statements: impl Iterator<Item = (&'q str, Duration)>) -> Option<Markup> {
    let heavy: Vec<_> = statements
        .filter(|(_, time)| !time.is_zero())
        .take(BARS)
        .map(|(text, time)| (shortened(&plain(text), IN_A_BAR), time.as_secs_f64()))
        .collect();
    (!heavy.is_empty()).then(|| {
        html! {
            figure.wide {
                figcaption { "Database time by statement" }
                (PreEscaped(chart::bars("Database time", Hue::Database, &heavy, short)))
            }
        }
    })
}

impl Report {
    /// As one HTML file, to be kept, sent and opened anywhere: its charts are SVG, it needs no script and loads nothing.
    pub fn html(&self) -> String {
        let taken = humantime::format_rfc3339_seconds(self.taken);
        Page {
            title: &format!("What the pool did: {}", plain(&self.backend)),
            summary: &[self.summary()],
            charts: self.charts(),
            sections: &self.sections(),
            end: &format!("Larder {}, taken at {taken}. It holds no value that was bound.", self.release),
        }
        .html()
    }

    fn charts(&self) -> Option<Markup> {
        let heavy = heaviest(self.queries.iter().map(|query| (&*query.text, query.database_time)));
        // By minute where there are some, else by second.
        let past = if self.history.minutes.len() > 1 { &self.history.minutes } else { &self.history.seconds };
        if heavy.is_none() && past.len() < 2 {
            return None;
        }
        let line =
            |label, hue, value: &dyn Fn(&Sample) -> Option<f64>| Line { label, hue, points: points(past, value) };
        let p99 = |times: Option<(Duration, Duration)>| times.map(|(_, p99)| p99.as_secs_f64());
        let reads = [
            line("from the cache", Hue::Cache, &|sample| Some(sample.per_second(sample.hits + sample.coalesced))),
            line("from the database", Hue::Database, &|sample| {
                Some(sample.per_second(sample.misses + sample.bypasses))
            }),
        ];
        let latency = [
            line("a hit", Hue::Cache, &|sample| p99(sample.hit_latency)),
            line("the database", Hue::Database, &|sample| p99(sample.database_latency)),
        ];
        Some(html! {
            @if past.len() > 1 {
                figure { figcaption { "Reads a second" } (PreEscaped(chart::lines("Reads a second", &reads, |value| format!("{value:.0}/s")))) (legend(&reads)) }
                figure { figcaption { "How long 99 of 100 took" } (PreEscaped(chart::lines("Latency, p99", &latency, short))) (legend(&latency)) }
            }
            @if let Some(heavy) = heavy { (heavy) }
        })
    }
}

/// The values of samples, by how long they are before the last.
pub(crate) fn points(past: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let Some(last) = past.last().map(|sample| sample.at) else { return Vec::new() };
    let ago = |sample: &Sample| -last.duration_since(sample.at).unwrap_or_default().as_secs_f64();
    past.iter().map(|sample| (ago(sample), value(sample))).collect()
}

fn legend(lines: &[Line]) -> Markup {
    html! { ul.legend { @for line in lines { li class=(line.hue.label()) { (line.label) } } } }
}

fn body(body: &Body) -> Markup {
    html! {
        @match body {
            Body::Numbered(rows) => ol { @for row in rows { li { (cells(row)) } } },
            Body::Points(rows) => ul { @for row in rows { li { (cells(row)) } } },
            Body::Table(headings, rows) => (table(headings, rows)),
        }
    }
}

fn table(headings: &[&str], rows: &[Vec<Cell>]) -> Markup {
    let sides: Vec<_> = (0..headings.len()).map(|at| side(at, headings.len(), rows)).collect();
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for (heading, side) in headings.iter().zip(&sides) { th class=(side) scope="col" { (heading) } } } }
                tbody { @for row in rows { tr { @for (one, side) in row.iter().zip(&sides) { td class=(side) { (cell(one)) } } } } }
            }
        }
    }
}

/// Numbers are short, stay on one line and stand below each other; what is longer, or holds no digit, is text.
fn side(at: usize, columns: usize, rows: &[Vec<Cell>]) -> &'static str {
    const LONGEST: usize = 20;
    let mut texts = rows.iter().map(|row| match row.get(at) {
        Some(Cell::Text(text)) if text.chars().count() <= LONGEST => Some(text),
        _ => None,
    });
    let is_number = texts.clone().all(|text| text.is_some())
        && texts.any(|text| text.is_some_and(|text| text == "n/a" || text.contains(|c: char| c.is_ascii_digit())));
    if is_number && at + 1 < columns { "number" } else { "text" }
}

fn cells(row: &[Cell]) -> Markup {
    html! { @for one in row { (cell(one)) " " } }
}

fn cell(cell: &Cell) -> Markup {
    match cell {
        Cell::Text(text) => html! { (plain(text)) },
        Cell::Code(text) => html! { code { (plain(text)) } },
    }
}

fn short(seconds: f64) -> String {
    format!("{:.1?}", Duration::try_from_secs_f64(seconds).unwrap_or_default())
}
