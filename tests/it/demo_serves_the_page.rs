//! `larder demo --serve --break`: the page within a minute, and a database to stop and watch.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Ends with the test, however that ends.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn breaker(at: &str) -> Value {
    let told: Value = reqwest::get(format!("{at}/v1/breakers")).await.unwrap().json().await.unwrap();
    told["shop"][0].clone()
}

async fn until(at: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let told = breaker(at).await;
        if is(&told) {
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{told:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_goes_on_while_its_database_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_larder"));
    demo.args(["demo", "--serve", "127.0.0.1:0", "--break", "--rows", "5000"]).env("TMPDIR", folder.path());
    let mut demo = Demo(demo.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let said = lines.next().unwrap().unwrap();
    let at = said.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    assert!(lines.next().unwrap().unwrap().contains("Enter"), "{said}");
    assert!(reqwest::get(&at).await.unwrap().text().await.unwrap().contains("<h1>Larder</h1>"));
    let metrics = reqwest::get(format!("{at}/v1/metrics")).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("larder_requests_total{"), "{metrics}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut keys = demo.0.stdin.take().unwrap();

    keys.write_all(b"\n").unwrap();
    until(&at, |breaker| breaker["state"] != "closed").await;
    let caches = async || -> Value { reqwest::get(format!("{at}/v1/caches")).await.unwrap().json().await.unwrap() };
    let before = caches().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let meanwhile = caches().await;
    let grew = |what: &str| meanwhile["shop"][what].as_u64() > before["shop"][what].as_u64();
    assert!(grew("hits") && grew("stale"), "{before:#} {meanwhile:#}");

    keys.write_all(b"\n").unwrap();
    let closed = until(&at, |breaker| breaker["state"] == "closed").await;
    assert!(closed["transitions"].as_array().unwrap().len() >= 3, "{closed:#}");

    // Ended as a user ends it, it leaves nothing behind.
    crate::servers::signal("INT", &[demo.0.id()]).unwrap();
    let begun = Instant::now();
    let ended = loop {
        if let Some(status) = demo.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ended.success(), "{ended}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the shop is gone");
}

#[test]
fn it_listens_to_nobody_else() {
    let (_, error, code) = crate::support::larder(&["demo", "--serve", "0.0.0.0:0", "--rows", "1000"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("Access::tokens") || error.contains("127.0.0.1"), "{error}");
    let (_, error, code) = crate::support::larder(&["demo", "--break"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--serve"), "{error}");
}
