//! The report of a running pool, as commands take it: from the application itself, or from a file.
//!
//! In: an address or a file. Out: a [`Report`]. What is no report, or not all of it, is refused.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::Failure;
use super::remote::{MOST, Remote, named};
use crate::Report;
use crate::wording::plain;

/// Where the report of a pool is.
#[derive(Debug, Args)]
pub(super) struct Snapshot {
    /// A running application: the address of its larder::admin page, such as http://127.0.0.1:9321/admin.
    #[arg(long, value_name = "ADMIN")]
    url: Option<String>,
    /// A report that was written as JSON, by `--format json` or Report::to_json; - is stdin.
    #[arg(long, value_name = "SNAPSHOT")]
    file: Option<String>,
    // What is needed beside something else is not asked for where that is ruled out by a third: so both are said.
    /// Which of the pools at --url, where there are several.
    #[arg(long, value_name = "NAME", requires = "url", conflicts_with = "file")]
    pool: Option<String>,
    /// The token of --url that may read. Others on this machine see arguments, but not the environment.
    #[arg(long, value_name = "TOKEN", env = "LARDER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// For how long --url is waited for.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration, requires = "url", conflicts_with = "file")]
    timeout: Duration,
}

impl Snapshot {
    /// Its report.
    pub async fn report(&self) -> Result<Report, Failure> {
        let Some(remote) = self.remote()? else { return self.filed() };
        let pool = match &self.pool {
            Some(pool) => pool.clone(),
            None => match <[String; 1]>::try_from(remote.pools().await?) {
                Ok([pool]) => pool,
                Err(pools) => {
                    return Err(Failure::Usage(plain(&format!("say which pool by --pool: {}", named(&pools)))));
                }
            },
        };
        self.of(&remote, &pool).await
    }

    /// The reports of all pools that are meant, by name. A file knows no name.
    pub async fn reports(&self) -> Result<Vec<(Option<String>, Report)>, Failure> {
        let Some(remote) = self.remote()? else { return Ok(vec![(None, self.filed()?)]) };
        let pools = match &self.pool {
            Some(pool) => vec![pool.clone()],
            None => remote.pools().await?,
        };
        let mut reports = Vec::new();
        for pool in pools {
            let report = self.of(&remote, &pool).await?;
            reports.push((Some(pool), report));
        }
        Ok(reports)
    }

    fn remote(&self) -> Result<Option<Remote>, Failure> {
        self.url.as_ref().map(|url| Remote::new(url, self.token.as_deref(), self.timeout)).transpose()
    }

    async fn of(&self, remote: &Remote, pool: &str) -> Result<Report, Failure> {
        parsed(self.url.as_deref().unwrap_or_default(), &remote.report(pool).await?)
    }

    fn filed(&self) -> Result<Report, Failure> {
        read(self.file.as_deref().unwrap_or("-"))
    }
}

/// The report in a file; `-` is stdin.
pub(super) fn read(path: &str) -> Result<Report, Failure> {
    let mut bytes = Vec::new();
    let (name, read) = match path {
        "-" => ("stdin", io::stdin().lock().take(MOST + 1).read_to_end(&mut bytes)),
        path => {
            let opened = std::fs::File::open(Path::new(path));
            (path, opened.and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes)))
        }
    };
    let failed = |why: &str| Failure::failed(plain(&format!("{name}: {why}")));
    read.map_err(|error| failed(&format!("it cannot be read: {error}")))?;
    if bytes.len() as u64 > MOST {
        return Err(failed(&format!("more than {MOST} bytes: that is no report")));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed("this is no report of Larder: it is not text"))?;
    parsed(name, &text)
}

fn parsed(name: &str, text: &str) -> Result<Report, Failure> {
    Report::from_json(text).map_err(|why| {
        // It may quote what it met.
        let why: String = why.to_string().chars().take(300).collect();
        Failure::failed(plain(&format!("{name}: {why}")))
    })
}
