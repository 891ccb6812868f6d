//! What counting by statement costs: a pool with statistics against one without, in turn.

/// Hits as rows and as shared values, and misses.
macro_rules! measure {
    ($database:literal, $off:expr, $on:expr, $texts:expr) => {{
        let (off, on) = ($off, $on);
        let read = |i: i64| sqlx::query_as::<_, Row>($texts.rows).bind(i).bind(i);
        for (what, block) in [("rows", 200), ("shared values", 500), ("misses", 20)] {
            let name = format!("{} statistics, {what}", $database);
            if !wanted(&name) {
                continue;
            }
            let mut samples = [const { Vec::new() }; 2];
            for round in 0..300_i64 {
                for (n, pool) in [off, on].into_iter().enumerate() {
                    let start = Instant::now();
                    for i in 0..block {
                        match what {
                            "rows" => drop(black_box(read(7).fetch_all(pool).await.unwrap())),
                            "shared values" => drop(black_box(read(7).cached(pool).fetch_all().await.unwrap())),
                            _ => drop(black_box(read(20 + round * block + i).fetch_all(pool).await.unwrap())),
                        }
                    }
                    samples[n].push(start.elapsed().as_nanos() as f64 / block as f64);
                }
            }
            let [off, on] = samples.map(|mut sample| {
                sample.sort_by(f64::total_cmp);
                sample[sample.len() / 2]
            });
            println!(
                "{name:<44} off {off:>9.0} ns   on {on:>9.0} ns   ratio {:>7.3}   {:>+8.0} ns",
                on / off,
                on - off
            );
        }
    }};
}

pub(crate) use measure;
