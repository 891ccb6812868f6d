//! Charts as SVG, which a page shows as they are.
//!
//! In: numbers. Out: an `<svg>` element that fits the width of its place, says in words what it shows, and takes its colours from the
//! stylesheet around it by the values given here. It never holds a script, a style or a link.

use std::fmt::Write;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What a line stands for. The stylesheets know their colours by these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hue {
    Cache,
    Database,
    Trouble,
    Quiet,
}

impl Hue {
    /// The class of what has this colour.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Database => "database",
            Self::Trouble => "trouble",
            Self::Quiet => "quiet",
        }
    }

    fn color(self) -> RGBColor {
        match self {
            Self::Cache => RGBColor(0x1b, 0x8a, 0x6b),
            Self::Database => RGBColor(0x2f, 0x6f, 0xde),
            Self::Trouble => RGBColor(0xd6, 0x45, 0x45),
            Self::Quiet => RGBColor(0x8a, 0x94, 0xa6),
        }
    }
}

const GRID: RGBColor = RGBColor(0xe1, 0xe5, 0xec);
const TEXT: RGBColor = RGBColor(0x5b, 0x65, 0x75);
/// In units of the drawing, which is scaled.
const SIZE: (u32, u32) = (420, 150);

/// One line of a chart: its values by seconds before now. What was not measured is a gap.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub label: &'static str,
    pub hue: Hue,
    pub points: Vec<(f64, Option<f64>)>,
}

/// Lines over time, up to now. `show` makes a label of a value.
pub(crate) fn lines(title: &str, lines: &[Line], show: impl Fn(f64) -> String) -> String {
    let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let most = values().fold(0.0, f64::max);
    let oldest = lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at)).fold(-10.0, f64::min);
    let latest = lines.iter().map(|line| match line.points.last() {
        Some((_, Some(value))) => format!("{} {}", line.label, show(*value)),
        _ => format!("{} N/A", line.label),
    });
    let said = format!("{title}: {}", latest.collect::<Vec<_>>().join(", "));
    let mut svg = String::new();
    let drawn = draw(&mut svg, lines, oldest, if most > 0.0 { most * 1.1 } else { 1.0 }, &show);
    finished(&svg, &said, drawn.is_ok())
}

fn draw(
    svg: &mut String,
    lines: &[Line],
    oldest: f64,
    most: f64,
    show: &impl Fn(f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(6)
        .margin_right(20)
        .x_label_area_size(22)
        .y_label_area_size(58)
        .build_cartesian_2d(oldest..0.0, 0.0..most)?;
    let text = ("sans-serif", 12).into_font().color(&TEXT);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .label_style(text)
        .y_labels(4)
        .x_labels(5)
        .y_label_formatter(&|value| show(*value))
        .x_label_formatter(&|at| ago(*at))
        .draw()?;
    for line in lines {
        // Each stretch without a gap.
        for part in line.points.split(|(_, value)| value.is_none()) {
            let points = part.iter().filter_map(|(at, value)| Some((*at, (*value)?)));
            let style = line.hue.color().stroke_width(2);
            match part {
                [] => {}
                [_] => {
                    chart.draw_series(points.map(|point| Circle::new(point, 2, line.hue.color().filled())))?;
                }
                _ => {
                    chart.draw_series(LineSeries::new(points, style))?;
                }
            }
        }
    }
    area.present()?;
    Ok(())
}

/// Bars from the left, each with its label inside: the largest fills the width.
pub(crate) fn bars(title: &str, hue: Hue, values: &[(String, f64)], show: impl Fn(f64) -> String) -> String {
    let most = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let said: Vec<_> = values.iter().map(|(label, value)| format!("{label} {}", show(*value))).collect();
    let mut svg = String::new();
    let drawn = draw_bars(&mut svg, hue, values, most, &show);
    finished(&svg, &format!("{title}: {}", said.join(", ")), drawn.is_ok())
}

fn draw_bars(
    svg: &mut String,
    hue: Hue,
    values: &[(String, f64)],
    most: f64,
    show: &impl Fn(f64) -> String,
) -> Result<(), Box<dyn std::error::Error>> {
    const ROW: i32 = 26;
    let width = SIZE.0 as i32;
    let height = u32::try_from(values.len().max(1))? * ROW as u32;
    let area = SVGBackend::with_string(svg, (SIZE.0, height)).into_drawing_area();
    let text = ("sans-serif", 13).into_font().color(&TEXT).pos(Pos::new(HPos::Left, VPos::Center));
    for (row, (label, value)) in (0_i32..).zip(values) {
        let top = row * ROW;
        // Room for what it says is left on the right.
        let right = (f64::from(width - 4) * (value / most)).max(2.0) as i32;
        let bar = [(0, top + 3), (right, top + ROW - 3)];
        area.draw(&Rectangle::new(bar, hue.color().mix(0.25).filled()))?;
        area.draw(&Text::new(format!("{}  {label}", show(*value)), (6, top + ROW / 2), text.clone()))?;
    }
    area.present()?;
    Ok(())
}

/// Makes the drawing fit its place, and says what it shows.
fn finished(svg: &str, said: &str, is_drawn: bool) -> String {
    let mut out = String::new();
    let said = escaped(said);
    let body = svg.find('>').filter(|_| is_drawn).map(|end| svg.split_at(end + 1));
    let Some((head, body)) = body else { return format!("<p>{said}</p>") };
    let size =
        head.split_once("viewBox=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0)).unwrap_or("0 0 420 150");
    let _ = write!(
        out,
        "<svg class=\"chart\" role=\"img\" viewBox=\"{size}\" xmlns=\"http://www.w3.org/2000/svg\" aria-label=\"{said}\">{body}"
    );
    out
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
        out
    })
}

/// `-90` seconds are `1.5 min ago`.
fn ago(at: f64) -> String {
    let seconds = -at;
    match seconds {
        ..0.5 => "now".into(),
        ..90.0 => format!("{seconds:.0} s ago"),
        ..5_400.0 => format!("{:.0} min ago", seconds / 60.0),
        _ => format!("{:.0} h ago", seconds / 3_600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_says_what_it_shows_and_holds_no_markup_of_others() {
        let line =
            Line { label: "hits", hue: Hue::Cache, points: vec![(-2.0, Some(1.0)), (-1.0, None), (0.0, Some(3.0))] };
        let svg = lines("<b>\"Reads\"", &[line], |value| format!("{value:.0}/s"));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("aria-label=\"&lt;b&gt;&quot;Reads&quot;: hits 3/s\""), "{svg}");
        assert!(!svg.contains("style=") && !svg.contains("<script") && !svg.contains("<b>"), "{svg}");
        let none = Line { label: "hits", hue: Hue::Cache, points: vec![(0.0, None)] };
        assert!(lines("Reads", &[none], |value| value.to_string()).contains("hits N/A"));
        let svg =
            bars("Top", Hue::Database, &[("select <x>".into(), 3.0), ("b".into(), 0.0)], |value| format!("{value} s"));
        assert!(svg.contains("&lt;x&gt;") && !svg.contains("<x>"), "{svg}");
    }
}
