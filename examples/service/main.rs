//! The web service of a small shop: products, customers, orders and a sales report, as JSON over HTTP, on SQLite.
//!
//! In: `cargo run --example service [-- shop.db]`; without a file it opens a temporary one with a few things to look at.
//! Out: HTTP on `127.0.0.1:3000`, or wherever `--listen` says. Its tests talk to it over a real port: `tests.rs`.
//!
//! It was written for sqlx alone, and moved to Larder afterwards: `git log examples/service` has the move in one commit.

mod customers;
mod db;
mod error;
mod extract;
#[cfg(test)]
mod never_stale;
mod orders;
mod paging;
mod products;
mod reports;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use clap::Parser;
use tokio::net::TcpListener;

use crate::db::SqlitePool;
use crate::error::AppError;

/// The routes of the shop.
fn app(pool: SqlitePool) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/products", get(products::list).post(products::create))
        .route("/products/{id}", get(products::show).put(products::update).delete(products::delete))
        .route("/categories", get(products::categories))
        .route("/customers", get(customers::list).post(customers::create))
        .route("/customers/{id}", get(customers::show))
        .route("/orders", get(orders::list).post(orders::place))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/reports/sales", get(reports::sales))
        .route("/stats", get(stats))
        .fallback(async || AppError::NotFound("page at this address"))
        .with_state(pool)
}

async fn health(State(pool): State<SqlitePool>) -> Result<StatusCode, AppError> {
    sqlx::query("SELECT 1").execute(&pool).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the cache did so far, and why.
async fn stats(State(pool): State<SqlitePool>) -> String {
    pool.stats().to_string()
}

/// A small shop over HTTP.
///
/// Example: service shop.db --listen 127.0.0.1:8080
#[derive(clap::Parser)]
struct Arguments {
    /// The shop's database, an SQLite file; made if it is not there. Without it: a temporary one with a sample
    file: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt::init();
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(Arguments { file, listen }: Arguments) -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let pool = match file {
        Some(file) => db::open(&file).await.map_err(|error| format!("cannot open {}: {error}", file.display()))?,
        None => {
            let pool = db::open(&temporary.path().join("shop.db")).await?;
            sqlx::raw_sql(include_str!("sample.sql")).execute(&pool).await?;
            pool
        }
    };
    let listener = TcpListener::bind(&listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let address = listener.local_addr()?;
    println!("The shop is open. Ask twice, and see what the second time cost:");
    println!("  curl http://{address}/products; curl http://{address}/products; curl http://{address}/stats");
    axum::serve(listener, app(pool.clone()))
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    pool.close().await;
    Ok(())
}
