//! `larder check`: whether all is well, for cron and CI.
//!
//! In: a running application, or a report as JSON. Out: a line for each finding, or JSON, and an exit code. Not to know is not to be well:
//! that has an exit code of its own.

use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::Output;
use super::report::rule::{NOTHING_TO_COMPARE, told};
use super::snapshot::{self, Snapshot};
use super::{Failure, report};
use crate::wording::plain;
use crate::{BreakerState, BreakerStatus, Report};

/// Checks a running pool: exit code 0 if all is well, 3 if not, 1 if that cannot be told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Health(Health),
    Regression(Regression),
}

/// Whether pools are well now: breakers, feeds, what is short, answers found stale within the last hour, callers who wait.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("from").args(["url", "file"]).required(true))]
struct Health {
    /// All pools at --url are looked at, unless one is named.
    #[command(flatten)]
    snapshot: Snapshot,
    #[command(flatten)]
    printed: Printed,
}

/// Whether statements got worse since an earlier report.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("from").args(["url", "file"]).required(true))]
struct Regression {
    #[command(flatten)]
    snapshot: Snapshot,
    /// The earlier report, as JSON.
    #[arg(long, value_name = "FILE")]
    baseline: String,
    #[command(flatten)]
    printed: Printed,
}

#[derive(Debug, Args)]
struct Printed {
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Terminal, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Terminal,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  larder check health --url http://127.0.0.1:9321/admin
  larder check health --file report.json --format json
  larder check regression --baseline before.json --url http://127.0.0.1:9321/admin --pool shop

Exit codes: 0 all is well, 1 that cannot be told, 2 wrong arguments, 3 something is not well.";

/// Callers that wait for as long are no passing matter.
const WAITING: usize = 10;

/// For how long an answer that was found stale is held against a pool.
const LATELY: Duration = Duration::from_secs(3600);

/// Something that is not well.
struct Finding {
    kind: &'static str,
    text: String,
}

impl Check {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        match &self.what {
            What::Health(health) => health.run().await,
            What::Regression(regression) => regression.run().await,
        }
    }
}

impl Printed {
    /// The lines, or the JSON; and that something is not well, which was told by then.
    fn print(&self, lines: &[String], json: &Value, is_well: bool) -> Result<(), Failure> {
        self.output.write(|out| match self.format {
            Format::Terminal => lines.iter().try_for_each(|line| writeln!(out, "{}", plain(line))),
            Format::Json => writeln!(out, "{json:#}"),
        })?;
        if is_well { Ok(()) } else { Err(Failure::NotWell(Vec::new())) }
    }
}

impl Health {
    async fn run(&self) -> Result<(), Failure> {
        let reports = self.snapshot.reports().await?;
        if reports.is_empty() {
            return Err(Failure::failed("no pool is shown there, so that nothing can be told"));
        }
        let (mut lines, mut pools, mut is_well) = (Vec::new(), Vec::new(), true);
        for (name, report) in &reports {
            let findings = findings(report);
            is_well &= findings.is_empty();
            let pool = name.as_ref().map_or(String::new(), |name| format!("{name}: "));
            if findings.is_empty() {
                lines.push(format!("{pool}well, as of {}", ago(report.taken)));
            }
            lines.extend(findings.iter().map(|finding| format!("{pool}{}: {}", finding.kind, finding.text)));
            let findings: Vec<Value> =
                findings.iter().map(|it| json!({"kind": it.kind, "text": plain(&it.text)})).collect();
            let taken = humantime::format_rfc3339_seconds(report.taken).to_string();
            let name = name.as_deref().map(plain);
            pools.push(json!({"pool": name, "taken": taken, "well": findings.is_empty(), "findings": findings}));
        }
        self.printed.print(&lines, &json!({"well": is_well, "pools": pools}), is_well)
    }
}

impl Regression {
    async fn run(&self) -> Result<(), Failure> {
        let baseline = snapshot::read(&self.baseline)?;
        let report = report::against(self.snapshot.report().await?, &baseline)?;
        let compared = report.comparable(&baseline);
        let worse = report.regressions.as_deref().unwrap_or_default();
        if worse.is_empty() && compared == 0 {
            return Err(Failure::failed(NOTHING_TO_COMPARE));
        }
        let mut lines: Vec<String> = worse.iter().map(told).collect();
        if lines.is_empty() {
            lines.push(format!("nothing got worse, of {compared} statements that could be compared"));
        }
        let mut worse_as_json = serde_json::to_value(worse).unwrap_or_default();
        for one in worse_as_json.as_array_mut().into_iter().flatten() {
            one["text"] = one["text"].as_str().map(plain).into();
        }
        let json = json!({"well": worse.is_empty(), "compared": compared, "regressions": worse_as_json});
        self.printed.print(&lines, &json, worse.is_empty())
    }
}

/// What is not well, by the report alone.
fn findings(report: &Report) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        report.breakers.iter().filter_map(|status| Some(Finding { kind: "breaker", text: breaker(status)? })).collect();
    let mut add = |kind, text| found.push(Finding { kind, text });
    for feed in report.feeds.iter().filter(|feed| !feed.is_current) {
        let age = feed.age.map_or("nothing was heard yet".to_owned(), |age| format!("heard {age:.1} s ago"));
        add("feed", format!("{} is behind: {age}, at most {:.1} s is soon enough", feed.feed, feed.bound));
    }
    if let Some(why) = &report.off {
        add("off", format!("nothing is cached: {why}"));
    }
    for pressure in &report.emergencies {
        add("emergency", format!("short of {pressure}: work is shed"));
    }
    let (audited, stale, when) = audited(report);
    if stale > 0 {
        add("stale", format!("{stale} of {audited} compared answers from the cache were stale {when}"));
    }
    let latest = report.history.seconds.iter().rev().take(WAITING);
    if latest.clone().count() == WAITING && latest.clone().all(|second| second.waiting > 0) {
        let now = latest.map(|second| second.waiting).next().unwrap_or_default();
        add(
            "waiting",
            format!("callers waited for a connection at the end of each of the last {WAITING} seconds: {now} now"),
        );
    }
    found
}

/// How many answers were compared lately, how many of them were stale, and when that was. Where the history does not tell, all count.
fn audited(report: &Report) -> (u64, u64, &'static str) {
    let hour = report.taken.checked_sub(LATELY).filter(|begin| report.since <= *begin);
    match hour.and_then(|begin| report.history.audited(begin, report.taken)) {
        Some((audited, stale)) => (audited, stale, "within the last hour"),
        None => (report.stats.audited, report.stats.audited_stale, "since the pool was built"),
    }
}

fn breaker(status: &BreakerStatus) -> Option<String> {
    let what = match status.state {
        BreakerState::Closed => return None,
        BreakerState::Open => "is open: calls are rejected",
        BreakerState::HalfOpen => "is half open: it tries whether calls succeed again",
        BreakerState::ForcedOpen => "is forced open: calls are rejected by order",
        BreakerState::ForcedClosed => "is forced closed: it does not open by order",
        BreakerState::Disabled => "is disabled by order",
    };
    let by_order = status.forced.as_ref().map(|forced| forced.reason.clone());
    let cause = by_order.or_else(|| status.transitions.last().map(|turn| turn.cause.clone()));
    let cause = cause.map_or(String::new(), |cause| format!(" ({cause})"));
    Some(format!("that of {} {what}, since {}{cause}", status.backend, ago(status.since)))
}

/// When that was, and how long ago.
fn ago(at: SystemTime) -> String {
    let age = at.elapsed().unwrap_or_default().as_secs();
    format!("{} ({} ago)", humantime::format_rfc3339_seconds(at), humantime::format_duration(Duration::from_secs(age)))
}
