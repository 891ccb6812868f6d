//! Metrics as Prometheus knows them, after `metrics-exporter-prometheus` with its default names: dots become underscores, a histogram is
//! a summary with the label `quantile`, and its `_sum` and `_count`.

use crate::Metric;

/// The name of a metric.
pub(super) fn name(metric: &Metric) -> String {
    metric.name().replace('.', "_")
}

/// Its series with these labels, such as `state="open"`; all of them if there are none.
pub(super) fn series(metric: &Metric, labels: &str) -> String {
    select(&name(metric), labels)
}

/// How often something was measured.
pub(super) fn count(metric: &Metric, labels: &str) -> String {
    select(&format!("{}_count", name(metric)), labels)
}

/// The sum of what was measured.
pub(super) fn sum(metric: &Metric, labels: &str) -> String {
    select(&format!("{}_sum", name(metric)), labels)
}

fn select(name: &str, labels: &str) -> String {
    if labels.is_empty() { name.to_owned() } else { format!("{name}{{{labels}}}") }
}
