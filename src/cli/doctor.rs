//! `larder doctor`: what in a database limits caching.
//!
//! In: where the database is. Out: a list for people, or JSON. It changes nothing there.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde_json::json;

use super::Failure;
use super::database::Database;
use crate::{Limit, LimitKind};

/// Lists what in a database limits caching, and why.
///
/// Tables and views that are not kept, or only under a scope; writes that drop everything that is kept; functions that are not
/// followed. The database is only read.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// The database: postgres://user@host/database, mysql://.., mariadb://.. or sqlite:file.
    #[arg(long, value_name = "URL")]
    pub database_url: String,
    /// Print an array of objects.
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  larder doctor --database-url postgres://app@localhost/shop
  larder doctor --database-url sqlite:shop.db --json | jq '.[].name'";

impl Doctor {
    /// Runs the command.
    pub(crate) async fn run(&self) -> Result<(), Failure> {
        let limits = Database::open(&self.database_url).await?.limits().await?;
        let printed = match self.json {
            true => {
                let objects: Vec<_> = limits.iter().map(object).collect();
                writeln!(io::stdout().lock(), "{:#}", serde_json::Value::Array(objects))
            }
            false => people(&mut anstream::stdout().lock(), &limits),
        };
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error.to_string())),
            _ => Ok(()),
        }
    }
}

fn object(limit: &Limit) -> serde_json::Value {
    json!({
        "kind": limit.kind.label(),
        "name": limit.name,
        "reason": limit.reason.label(),
        "sentence": limit.sentence,
    })
}

fn people(out: &mut impl Write, limits: &[Limit]) -> io::Result<()> {
    let (bold, good) = (Style::new().bold(), AnsiColor::Green.on_default().bold());
    if limits.is_empty() {
        return writeln!(out, "{good}Nothing limits caching in this database.{good:#}");
    }
    const HEADINGS: [(LimitKind, &str); 5] = [
        (LimitKind::Database, "The whole database"),
        (LimitKind::Reads, "Reads that are not kept"),
        (LimitKind::Scope, "Reads that are kept only under a scope, by pool.scoped(..)"),
        (LimitKind::Writes, "Writes that drop everything that is kept"),
        (LimitKind::Function, "Functions that are not followed, so that no read that calls them is kept"),
    ];
    for (kind, heading) in HEADINGS {
        let of_kind: Vec<&Limit> = limits.iter().filter(|limit| limit.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        writeln!(out, "{bold}{heading}{bold:#}")?;
        for limit in of_kind {
            let name = if limit.name.is_empty() { String::new() } else { format!("{}: ", limit.name) };
            writeln!(out, "  {}", crate::wording::plain(&format!("{name}{}", limit.sentence)))?;
        }
    }
    out.flush()
}
