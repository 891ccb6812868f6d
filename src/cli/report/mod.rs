//! `larder report`: where a database's time goes, and what Larder saves of it or could.
//!
//! In: where the figures come from, perhaps an earlier report and rules. Out: a report for people, as HTML, JSON, CSV or Markdown, and
//! an exit code by the rules. It changes nothing, and shows no value.
//!
//! | file | question |
//! |---|---|
//! | `rule` | when does a report make the command fail? |
//! | `adoption` | what would Larder do for an application that does not use it yet? |
//! | `servers` | what does the server know of its statements, and what does it not? |
//! | `plans` | how would the server run the heaviest reads? |

mod adoption;
mod plans;
pub(super) mod rule;
mod servers;

use clap::{ArgGroup, Args, ValueEnum};
use rule::{Rule, Verdict};

use super::Failure;
use super::output::Output;
use super::snapshot::{self, Snapshot};
use crate::Report as Told;

/// Tells what a running pool did and what could be done about it, or what Larder would keep of a database that is used without it.
///
/// Of a pool: from the application itself (--url), or from a report that was written as JSON (--file). Of a database: from the server's
/// own statistics (--database-url), pg_stat_statements of PostgreSQL or the performance schema of MySQL and MariaDB. Nothing is changed,
/// no statement is run, and no value is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("from").args(["url", "file", "database_url"]).required(true))]
pub struct Report {
    #[command(flatten, next_help_heading = "Of a running pool")]
    snapshot: Snapshot,
    /// An earlier report, as JSON: what got worse since is told.
    #[arg(long, value_name = "FILE", conflicts_with = "database_url", help_heading = "Of a running pool")]
    baseline: Option<String>,
    /// Exit with 3 if this is so, after the report is printed. May be given again. See below.
    #[arg(long, value_name = "RULE", conflicts_with = "database_url", help_heading = "Of a running pool")]
    fail_on: Vec<Rule>,
    #[command(flatten, next_help_heading = "Before adoption: a database's own statistics")]
    database: adoption::Source,
    /// Statements that are shown, the heaviest first. All of them count in the sums, and JSON and CSV have all.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        requires = "database_url",
        conflicts_with_all = ["url", "file"],
        help_heading = "Before adoption: a database's own statistics"
    )]
    top: usize,
    /// How it is printed. HTML is one file with charts, without a script.
    #[arg(long, value_enum, default_value_t = Format::Terminal, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Terminal,
    Html,
    Json,
    Csv,
    Markdown,
}

const EXAMPLES: &str = "\
Rules of --fail-on, with a limit of yours:
  regression         something got worse since --baseline
  n+1                a statement is asked again and again in one unit of work
  stale              an answer from the cache was found stale by Builder::audit
  rejections>0       breakers rejected more calls
  hit-rate<80%       fewer of all reads were answered from the cache
  bypass>20%         more of all reads could not be kept
  p99>50ms           the database took longer for a statement with 20 calls that asked it (or p50, p95, max)
  database-time>10s  the database took longer for everything together
The first three take a limit as well: n+1>3.

Examples:
  larder report --url http://127.0.0.1:9321/admin
  larder report --url https://shop.internal/larder --pool shop --format html --out report.html
  larder report --url http://127.0.0.1:9321/admin --format json --out before.json
  larder report --url http://127.0.0.1:9321/admin --baseline before.json --fail-on regression --fail-on 'p99>50ms'
  larder report --file report.json --format markdown
  larder report --database-url postgres://app@localhost/shop
  larder report --database-url mysql://app@localhost/shop --top 50 --ttl 1m
  larder report --database-url postgres://app@localhost/shop --explain --format html --out report.html
  larder report --database-url postgres://app@localhost/shop --format json | jq '.statements[] | select(.kept | not)'

Exit codes: 0 a report was printed, 1 it could not be made or a rule cannot be judged, 2 wrong arguments, 3 a rule is broken.";

impl Report {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        if let Some(url) = &self.database.database_url {
            return self.database.run(url, self.format, self.top, &self.output).await;
        }
        if self.baseline.is_none() && self.fail_on.iter().any(Rule::needs_baseline) {
            return Err(Failure::Usage("--fail-on regression needs an earlier report: --baseline FILE".into()));
        }
        let baseline = self.baseline.as_deref().map(snapshot::read).transpose()?;
        let mut report = self.snapshot.report().await?;
        if let Some(baseline) = &baseline {
            report = against(report, baseline)?;
        }
        self.output.write(|out| {
            let text = match self.format {
                Format::Terminal => report.to_string(),
                Format::Html => report.html(),
                Format::Json => report.to_json() + "\n",
                Format::Csv => report.csv(),
                Format::Markdown => report.markdown(),
            };
            out.write_all(text.as_bytes())
        })?;
        let (mut broken, mut unknown) = (Vec::new(), Vec::new());
        for rule in &self.fail_on {
            match rule.judge(&report, baseline.as_ref()) {
                Verdict::Kept => {}
                Verdict::Broken(what) => broken.extend(what),
                Verdict::Unknown(why) => unknown.push(format!("cannot be judged: {why}")),
            }
        }
        match (broken.is_empty(), unknown.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Failure::failed(unknown.join("; "))),
            (false, _) => Err(Failure::NotWell(broken.into_iter().chain(unknown).collect())),
        }
    }
}

/// The report with what got worse, if the two can be compared.
pub(super) fn against(report: Told, baseline: &Told) -> Result<Told, Failure> {
    if report.backend != baseline.backend {
        let (before, now) = (crate::wording::plain(&baseline.backend), crate::wording::plain(&report.backend));
        return Err(Failure::failed(format!(
            "the baseline is of {before} and the report of {now}: of different pools"
        )));
    }
    if baseline.taken > report.taken {
        super::note("the baseline is newer than the report: are the two the wrong way round?");
    }
    Ok(report.against(baseline))
}
