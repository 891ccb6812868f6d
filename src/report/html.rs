//! A report as one HTML file: with its style and its charts in it, without a script, and without anything from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sections::{Body, Cell};
use super::{Report, plain};
use crate::chart::{self, Hue, Line};
use crate::observe::Sample;

/// Statements in the chart of the heaviest.
const BARS: usize = 8;

impl Report {
    /// As one HTML file, to be kept, sent and opened anywhere: its charts are SVG, it needs no script and loads nothing.
    pub fn html(&self) -> String {
        let title = format!("What the pool did: {}", self.backend);
        let sections = self.sections();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(include_str!("html.css"))) }
                }
                body {
                    header { h1 { (title) } p { (plain(&self.summary())) } }
                    main {
                        @if let Some(charts) = self.charts() { (charts) }
                        @for section in &sections {
                            section { h2 { (section.title) } (body(&section.body)) }
                        }
                    }
                    footer {
                        p { "Larder " (self.release) ", taken at " (humantime::format_rfc3339_seconds(self.taken)) ". It holds no value that was bound." }
                    }
                }
            }
        }
        .into_string()
    }

    fn charts(&self) -> Option<Markup> {
        let heavy: Vec<_> = self
            .queries
            .iter()
            .filter(|query| !query.database_time.is_zero())
            .take(BARS)
            .map(|query| (start(&plain(&query.text)), query.database_time.as_secs_f64()))
            .collect();
        // By minute where there are some, else by second.
        let past = if self.history.minutes.len() > 1 { &self.history.minutes } else { &self.history.seconds };
        if heavy.is_empty() && past.len() < 2 {
            return None;
        }
        let line =
            |label, hue, value: &dyn Fn(&Sample) -> Option<f64>| Line { label, hue, points: points(past, value) };
        let p99 = |times: Option<(std::time::Duration, std::time::Duration)>| times.map(|(_, p99)| p99.as_secs_f64());
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
            section.charts {
                h2 { "At a glance" }
                @if past.len() > 1 {
                    figure { figcaption { "Reads a second" } (PreEscaped(chart::lines("Reads a second", &reads, |value| format!("{value:.0}/s")))) (legend(&reads)) }
                    figure { figcaption { "How long 99 of 100 took" } (PreEscaped(chart::lines("Latency, p99", &latency, short))) (legend(&latency)) }
                }
                @if !heavy.is_empty() {
                    figure.wide { figcaption { "Database time by statement" } (PreEscaped(chart::bars("Database time", Hue::Database, &heavy, short))) }
                }
            }
        })
    }
}

fn points(past: &[Sample], value: &dyn Fn(&Sample) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
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
            Body::Table(headings, rows) => div.scroll tabindex="0" {
                table {
                    thead { tr { @for (at, heading) in headings.iter().enumerate() { th class=(side(at, headings.len())) scope="col" { (heading) } } } }
                    tbody { @for row in rows { tr { @for (at, one) in row.iter().enumerate() { td class=(side(at, headings.len())) { (cell(one)) } } } } }
                }
            },
        }
    }
}

fn side(at: usize, columns: usize) -> &'static str {
    if at + 1 == columns { "text" } else { "number" }
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
    format!("{:.1?}", std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn start(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
