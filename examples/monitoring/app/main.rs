//! A small shop on Postgres that is read and written all the time and tells its metrics: what the monitoring kit watches.
//!
//! In: `DATABASE_URL`, and `REDIS_URL` if nodes share through Redis (feature `redis`). Out: `/metrics` and `/health` over HTTP, on
//! `127.0.0.1:8080` or wherever `--listen` says.
//!
//! It shows the order that matters: the recorder first, then the pool.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use clap::Parser;
use larder::{CachedPool, PgPool, Sessions};
use metrics_exporter_prometheus::PrometheusBuilder;
use rand::RngExt;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const SHOP: &str = "CREATE TABLE IF NOT EXISTS products (id INT PRIMARY KEY, name TEXT NOT NULL, stock INT NOT NULL);
    INSERT INTO products SELECT n, 'product ' || n, 100 FROM generate_series(1, 500) n ON CONFLICT DO NOTHING";
/// Readers, each of which thinks for a moment after each read.
const READERS: usize = 4;

/// A shop to be watched.
///
/// Example: DATABASE_URL=postgres://app@localhost/shop monitored --listen 127.0.0.1:8080
#[derive(clap::Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt::init();
    let Arguments { listen } = Arguments::parse();
    // Before the pool is built: what is built earlier tells nothing.
    let recorder = PrometheusBuilder::new().install_recorder()?;
    let pool = open(&env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?).await?;
    for _ in 0..READERS {
        tokio::spawn(read(pool.clone()));
    }
    tokio::spawn(write(pool.clone()));

    let upkeep = recorder.clone();
    tokio::spawn(async move {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            upkeep.run_upkeep();
        }
    });
    let app = Router::new()
        .route("/health", get(health))
        .with_state(pool.clone())
        .route("/metrics", get(async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], recorder.render())));
    let listener = TcpListener::bind(&listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("curl http://{}/metrics", listener.local_addr()?);
    // A container is ended by SIGTERM.
    let mut end = signal(SignalKind::terminate())?;
    let ended = async move {
        tokio::select! {
            _ = end.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    axum::serve(listener, app).with_graceful_shutdown(ended).await?;
    pool.close().await;
    Ok(())
}

async fn open(url: &str) -> Result<PgPool, Box<dyn Error>> {
    let inner = sqlx::postgres::PgPoolOptions::new().max_connections(10).connect(url).await?;
    sqlx::raw_sql(SHOP).execute(&inner).await?;
    let builder = CachedPool::builder(inner, Sessions::Uniform).audit(0.01);
    #[cfg(feature = "redis")]
    let builder = match env::var("REDIS_URL") {
        Ok(url) => builder.redis(url),
        Err(_) => builder,
    };
    Ok(builder.build().await?)
}

/// A few products are wanted most, as in any shop.
fn wanted() -> i32 {
    let least = rand::rng().random_range(1..=500);
    rand::rng().random_range(1..=least)
}

async fn read(pool: PgPool) {
    loop {
        let read = sqlx::query_as::<_, (String, i32)>("SELECT name, stock FROM products WHERE id = $1");
        // Trouble is what the metrics are for.
        let _ = read.bind(wanted()).fetch_optional(&pool).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn write(pool: PgPool) {
    loop {
        let write = sqlx::query("UPDATE products SET stock = stock + 1 WHERE id = $1");
        let _ = write.bind(wanted()).execute(&pool).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Ready is who can answer, be it from what is kept alone: without a database, all nodes would be taken away at once.
async fn health(State(pool): State<PgPool>) -> StatusCode {
    if pool.is_closed() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}
