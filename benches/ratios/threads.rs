//! What a second thread brings: hits of many tasks on the same few results.

use std::hint::black_box;
use std::time::{Duration, Instant};

use larder::{CachedPool, PgPool, QueryExt, Sessions};

use crate::{ROWS, Row, wanted};

/// Hits per second on a runtime with that many threads: through sqlx, as rows, as shared values.
async fn rates(url: String) -> [f64; 3] {
    let options = || sqlx::postgres::PgPoolOptions::new().max_connections(4);
    let straight = options().connect(&url).await.unwrap();
    let pool = options().connect(&url).await.unwrap();
    let cached: PgPool = CachedPool::builder(pool, Sessions::Uniform).sole_writer().build().await.unwrap();
    let read = |i: i64| sqlx::query_as::<_, Row>(ROWS).bind(i % 16 + 1).bind(i % 16 + 1);
    macro_rules! rate {
        ($pool:expr, |$p:ident, $i:ident| $ask:expr) => {{
            let mut rates: Vec<f64> = Vec::new();
            for _ in 0..5 {
                let start = Instant::now();
                let tasks: Vec<_> = (0..8_i64)
                    .map(|task| {
                        let $p = $pool.clone();
                        tokio::spawn(async move {
                            let mut done = 0_i64;
                            while start.elapsed() < Duration::from_millis(400) {
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
                rates.push(done as f64 / start.elapsed().as_secs_f64());
            }
            rates.sort_by(f64::total_cmp);
            rates[2]
        }};
    }
    [
        rate!(straight, |pool, i| read(i).fetch_all(&pool)),
        rate!(cached, |pool, i| read(i).fetch_all(&pool)),
        rate!(cached, |pool, i| read(i).cached(&pool).fetch_all()),
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
    for (n, what) in ["sqlx", "rows", "shared values"].into_iter().enumerate() {
        println!(
            "{:<44} 1 thread {:>9.0}/s   2 threads {:>9.0}/s   ratio {:>6.2}",
            format!("{name}, {what}"),
            one[n],
            two[n],
            two[n] / one[n]
        );
    }
}
