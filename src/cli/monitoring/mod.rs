//! `larder monitoring`: dashboards, rules and alerts for what Larder tells.
//!
//! In: a folder, and where the nodes are. Out: files for Prometheus, Alertmanager and Grafana, made from the catalogue of metrics, so that
//! no name in them can be wrong. It asks no server, and overwrites nothing that differs unless it is told to.

mod alerts;
mod dashboard;
mod engineering;
mod names;
mod operations;
mod overview;
mod rules;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::Failure;
use crate::wording::plain;

/// Writes Grafana dashboards, Prometheus rules with their tests, and Alertmanager routes for the metrics of Larder.
///
/// Every name in them is from this version's own list of metrics. Nothing that is already there is overwritten if it differs,
/// unless --force is given.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Monitoring {
    /// The folder they are written to; made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "monitoring")]
    out: PathBuf,
    /// A node: where its /metrics is.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    scrape_target: Vec<(String, u16)>,
    /// All nodes behind a name: each of its addresses is one. As in Kubernetes with a headless service, or with docker compose.
    #[arg(long, value_name = "NAME:PORT", value_parser = address)]
    scrape_name: Vec<(String, u16)>,
    /// Where docs/monitoring.md can be read: alerts link to its sections.
    #[arg(long, value_name = "URL", default_value = "docs/monitoring.md", value_parser = link)]
    docs_url: String,
    /// Overwrite files that differ.
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  larder monitoring --scrape-target localhost:9000
  larder monitoring --out deploy/monitoring --scrape-name shop.internal:9000
  larder monitoring --force && promtool test rules monitoring/prometheus/larder.rules.test.yml";

/// Where metrics-exporter-prometheus listens unless it is told otherwise.
const USUAL: (&str, u16) = ("localhost", 9000);

impl Monitoring {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let files = self.files();
        if !self.force {
            let mut differ = Vec::new();
            for (path, text) in &files {
                match fs::read(self.out.join(path)) {
                    Ok(there) if there == text.as_bytes() => {}
                    Ok(_) => differ.push(*path),
                    // What cannot be there is told when it is written.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                    Err(error) => {
                        let path = named(&self.out.join(path));
                        return Err(Failure::failed(format!("cannot look at {path}: {error}")));
                    }
                }
            }
            if !differ.is_empty() {
                return Err(Failure::failed(format!(
                    "nothing was written: other text is in {}, in the folder {}. --force overwrites it",
                    differ.join(", "),
                    named(&self.out)
                )));
            }
        }
        let mut out = anstream::stdout().lock();
        for (path, text) in &files {
            let path = self.out.join(path);
            write(&path, text).map_err(|error| Failure::failed(format!("cannot write {}: {error}", named(&path))))?;
            said(writeln!(out, "wrote {}", named(&path)))?;
        }
        said(writeln!(
            out,
            "Check them with: promtool check config {}",
            named(&self.out.join("prometheus/prometheus.yml"))
        ))
    }

    /// Every file by its path, and its text.
    fn files(&self) -> Vec<(&'static str, String)> {
        let alerts = alerts::alerts();
        vec![
            ("prometheus/prometheus.yml", self.scrapes()),
            ("prometheus/larder.rules.yml", rules::rules(&alerts, &self.docs_url)),
            ("prometheus/larder.rules.test.yml", rules::tests(&alerts, &self.docs_url)),
            ("alertmanager/alertmanager.yml", include_str!("files/alertmanager.yml").into()),
            ("grafana/provisioning/datasources/prometheus.yml", include_str!("files/datasources.yml").into()),
            ("grafana/provisioning/dashboards/larder.yml", include_str!("files/dashboards.yml").into()),
            ("grafana/dashboards/overview.json", text(&overview::overview())),
            ("grafana/dashboards/operations.json", text(&operations::operations())),
            ("grafana/dashboards/engineering.json", text(&engineering::engineering())),
        ]
    }

    /// `prometheus.yml`: whom it asks, and whom it tells.
    fn scrapes(&self) -> String {
        let usual = [(USUAL.0.to_owned(), USUAL.1)];
        let nobody = self.scrape_target.is_empty() && self.scrape_name.is_empty();
        let targets = if nobody { &usual[..] } else { &self.scrape_target };
        let mut scrapes = String::new();
        if !targets.is_empty() {
            scrapes += "    static_configs:\n      - targets:\n";
            for (host, port) in targets {
                scrapes += &format!("          - {}\n", rules::quoted(&format!("{host}:{port}")));
            }
        }
        if !self.scrape_name.is_empty() {
            scrapes += "    # Each address behind the name is a node.\n    dns_sd_configs:\n";
            for (name, port) in &self.scrape_name {
                scrapes +=
                    &format!("      - names: [{}]\n        type: A\n        port: {port}\n", rules::quoted(name));
            }
        }
        include_str!("files/prometheus.yml").replace("# SCRAPES\n", &scrapes).replace("JOB", alerts::JOB)
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

fn text(dashboard: &Value) -> String {
    format!("{dashboard:#}\n")
}

fn named(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// Whoever reads it may stop at any time.
fn said(outcome: io::Result<()>) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(error.to_string())),
        _ => Ok(()),
    }
}

/// `host:port`, where an address of IPv6 stands in brackets.
fn address(text: &str) -> Result<(String, u16), String> {
    let wrong = || "is no host:port, such as 10.0.0.7:9000 or [::1]:9000".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
    };
    let port = port.parse().ok().filter(|port| *port != 0 && is_host).ok_or_else(wrong)?;
    Ok((host.to_owned(), port))
}

/// What may stand in a template of Prometheus as it is.
fn link(text: &str) -> Result<String, String> {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"{}#\"".contains(c);
    if text.chars().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("is no address to which #section can be added".into())
    }
}
