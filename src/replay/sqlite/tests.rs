//! Replay against real SQLite databases.
use super::*;

#[tokio::test]
async fn starts() {
    let begun = std::time::Instant::now();
    SqliteReplay::start().await.unwrap();
    println!("self-test: {:?}", begun.elapsed());
}
