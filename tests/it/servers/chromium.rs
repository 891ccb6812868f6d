//! A Chromium that does what a test says.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thirtyfour::{By, CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};

use super::daemon::{Daemon, command};

/// A driver on a free port. Dropped, it ends, and its browsers with it.
pub struct Chromium {
    daemon: Daemon,
}

/// A page, and what its browser wrote down.
pub struct Page {
    pub driver: WebDriver,
    at: String,
}

impl Chromium {
    /// # Panics
    /// If Debian's `chromium` and `chromium-driver` are not installed.
    pub fn start() -> Self {
        let program = find("chromedriver");
        let mut daemon = Daemon::new("chromium", None, None);
        daemon.launch_first(
            |daemon| {
                let mut driver = command(&program, None);
                driver.arg(format!("--port={}", daemon.port)).env("HOME", &daemon.folder);
                driver
            },
            |daemon| std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok(),
        );
        Self { daemon }
    }

    /// A page of this size, in a browser of its own.
    pub async fn open(&self, url: &str, (width, height): (u32, u32), scheme: &str) -> Page {
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"] {
            wanted.add_arg(argument).unwrap();
        }
        // As root, Chromium has no sandbox.
        wanted.add_arg("--no-sandbox").unwrap();
        wanted.add_arg(&format!("--window-size={width},{height}")).unwrap();
        wanted.set("goog:loggingPrefs", json!({"browser": "ALL"})).unwrap();
        let base = format!("http://127.0.0.1:{}", self.daemon.port);
        let driver = WebDriver::new(&base, wanted).await.expect("a browser");
        let page = Page { at: format!("{base}/session/{}", driver.session_id()), driver };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        page.tell("Emulation.setDeviceMetricsOverride", size).await;
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        page.tell("Emulation.setEmulatedMedia", media).await;
        page.driver.goto(url).await.expect("a page");
        page
    }
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!("{program} is not installed: run tests/run.sh, or apt-get install chromium chromium-driver")
    })
}

impl Page {
    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = reqwest::Client::new().post(format!("{}{path}", self.at)).json(&body).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["value"].get("error").is_none(), "{answer}");
        answer["value"].clone()
    }

    async fn tell(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await;
    }

    /// What a script returns.
    pub async fn ask(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// The text of the first element that a selector finds.
    pub async fn text(&self, selector: &str) -> String {
        self.driver.find(By::Css(selector)).await.unwrap().text().await.unwrap()
    }

    /// What the browser complained of since it was asked last.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// As an image, for people to look at.
    pub async fn picture(&self, file: &Path) {
        self.driver.screenshot(file).await.unwrap();
    }

    pub async fn close(self) {
        self.driver.quit().await.unwrap();
    }
}
