//! Hits, misses and writes at once, as an application makes them.

/// Eight tasks that do one thing after the other for a while: some steps in 10,000 write a row, four of five others read one
/// of 100 rows that everybody wants, the fifth one of all 20,000. Each write voids all that was kept of the table.
macro_rules! measure {
    ($name:expr, $straight:expr, $cached:expr, $writes:expr, $texts:expr) => {{
        let mut rates = [const { Vec::new() }; 2];
        let before = $cached.stats();
        for round in 0..5_u64 {
            rates[0].push($crate::mixed::run!($straight, round, $writes, $texts));
            rates[1].push($crate::mixed::run!($cached, round, $writes, $texts));
        }
        let after = $cached.stats();
        let [(straight, straight_p99), (cached, cached_p99)] = rates.map(|mut rates: Vec<(f64, f64)>| {
            rates.sort_by(|a, b| a.0.total_cmp(&b.0));
            rates[2]
        });
        let spared = (after.hits + after.coalesced - before.hits - before.coalesced) as f64;
        let asked = spared + (after.misses - before.misses) as f64;
        println!(
            "{:<44} sqlx {straight:>9.0}/s (p99 {straight_p99:>6.0} µs)   larder {cached:>9.0}/s (p99 {cached_p99:>6.0} µs)   {:.2}x, hit rate {:.0} %",
            $name,
            cached / straight,
            100.0 * spared / asked
        );
    }};
}

macro_rules! run {
    ($pool:expr, $round:expr, $writes:expr, $texts:expr) => {{
        let start = Instant::now();
        let length = Duration::from_millis(1000);
        let tasks: Vec<_> = (0..8_u64)
            .map(|task| {
                let pool = $pool.clone();
                tokio::spawn(async move {
                    let mut dice = $crate::mixed::Dice(1 + task + 8 * $round);
                    let (mut done, mut times) = (0_usize, $crate::Sample::default());
                    while start.elapsed() < length {
                        let began = Instant::now();
                        let (what, row) = (dice.below(10_000), dice.below(20_000) as i64 + 1);
                        if what < $writes {
                            sqlx::query($texts.update).bind(1.5).bind(row).execute(&pool).await.unwrap();
                        } else {
                            let row = if what % 5 > 0 { 1 + row % 100 } else { row };
                            let read = sqlx::query_as::<_, Row>($texts.rows).bind(row).bind(row);
                            black_box(read.fetch_all(&pool).await.unwrap());
                        }
                        times.0.push(began.elapsed().as_nanos() as u64);
                        done += 1;
                    }
                    (done, times)
                })
            })
            .collect();
        let (mut done, mut times) = (0, $crate::Sample::default());
        for task in tasks {
            let (steps, took) = task.await.unwrap();
            done += steps;
            times.0.extend(took.0);
        }
        (done as f64 / start.elapsed().as_secs_f64(), times.quantile(0.99))
    }};
}

/// The same steps in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

pub(crate) use {measure, run};
