//! Prometheus and Alertmanager, and the tools that check and test what they are told.
//!
//! In: all four, from the machine or from where tests/run.sh unpacked them. Out: servers that ask and tell whom their
//! configuration names.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::daemon::{self, Daemon};

fn program(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([target.join("prometheus/usr/bin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("{name} is missing: tests/run.sh fetches it; by hand, it is in one of Debian's packages prometheus and prometheus-alertmanager")
    })
}

/// Runs promtool; what it printed, and whether it was content.
pub fn promtool(arguments: &[&str]) -> (String, bool) {
    told_by("promtool", arguments)
}

/// Runs amtool; what it printed, and whether it was content.
pub fn amtool(arguments: &[&str]) -> (String, bool) {
    told_by("amtool", arguments)
}

fn told_by(tool: &str, arguments: &[&str]) -> (String, bool) {
    let output = daemon::command(&program(tool), None).args(arguments).output().expect("the tool runs");
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

/// A private Alertmanager. Dropping it stops it and removes its folder.
pub struct Alertmanager {
    daemon: Daemon,
}

impl Alertmanager {
    /// Starts one with this configuration, alone.
    ///
    /// # Panics
    /// If it is missing or does not start.
    pub fn start(configuration: &Path) -> Self {
        let program = program("prometheus-alertmanager");
        let mut daemon = Daemon::new("larder-alertmanager-", None, None);
        let command = |daemon: &Daemon| -> Command {
            let mut command = daemon::command(&program, None);
            command.arg(format!("--config.file={}", configuration.display()));
            command.arg(format!("--storage.path={}", daemon.folder.join("data").display()));
            command.arg(format!("--web.listen-address=127.0.0.1:{}", daemon.port));
            command.arg("--cluster.listen-address=");
            command
        };
        daemon.launch_first(command, |daemon| {
            daemon.log().contains("Completed loading of configuration file")
                && std::net::TcpStream::connect(("127.0.0.1", daemon.port)).is_ok()
        });
        Self { daemon }
    }

    /// Where its API is.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v2/{path}", self.daemon.port)
    }
}
