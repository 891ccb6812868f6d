//! `larder history`: what a pool did lately, as a table for other programs.
//!
//! In: a running application, or a report as JSON. Out: CSV or JSON. What was not measured is empty, not zero.

use clap::{ArgGroup, Args, ValueEnum};

use super::Failure;
use super::output::Output;
use super::snapshot::Snapshot;

/// Writes what a pool did lately as CSV: by minute for a day, and by second where there is no minute yet.
///
/// Reads by outcome, writes, database time spent and saved, latencies, connections, entries and bytes. Times are in seconds.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("from").args(["url", "file"]).required(true))]
pub struct History {
    #[command(flatten)]
    snapshot: Snapshot,
    /// How it is printed. JSON has seconds and minutes apart.
    #[arg(long, value_enum, default_value_t = Format::Csv, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

const EXAMPLES: &str = "\
Examples:
  larder history --url http://127.0.0.1:9321/admin --out history.csv
  larder history --file report.json --format json | jq '.minutes[-1].hits'

Exit codes: 0 it was printed, 1 it could not be, 2 wrong arguments.";

impl History {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let history = self.snapshot.report().await?.history;
        self.output.write(|out| match self.format {
            Format::Csv => out.write_all(history.csv().as_bytes()),
            Format::Json => {
                serde_json::to_writer_pretty(&mut *out, &history)?;
                out.write_all(b"\n")
            }
        })
    }
}
