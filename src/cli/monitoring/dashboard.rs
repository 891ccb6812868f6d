//! Dashboards as Grafana reads them: rows of panels, each with one unit and a sentence that says what to see in it.

use serde_json::{Value, json};

use super::names::{count, name, series, sum};
use crate::Metric;
use crate::catalogue::REQUESTS;

/// What Grafana 12.0 writes; later ones read it.
const SCHEMA: u32 = 41;
/// Columns of a dashboard.
const COLUMNS: u32 = 24;
/// The nodes that are chosen at the top of a dashboard.
const CHOSEN: &str = r#"job=~"$job", instance=~"$instance""#;

/// Series of the chosen nodes.
pub(super) fn of(metric: &Metric, labels: &str) -> String {
    series(metric, &chosen(labels))
}

/// How fast a counter grows on them, in each second.
pub(super) fn rate(metric: &Metric, labels: &str) -> String {
    format!("rate({}[$__rate_interval])", of(metric, labels))
}

/// By how much a counter grew on them in the time that is shown.
pub(super) fn increase(metric: &Metric, labels: &str) -> String {
    format!("increase({}[$__range])", of(metric, labels))
}

/// The mean of what was measured on them.
pub(super) fn mean(metric: &Metric, labels: &str) -> String {
    let labels = chosen(labels);
    let rate = |series: String| format!("sum(rate({series}[$__rate_interval]))");
    format!("{} / {}", rate(sum(metric, &labels)), rate(count(metric, &labels)))
}

/// A quantile of the node that has the largest: quantiles of several cannot be added up.
pub(super) fn quantile(metric: &Metric, quantile: &str, labels: &str) -> String {
    let labels = if labels.is_empty() { String::new() } else { format!("{labels}, ") };
    format!("max({})", of(metric, &format!("{labels}quantile=\"{quantile}\"")))
}

/// Nodes that Prometheus reaches.
pub(super) fn up() -> String {
    format!("up{{{CHOSEN}}}")
}

fn chosen(labels: &str) -> String {
    if labels.is_empty() { CHOSEN.to_owned() } else { format!("{CHOSEN}, {labels}") }
}

/// What a panel looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// One number, as large as it goes.
    Number,
    /// Lines over time.
    Lines,
    /// Areas over time that add up.
    Areas,
    /// What is true now, line by line.
    Table,
}

/// One panel.
#[derive(Debug)]
pub(super) struct Panel {
    title: &'static str,
    about: &'static str,
    look: Look,
    unit: &'static str,
    /// Expressions, and what they are called.
    targets: Vec<(String, &'static str)>,
    /// From which value it has which colour.
    thresholds: Vec<(f64, &'static str)>,
    /// The colour below them.
    below: &'static str,
    /// What is shown in place of a number that is not there.
    nothing: Option<&'static str>,
    /// Words for values: from, to, word.
    words: Vec<(f64, f64, &'static str)>,
    width: u32,
}

impl Panel {
    pub fn number(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Look::Number, title, unit, about, 4)
    }

    pub fn lines(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Look::Lines, title, unit, about, 12)
    }

    pub fn areas(title: &'static str, unit: &'static str, about: &'static str) -> Self {
        Self::new(Look::Areas, title, unit, about, 12)
    }

    pub fn table(title: &'static str, about: &'static str) -> Self {
        Self::new(Look::Table, title, "short", about, COLUMNS)
    }

    fn new(look: Look, title: &'static str, unit: &'static str, about: &'static str, width: u32) -> Self {
        let (targets, thresholds, words) = (Vec::new(), Vec::new(), Vec::new());
        Self { title, about, look, unit, targets, thresholds, below: "green", nothing: None, words, width }
    }

    /// Shows this too, under that name, which may hold `{{label}}`.
    pub fn of(mut self, expression: String, called: &'static str) -> Self {
        self.targets.push((expression, called));
        self
    }

    /// Has this colour from that value on.
    pub fn from(mut self, value: f64, colour: &'static str) -> Self {
        self.thresholds.push((value, colour));
        self
    }

    /// Has this colour below.
    pub fn below(self, colour: &'static str) -> Self {
        Self { below: colour, ..self }
    }

    pub fn nothing(self, word: &'static str) -> Self {
        Self { nothing: Some(word), ..self }
    }

    pub fn word(mut self, from: f64, to: f64, word: &'static str) -> Self {
        self.words.push((from, to, word));
        self
    }

    fn height(&self) -> u32 {
        if self.look == Look::Number { 5 } else { 8 }
    }

    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let source = source();
        let instant = matches!(self.look, Look::Table);
        let targets = self.targets.iter().zip('A'..='Z').map(|((expression, called), id)| {
            json!({
                "datasource": source, "refId": id.to_string(), "expr": expression, "legendFormat": called,
                "instant": instant, "range": !instant, "format": if instant { "table" } else { "time_series" },
            })
        });
        let targets: Vec<_> = targets.collect();
        let steps = self.thresholds.iter().map(|(from, colour)| json!({ "value": from, "color": colour }));
        // The lowest step has no beginning.
        let steps: Vec<_> = [json!({ "value": null, "color": self.below })].into_iter().chain(steps).collect();
        let mappings = self.words.iter().enumerate().map(|(index, (from, to, word))| {
            json!({ "type": "range", "options": { "from": from, "to": to, "result": { "text": word, "index": index } } })
        });
        let mappings: Vec<_> = mappings.collect();
        let (kind, custom, options) = match self.look {
            Look::Number => (
                "stat",
                json!({}),
                json!({
                    "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                    "colorMode": if self.thresholds.is_empty() { "none" } else { "background" },
                    "graphMode": "area", "textMode": "value", "justifyMode": "center", "orientation": "auto",
                }),
            ),
            Look::Lines | Look::Areas => {
                let stacking = if self.look == Look::Areas { "normal" } else { "none" };
                let marks = if self.thresholds.is_empty() { "off" } else { "dashed" };
                let custom = json!({
                    "drawStyle": "line", "lineWidth": 1, "showPoints": "never",
                    "fillOpacity": if self.look == Look::Areas { 30 } else { 5 },
                    "stacking": { "mode": stacking, "group": "A" }, "thresholdsStyle": { "mode": marks },
                });
                (
                    "timeseries",
                    custom,
                    json!({
                        "legend": { "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"] },
                        "tooltip": { "mode": "multi", "sort": "desc" },
                    }),
                )
            }
            Look::Table => ("table", json!({}), json!({ "showHeader": true })),
        };
        // Nothing that is shown can be less than zero.
        let mut defaults = json!({
            "unit": self.unit, "min": 0, "custom": custom, "mappings": mappings,
            "thresholds": { "mode": "absolute", "steps": steps },
        });
        if let Some(word) = self.nothing {
            defaults["noValue"] = word.into();
        }
        json!({
            "id": id, "type": kind, "title": self.title, "description": self.about, "datasource": source,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height() },
            "fieldConfig": { "defaults": defaults, "overrides": [] }, "options": options, "targets": targets,
        })
    }
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A dashboard of these rows, each with a title.
pub(super) fn dashboard(uid: &str, title: &str, about: &str, rows: &[(&str, Vec<Panel>)]) -> Value {
    let (mut panels, mut y) = (Vec::<Value>::new(), 0);
    for (title, of_row) in rows {
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
        }));
        y += 1;
        let (mut x, mut height) = (0, 0);
        for panel in of_row {
            if x + panel.width > COLUMNS {
                (x, y, height) = (0, y + height, 0);
            }
            let id = u32::try_from(panels.len()).unwrap_or(u32::MAX) + 1;
            panels.push(panel.json(id, x, y));
            x += panel.width;
            height = height.max(panel.height());
        }
        y += height;
    }
    let requests = name(&REQUESTS);
    let choice = |name: &str, query: String, all: Option<&str>| {
        json!({
            "name": name, "label": name, "type": "query", "datasource": source(), "definition": query,
            "query": { "query": query, "refId": name }, "refresh": 2, "sort": 1, "multi": true, "includeAll": true,
            "allValue": all, "current": { "text": ["All"], "value": ["$__all"] },
        })
    };
    json!({
        "uid": uid, "title": title, "description": about, "tags": ["larder"], "schemaVersion": SCHEMA, "version": 1,
        "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser", "time": { "from": "now-3h", "to": "now" },
        "annotations": { "list": [] },
        "links": [{
            "type": "dashboards", "title": "Larder", "icon": "external link", "tooltip": "", "tags": ["larder"], "asDropdown": false,
            "targetBlank": false, "includeVars": true, "keepTime": true,
        }],
        "templating": { "list": [
            { "name": "datasource", "label": "datasource", "type": "datasource", "query": "prometheus", "refresh": 1 },
            // All of them are those that tell of Larder, not whatever else this Prometheus reaches.
            choice("job", format!("label_values({requests}, job)"), None),
            // Of these jobs, also those that are down and tell nothing.
            choice("instance", format!("label_values({requests}{{job=~\"$job\"}}, instance)"), Some(".+")),
        ] },
        "panels": panels,
    })
}
