//! The `larder` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use larder::cli::explain::Explain;

/// Tools around the Larder cache.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Explain(Explain),
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Explain(explain) => explain.run(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
