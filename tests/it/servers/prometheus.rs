//! Prometheus, and the tool that checks and tests its rules.
//!
//! In: both, from the machine or from where tests/run.sh unpacked them. Out: a server that asks whom its configuration names.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{self, Daemon};

fn program(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([target.join("prometheus/usr/bin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("{name} is missing: tests/run.sh fetches it; by hand, it is in Debian's package prometheus")
    })
}

/// Runs promtool; what it printed, and whether it was content.
pub fn promtool(arguments: &[&str]) -> (String, bool) {
    let output = daemon::command(&program("promtool"), None).args(arguments).output().expect("promtool runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ([text(&output.stdout), text(&output.stderr)].concat(), output.status.success())
}

/// A private server. Dropping it stops it and removes its folder.
pub struct Prometheus {
    daemon: Daemon,
}

impl Prometheus {
    /// Starts one with this configuration.
    ///
    /// # Panics
    /// If it is missing or does not start.
    pub fn start(configuration: &Path) -> Self {
        let program = program("prometheus");
        let mut daemon = Daemon::new("larder-prometheus-", None, None);
        let command = |daemon: &Daemon| -> Command {
            let mut command = daemon::command(&program, None);
            command.arg(format!("--config.file={}", configuration.display()));
            command.arg(format!("--storage.tsdb.path={}", daemon.folder.join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{}", daemon.port));
            command
        };
        daemon.launch_first(command, |daemon| daemon.log().contains("Server is ready to receive web requests"));
        Self { daemon }
    }

    /// Where its API is.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{path}", self.daemon.port)
    }
}
