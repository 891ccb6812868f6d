//! The monthly report of a shop that sells in several countries, as it is made every night: it goes through the month's
//! orders, looks up what belongs to each, writes the sums into a table of the database and the report to a file.
//!
//! In: `cargo run --example report -- --sample`, or `--database shop.db --output report.md`; `--help` has the rest.
//! Out: Markdown or CSV, on stdout or in a file that is replaced as a whole or not at all; exit code 0, or 1 with the reason
//! on stderr, or 2 for arguments that make no sense. On stderr it also says what the cache spared.
//!
//! It was written for sqlx alone, and moved to Larder afterwards: `git log examples/report` has the move in one commit.

mod database;
mod month;
mod output;
mod render;
mod sales;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::month::Month;
use crate::output::Output;
use crate::render::Format;

/// Reports what a shop sold in a month, in euros, by country, category, customer and day.
#[derive(Debug, Parser)]
#[command(name = "report")]
struct Arguments {
    /// The shop's database, an SQLite file
    #[arg(long, value_name = "FILE", required_unless_present = "sample")]
    database: Option<PathBuf>,
    /// Make up a shop instead, which is gone afterwards
    #[arg(long, conflicts_with = "database")]
    sample: bool,
    /// The month, such as 2026-03; the latest with an order if left out
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<Month>,
    /// Where the report goes; stdout if left out
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// Ask the database for everything, even for what it was asked before
    #[arg(long)]
    fresh: bool,
}

/// Why there is no report. Whatever was there before is still there.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot open the database {}: {source}", file.display())]
    Open { file: PathBuf, source: sqlx::Error },
    #[error("cannot write {}: {source}", file.display())]
    Write { file: PathBuf, source: std::io::Error },
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("there is nothing to report: the database has no orders")]
    Empty,
    #[error("there is no exchange rate from {currency} on or before {day}")]
    Rate { currency: String, day: String },
    #[error("cannot make up a shop: {0}")]
    Sample(std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut progress = std::io::stderr();
    let shown = progress.is_terminal();
    ExitCode::from(start(std::env::args_os(), &mut std::io::stdout(), &mut progress, shown).await)
}

/// Runs the program, and gives its exit code. `shown`: somebody looks at the progress.
async fn start(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
    shown: bool,
) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = if usage.use_stderr() { write!(stderr, "{usage}") } else { write!(stdout, "{usage}") };
            return u8::try_from(usage.exit_code()).unwrap_or(2);
        }
    };
    match run(arguments, stdout, stderr, shown).await {
        Ok(()) => 0,
        Err(failure) => {
            let _ = writeln!(stderr, "report: {failure}");
            1
        }
    }
}

async fn run(
    arguments: Arguments,
    stdout: &mut (dyn Write + Send),
    stderr: &mut (dyn Write + Send),
    shown: bool,
) -> Result<(), Failure> {
    // First of all, so that a file that cannot be written is known before a long night of work.
    let output = arguments.output.map(Output::to).transpose()?;
    let folder = tempfile::tempdir().map_err(Failure::Sample)?;
    let pool = match arguments.database {
        Some(file) => database::open(&file).await?,
        None => database::sample(&folder.path().join("sample.db")).await?,
    };
    let pool = if arguments.fresh { pool.fresh() } else { pool };
    let month = match arguments.month {
        Some(month) => month,
        None => sales::latest_month(&pool).await?.ok_or(Failure::Empty)?,
    };
    let sales = sales::of(&pool, month, &mut |done, of| {
        if shown {
            let _ = write!(stderr, "\r{done} of {of} orders");
        }
    })
    .await?;
    if shown {
        let _ = writeln!(stderr);
    }
    let text = arguments.format.render(&sales);
    sales::keep(&pool, &sales).await?;
    match output {
        Some(output) => output.replace(&text)?,
        None => stdout.write_all(text.as_bytes()).map_err(|source| Failure::Write { file: "stdout".into(), source })?,
    }
    let stats = pool.stats();
    let (spared, asked) = (stats.hits + stats.coalesced, stats.misses + stats.bypasses);
    let _ = writeln!(stderr, "{} queries, {spared} of them spared: {stats}", spared + asked);
    pool.close().await;
    Ok(())
}
