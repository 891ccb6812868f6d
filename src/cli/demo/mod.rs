//! `larder demo`: the same load on the same shop, first straight through sqlx, then through Larder.
//!
//! In: where the shop may stand and how large the load is. Out: both measured side by side, and the answers compared.
//! It never leaves anything behind, and never reports a gain without the number of wrong answers beside it.

mod check;
mod fill;
mod ground;
mod mix;
mod report;
mod run;
mod schema;
mod serve;
mod shop;
mod tally;

use std::future::Future;
use std::io::IsTerminal;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::check::Comparison;
use self::ground::{Ground, MySqlGround, PostgresGround, SqliteGround};
use self::mix::Size;
use self::report::Report;
use self::run::Load;
use self::shop::Shop;
use crate::cli::Failure;

/// Runs a shop straight through sqlx and then through Larder, and compares speed and answers.
///
/// Readers run as fast as they can. Of 1000 reads 700 look up a product or a customer, 150 join an order
/// with its lines and products, 120 list reviews or related products, 25 find the best sellers of a category, 5 report
/// the revenue per month. Writers keep to a fixed rate: of 1000 writes 250 are orders, transactions of four statements,
/// 546 deliveries of stock, 200 reviews, 2 new prices and 2 changes of address. Popular rows are read and written most.
///
/// Meanwhile and afterwards the answers are compared with the database's own. Any that differs makes the command fail.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Database to use, as postgres://user@host/database or mysql://user@host; without it, SQLite in a temporary file.
    ///
    /// The shop gets a schema of its own in Postgres, a database of its own in MySQL or MariaDB, which is dropped at the
    /// end. Nothing else is touched.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,

    /// How long each of the two runs is measured.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// About how many rows the shop starts with, in all tables together.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    rows: u32,

    /// Writes per second; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    writes_per_second: u32,

    /// Tasks that read, each as fast as it can.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    readers: u32,

    /// Connections in the pool.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pool_size: u32,

    /// The same number gives the same shop and the same load.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,

    /// Keep the shop instead of removing it.
    #[arg(long)]
    keep: bool,

    /// Instead of measuring, run the shop through Larder until Ctrl-C, and serve the page for those who operate it at this address.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9321", conflicts_with = "json")]
    serve: Option<String>,

    /// With --serve: each Enter stops the database, or starts it again.
    #[arg(long = "break", requires = "serve")]
    breaks: bool,
}

const EXAMPLES: &str = "\
Examples:
  larder demo
  larder demo --database-url postgres://postgres@localhost/postgres --seconds 30
  larder demo --database-url mysql://root@localhost
  larder demo --writes-per-second 200 --json | jq .speedup
  larder demo --serve
  larder demo --serve 127.0.0.1:8080 --break --database-url postgres://postgres@localhost/postgres";

/// Runs the command.
pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupt = Interrupt::listen()?;
    match &args.database_url {
        None => on(SqliteGround::new()?, &args, &mut interrupt).await,
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
            let reached = interrupt.unless(PostgresGround::reach(url)).await?;
            on(PostgresGround::create(reached).await?, &args, &mut interrupt).await
        }
        Some(url) if url.starts_with("mysql://") || url.starts_with("mariadb://") => {
            let reached = interrupt.unless(MySqlGround::reach(url)).await?;
            on(MySqlGround::create(reached).await?, &args, &mut interrupt).await
        }
        Some(_) => Err(Failure::Usage(
            "--database-url must begin with postgres:// or mysql://; leave it out to use SQLite in a temporary file"
                .to_owned(),
        )),
    }
}

/// Runs on a ground, and leaves it whatever happened there.
async fn on<G: Ground>(ground: G, args: &Args, interrupt: &mut Interrupt) -> Result<(), Failure> {
    let place = ground.to_string();
    if let Some(address) = &args.serve {
        let ended = interrupt.unless(serve(&ground, args, address)).await;
        ground.leave(args.keep).await?;
        return match ended {
            // That is how it ends.
            Err(Failure::Interrupted) => Ok(()),
            ended => ended,
        };
    }
    let report = interrupt.unless(both(&ground, args)).await;
    let kept = ground.leave(args.keep).await;
    let report = report?;
    report.print(&place, args.json);
    if let Some(kept) = kept? {
        eprintln!("Kept: {kept}");
    }
    match report.mismatches {
        0 => Ok(()),
        count => Err(Failure::failed(format!("{count} answers were not what the database says"))),
    }
}

async fn serve<G: Ground>(ground: &G, args: &Args, address: &str) -> Result<(), Failure> {
    let load = Load::of(args);
    fill(ground, &load, args.rows).await?;
    serve::serve(ground, &load, args.pool_size, address, args.breaks).await
}

/// The two runs, one after the other, each on the same rows.
async fn both<G: Ground>(ground: &G, args: &Args) -> Result<Report, Failure> {
    let load = Load::of(args);
    let database = |error: sqlx::Error| Failure::failed(error.to_string());

    fill(ground, &load, args.rows).await?;
    let shop = ground.straight(args.pool_size).await.map_err(database)?;
    let progress = Progress::of_time("Straight through sqlx", load.warm_up + load.duration);
    let direct = run::run(shop.clone(), None::<G::Straight>, &load, Arc::default()).await?;
    drop(progress);
    shop.close().await;

    fill(ground, &load, args.rows).await?;
    let shop = tally::listen(ground.cached(args.pool_size)).await.map_err(database)?;
    let straight = ground.straight(1).await.map_err(database)?;
    let comparison = Arc::new(Comparison::default());
    let progress = Progress::of_time("Through Larder", load.warm_up + load.duration);
    let cached = run::run(shop.clone(), Some(straight.clone()), &load, comparison.clone()).await?;
    drop(progress);
    shop.close().await;
    straight.close().await;

    Ok(Report {
        load,
        rows: args.rows,
        pool_size: args.pool_size,
        direct,
        cached,
        checked: comparison.checked(),
        mismatches: comparison.mismatches(),
        examples: comparison.examples(),
    })
}

impl Load {
    fn of(args: &Args) -> Self {
        Self {
            size: Size::of(args.rows),
            readers: args.readers,
            writes_per_second: args.writes_per_second,
            warm_up: Duration::from_secs_f64((f64::from(args.seconds) / 5.0).min(2.0)),
            duration: Duration::from_secs(args.seconds.into()),
            seed: args.seed,
        }
    }
}

async fn fill<G: Ground>(ground: &G, load: &Load, rows: u32) -> Result<(), Failure> {
    patiently(ground.clear()).await?;
    let pool = patiently(ground.straight(1)).await?;
    let progress = Progress::of_rows("Filling the shop", rows);
    for batch in fill::batches(load.size, load.seed) {
        patiently(ground.run(&pool, batch.sql)).await?;
        progress.bar.inc(batch.rows.into());
    }
    patiently(ground.settle(&pool)).await?;
    pool.close().await;
    Ok(())
}

/// Gives the database time for one step of the preparation, but not for ever.
async fn patiently<T>(step: impl Future<Output = sqlx::Result<T>>) -> Result<T, Failure> {
    const PATIENCE: Duration = Duration::from_secs(120);
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::failed(format!("cannot fill the shop: {error}"))),
        Err(_) => Err(Failure::failed(format!("cannot fill the shop: no answer for {PATIENCE:?}"))),
    }
}

/// Ctrl-C, or a polite request to end.
struct Interrupt {
    signals: [Signal; 2],
}

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")));
        Ok(Self { signals: [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?] })
    }

    /// Runs a future to its end, or drops it when the user has had enough.
    async fn unless<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let [ctrl_c, terminate] = &mut self.signals;
        let (ctrl_c, terminate) = (pin!(ctrl_c.recv()), pin!(terminate.recv()));
        match select(pin!(work), select(ctrl_c, terminate)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Failure::Interrupted),
        }
    }
}

/// A bar on the terminal, or a line where there is none. Gone when dropped.
struct Progress {
    bar: ProgressBar,
    ticker: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    fn new(title: &'static str, length: u64, template: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{title} ...");
        }
        let style = ProgressStyle::with_template(template).expect("a sound template").progress_chars("━╸─");
        let bar = ProgressBar::new(length).with_style(style).with_message(title);
        Self { bar, ticker: None }
    }

    fn of_rows(title: &'static str, rows: u32) -> Self {
        Self::new(title, rows.into(), "{msg:22} {bar:30.cyan/dim} {human_pos} of {human_len} rows")
    }

    fn of_time(title: &'static str, duration: Duration) -> Self {
        let mut progress = Self::new(title, duration.as_millis() as u64, "{msg:22} {bar:30.cyan/dim} {elapsed}");
        let bar = progress.bar.clone();
        progress.ticker = Some(tokio::spawn(async move {
            loop {
                bar.set_position(bar.elapsed().as_millis() as u64);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }));
        progress
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
        self.bar.finish_and_clear();
    }
}
