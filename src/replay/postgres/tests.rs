//! Replay against a real PostgreSQL.
use super::*;

#[tokio::test]
async fn starts() {
    let begun = std::time::Instant::now();
    PostgresReplay::start().await.unwrap();
    println!("self-test: {:?}", begun.elapsed());
}
