//! What a second thread brings: hits of many tasks on the same few results.
//!
//! On a machine whose two cores have other things to do, a second thread may bring nothing at all. What sharing costs shows in
//! the time on the processor that a hit takes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{CachedPool, PgPool, QueryExt, Sessions};

use crate::typed::Bare;
use crate::{NUMBERED, Row, wanted};

/// Hits per second, and nanoseconds on the processor for each, on a runtime with that many threads: through sqlx, as rows, as
/// shared values, as those without statistics, and from moka alone.
async fn rates(url: String) -> [(f64, f64); 5] {
    let options = || sqlx::postgres::PgPoolOptions::new().max_connections(4);
    let straight = options().connect(&url).await.unwrap();
    let pool = options().connect(&url).await.unwrap();
    let cached: PgPool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
    let pool = options().connect(&url).await.unwrap();
    let off: PgPool =
        CachedPool::builder(pool, Sessions::Uniform).sole_writer().statistics(false).build().await.unwrap();
    let bare = Arc::new(Bare::with(Arc::default()));
    let read = |i: i64| sqlx::query_as::<_, Row>(NUMBERED.rows).bind(i % 16 + 1).bind(i % 16 + 1);
    macro_rules! rate {
        ($pool:expr, |$p:ident, $i:ident| $ask:expr) => {{
            let mut rates: Vec<(f64, f64)> = Vec::new();
            for _ in 0..5 {
                let (start, before) = (Instant::now(), on_processor());
                let tasks: Vec<_> = (0..8_i64)
                    .map(|task| {
                        let $p = $pool.clone();
                        tokio::spawn(async move {
                            let mut done = 0_i64;
                            while start.elapsed() < Duration::from_millis(600) {
                                let $i = task + done;
                                black_box($ask.await.unwrap());
                                done += 1;
                            }
                            done
                        })
                    })
                    .collect();
                let mut done = 0;
                for task in tasks {
                    done += task.await.unwrap();
                }
                let done = done as f64;
                rates.push((done / start.elapsed().as_secs_f64(), (on_processor() - before) * 1e9 / done));
            }
            rates.sort_by(|a, b| a.0.total_cmp(&b.0));
            rates[2]
        }};
    }
    [
        rate!(straight, |pool, i| read(i).fetch_all(&pool)),
        rate!(cached, |pool, i| read(i).fetch_all(&pool)),
        rate!(cached, |pool, i| read(i).cached(&pool).fetch_all()),
        rate!(off, |pool, i| read(i).cached(&pool).fetch_all()),
        rate!(bare, |cache, i| async {
            cache.get(i % 16 + 1, i % 16 + 1);
            // As often as a hit lets others run.
            tokio::task::coop::consume_budget().await;
            Ok::<_, sqlx::Error>(())
        }),
    ]
}

pub fn measure(url: &str) {
    let name = "postgres hits on 1 and 2 threads";
    if !wanted(name) {
        return;
    }
    let on = |threads: usize| {
        let url = url.to_owned();
        // A runtime cannot be entered from a thread of another.
        let run = move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
            runtime.block_on(async { tokio::spawn(rates(url)).await.unwrap() })
        };
        std::thread::spawn(run).join().unwrap()
    };
    let (one, two) = (on(1), on(2));
    for (n, what) in ["sqlx", "rows", "shared values", "without statistics", "moka"].into_iter().enumerate() {
        println!(
            "{:<44} 1 thread {:>9.0}/s {:>6.0} ns   2 threads {:>9.0}/s {:>6.0} ns   ratio {:>6.2}, of time on the processor {:.2}",
            format!("{name}, {what}"),
            one[n].0,
            one[n].1,
            two[n].0,
            two[n].1,
            two[n].0 / one[n].0,
            two[n].1 / one[n].1
        );
    }
}

/// Seconds that this process was on a processor so far; not a number where the system does not tell.
fn on_processor() -> f64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // Behind the name, which may hold anything, in hundredths of a second.
        let fields: Vec<f64> =
            text.rsplit(')').next()?.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Some(fields.iter().sum::<f64>() / 100.0)
    };
    read().unwrap_or(f64::NAN)
}
