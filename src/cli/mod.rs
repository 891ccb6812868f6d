//! The command line: one file or folder per command.
//!
//! In: arguments. Out: text or JSON on stdout, progress and errors on stderr, an exit code.
//! It never uses more of the crate than its users can.

mod check;
mod database;
mod demo;
mod doctor;
mod explain;
mod history;
mod monitoring;
mod output;
mod proxy;
mod remote;
mod report;
mod snapshot;
mod soak;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a command ended without doing its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense. Exit code 2.
    Usage(String),
    /// It could not be done. Exit code 1.
    Failed(String),
    /// It was done, and what was looked at is not as it should be: for these reasons, as far as they were not printed. Exit code 3.
    NotWell(Vec<String>),
    /// The user ended it. Exit code 130, as shells have it.
    Interrupted,
}

impl Failure {
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }
}

/// Replaces an sqlx pool by one that answers reads from memory and never gives a wrong answer.
#[derive(Debug, Parser)]
#[command(name = "larder", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Explain(explain::Explain),
    Doctor(doctor::Doctor),
    Report(report::Report),
    Check(check::Check),
    History(history::History),
    Monitoring(monitoring::Monitoring),
    Watch(watch::Watch),
    Soak(soak::Soak),
    #[command(hide = true)]
    SoakNode(soak::Node),
}

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(async {
                match cli.command {
                    Command::Demo(args) => demo::run(args).await,
                    Command::Explain(explain) => explain.run().await,
                    Command::Doctor(doctor) => doctor.run().await,
                    Command::Report(report) => report.run().await,
                    Command::Check(check) => check.run().await,
                    Command::History(history) => history.run().await,
                    Command::Monitoring(monitoring) => monitoring.run(),
                    Command::Watch(watch) => watch.run().await,
                    Command::Soak(soak) => soak.run().await,
                    Command::SoakNode(node) => node.run().await,
                }
            });
            // Without waiting, as for a name server that does not answer.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::failed(format!("cannot start: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => fail(&text, 2),
        Err(Failure::Failed(text)) => fail(&text, 1),
        Err(Failure::NotWell(reasons)) => {
            reasons.iter().for_each(|reason| told("failed", reason));
            ExitCode::from(3)
        }
        Err(Failure::Interrupted) => fail("interrupted", 130),
    }
}

/// Something that is worth knowing, and no error.
fn note(text: &str) {
    anstream::eprintln!("note: {text}");
}

fn fail(text: &str, code: u8) -> ExitCode {
    told("error", text);
    ExitCode::from(code)
}

fn told(what: &str, text: &str) {
    let style = anstyle::AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{style}{what}:{style:#} {text}");
}
