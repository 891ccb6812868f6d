//! `larder demo --serve`: the shop at work, with the page on.
//!
//! In: a ground, an address. Out: nothing but the page, until the user has had enough.
//! Nobody counts here: the readers leave time for whoever looks, and what fails while the database is away fails.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::check::Floors;
use super::ground::{Ground, Lever};
use super::mix::Mix;
use super::run::Load;
use super::shop::Shop;
use crate::admin::{Access, Admin};
use crate::cli::Failure;
use crate::{BreakerOptions, Builder, Policy, Window};

/// Between two reads of a reader.
const PAUSE: Duration = Duration::from_millis(2);
/// After one that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Orders that there is room for: some days of them.
const WRITES: usize = 2_000_000;

/// How a pool is set up that is to be watched: what is the matter with the database shows soon, and older answers are given out
/// meanwhile.
pub(super) fn watched<DB: crate::Backend>(builder: Builder<DB>) -> Builder<DB> {
    let breaker = BreakerOptions::new()
        .window(Window::Calls(20))
        .minimum_calls(10)
        .pause(Duration::from_secs(1), Duration::from_secs(5));
    let outlives = Policy::default().stale_if_error(Duration::from_secs(600));
    builder.sole_writer().policy(outlives).breaker(breaker).audit(0.001)
}

/// Serves until it is dropped.
pub(super) async fn serve<G: Ground>(
    ground: &G,
    load: &Load,
    connections: u32,
    address: &str,
    breaks: bool,
) -> Result<(), Failure> {
    let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder();
    let exporter = exporter.map_err(|error| Failure::failed(format!("cannot collect metrics: {error}")))?;
    let (shop, mut lever) = ground.served(connections).await.map_err(|error| Failure::failed(error.to_string()))?;
    let admin = Admin::new(Access::open()).metrics({
        let exporter = exporter.clone();
        move || exporter.render()
    });
    let bound = G::show(admin, &shop).bind(address).await;
    let (listener, router) = bound.map_err(|error| Failure::failed(format!("cannot serve at {address}: {error}")))?;
    let at = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;

    let run = Arc::new((shop, Mix::new(&load.size), Floors::new(&load.size, WRITES)));
    // Dropping the set ends the tasks.
    let mut tasks: JoinSet<()> = JoinSet::new();
    for reader in 0..load.readers {
        tasks.spawn(read(run.clone(), load.seed ^ (u64::from(reader) + 1) << 32));
    }
    if load.writes_per_second > 0 {
        tasks.spawn(write(run, load.seed, Duration::from_secs(1) / load.writes_per_second));
    }
    tasks.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            exporter.run_upkeep();
        }
    });
    tasks.spawn(async move { drop(axum::serve(listener, router).await) });
    println!("The page is at http://{at}/admin until you press Ctrl-C.");
    if breaks {
        println!("Press Enter to stop the database, and again to start it.");
        return toggle(&mut lever).await;
    }
    std::future::pending().await
}

async fn read<S: Shop>(run: Arc<(S, Mix, Floors)>, seed: u64) {
    let (shop, mix, floors) = &*run;
    let mut rng = SmallRng::seed_from_u64(seed);
    loop {
        let question = mix.question(&mut rng, floors.newest_order());
        let pause = if shop.ask(question).await.is_ok() { PAUSE } else { AFTER_FAILURE };
        tokio::time::sleep(pause).await;
    }
}

async fn write<S: Shop>(run: Arc<(S, Mix, Floors)>, seed: u64, pause: Duration) {
    let (shop, mix, floors) = &*run;
    let mut rng = SmallRng::seed_from_u64(!seed);
    for _ in 0..WRITES {
        let change = mix.change(&mut rng, |row| floors.new_id(row));
        if shop.change(&change).await.is_ok() {
            floors.confirm(&change);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Each line that the user sends stops the database, or starts it again.
async fn toggle(lever: &mut Lever) -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut is_stopped = false;
    while let Ok(Some(_)) = lines.next_line().await {
        is_stopped = !is_stopped;
        let done = if is_stopped { lever.stop().await } else { lever.start().await };
        done.map_err(|error| Failure::failed(format!("the database could not be switched: {error}")))?;
        let state = if is_stopped { "stopped" } else { "started again" };
        if std::io::stderr().is_terminal() {
            eprint!("\x1b[1A");
        }
        eprintln!("The database was {state}.");
    }
    // Nobody types any more, as where there is no terminal: it goes on as it is.
    std::future::pending().await
}
