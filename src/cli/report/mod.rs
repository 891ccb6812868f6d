//! `larder report`: where a database's time goes, and what Larder saves of it or could.
//!
//! In: where the figures come from. Out: a report for people, as JSON, CSV or Markdown. It changes nothing, and shows no value.
//!
//! | file | question |
//! |---|---|
//! | `adoption` | what would Larder do for an application that does not use it yet? |
//! | `servers` | what does the server know of its statements, and what does it not? |
//! | `plans` | how would the server run the heaviest reads? |

mod adoption;
mod plans;
mod servers;

use std::io;

use clap::{Args, ValueEnum};

use super::Failure;

/// Tells which of a database's heaviest statements Larder would keep, which not and why, and how much database time that could save.
///
/// The statistics are the server's own: pg_stat_statements of PostgreSQL, the performance schema of MySQL and MariaDB. Nothing is
/// changed there, no statement is run, and no value is shown.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Report {
    #[command(flatten, next_help_heading = "Before adoption: a database's own statistics")]
    database: adoption::Source,
    /// Statements that are shown, the heaviest first. All of them count in the sums, and JSON and CSV have all.
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Output")]
    top: usize,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Terminal, help_heading = "Output")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Terminal,
    Json,
    Csv,
    Markdown,
}

const EXAMPLES: &str = "\
Examples:
  larder report --database-url postgres://app@localhost/shop
  larder report --database-url mysql://app@localhost/shop --top 50 --ttl 1m
  larder report --database-url postgres://app@localhost/shop --explain --format markdown > report.md
  larder report --database-url postgres://app@localhost/shop --format json | jq '.statements[] | select(.kept | not)'

Exit codes: 0 a report was printed, 1 the database cannot be asked or keeps no statistics, 2 wrong arguments.";

impl Report {
    /// Runs the command. A reader who closes the pipe early is no error.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let Some(url) = &self.database.database_url else {
            return Err(Failure::Usage(
                "nothing to report on: name a database by --database-url postgres://.., mysql://.. or mariadb://.."
                    .into(),
            ));
        };
        match self.database.run(url, self.format, self.top).await? {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error.to_string())),
            _ => Ok(()),
        }
    }
}
