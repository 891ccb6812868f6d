//! A private MariaDB server.
//!
//! In: the MariaDB of this machine. Out: URLs of fresh databases.
//! It never runs as root, and never asks for a password.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::daemon::{self, Daemon, new_name, not_root, run};

/// A private MariaDB server. Dropping it stops it and removes its folder.
///
/// What disturbs a server takes `&mut self`, so that nobody does it to the shared one.
pub struct MariaDb {
    programs: &'static Programs,
    options: Vec<String>,
    daemon: Daemon,
    /// Databases that were created and not dropped.
    databases: Mutex<Vec<String>>,
}

impl MariaDb {
    /// The server shared by all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<MariaDb> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A second one, for tests that take their time beside those that take turns on the other.
    pub fn aside() -> &'static Self {
        static ASIDE: OnceLock<MariaDb> = OnceLock::new();
        ASIDE.get_or_init(Self::start)
    }

    /// Starts a server of the caller's own.
    ///
    /// # Panics
    /// If MariaDB is not installed or does not start; the text says what to do, or shows the server's log.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server of the caller's own with options such as `--lower-case-table-names=1`.
    ///
    /// # Panics
    /// As [`MariaDb::start`].
    pub fn start_with(options: &[&str]) -> Self {
        let programs = Programs::find();
        let options: Vec<String> = options.iter().map(|&option| option.into()).collect();
        let mut daemon = Daemon::new("larder-my-", programs.run_as, None);
        // One for each: a server that starts removes what another left in it.
        std::fs::create_dir(daemon.folder.join("tmp")).expect("create a folder for temporary tables");
        if let Some((user, group)) = programs.run_as {
            chown(daemon.folder.join("tmp"), Some(user), Some(group)).expect("give the folder to the server's user");
        }
        programs.init(&daemon.folder, &options);
        daemon.launch_first(|daemon| programs.server(daemon, &options), is_ready);
        Self { programs, options, daemon, databases: Mutex::default() }
    }

    /// Creates an empty database and returns its name.
    pub fn create_database(&self) -> String {
        let name = new_name();
        self.mysql("", &format!("CREATE DATABASE {name}"));
        self.databases().push(name.clone());
        name
    }

    /// Drops the databases that were created here: what is asked of a server's catalog takes longer the more it holds.
    pub fn clear(&self) {
        let drops: String = self.databases().drain(..).map(|name| format!("DROP DATABASE IF EXISTS {name};")).collect();
        if !drops.is_empty() {
            self.mysql("", &format!("SET foreign_key_checks = 0; {drops}"));
        }
    }

    fn databases(&self) -> MutexGuard<'_, Vec<String>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates an empty database and returns its URL (TCP).
    pub fn fresh(&self) -> String {
        self.url(&self.create_database())
    }

    /// The URL of a database, over TCP.
    pub fn url(&self, database: &str) -> String {
        self.url_of("root", database)
    }

    /// The URL of a database for a user without a password, over TCP.
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}/{database}?ssl-mode=disabled", self.port())
    }

    /// The URL of a database, over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let socket = socket(&self.daemon).to_str().expect("a temporary folder with a plain name").replace('/', "%2F");
        format!("mysql://root@localhost/{database}?socket={socket}")
    }

    /// The TCP port on 127.0.0.1. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.daemon.port
    }

    /// Where its data, log and socket are.
    pub fn folder(&self) -> &Path {
        &self.daemon.folder
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Runs SQL as a client that knows nothing of Larder, and returns the rows: a line each, values joined by tabs.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn mysql(&self, database: &str, sql: &str) -> String {
        run(daemon::command(&self.programs.client, None)
            .args(["--no-defaults", "--user=root", "--default-character-set=utf8mb4", "-NBe", sql])
            .arg(format!("--socket={}", socket(&self.daemon).display()))
            .arg(database))
    }

    /// Ends the server as a power cut would. Clients see their connections break.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Stops the server in good order: clients are disconnected, data is kept.
    pub fn stop(&mut self) {
        self.daemon.stop("TERM");
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), or stops it and starts it: same port, same data.
    pub fn restart(&mut self) {
        self.stop();
        if let Err(log) = self.daemon.launch(self.programs.server(&self.daemon, &self.options), is_ready) {
            panic!("MariaDB did not start again; its log:\n{log}");
        }
    }

    /// Freezes the server; see [`Daemon::pause`].
    pub fn pause(&mut self) {
        self.daemon.pause();
    }

    /// Lets a paused server go on where it was.
    pub fn resume(&mut self) {
        self.daemon.resume();
    }
}

fn is_ready(daemon: &Daemon) -> bool {
    daemon.log().contains("ready for connections")
}

fn socket(daemon: &Daemon) -> PathBuf {
    daemon.folder.join("socket")
}

/// Where MariaDB is installed, and who may run it.
struct Programs {
    server: PathBuf,
    install: PathBuf,
    client: PathBuf,
    /// User and group for the server when this process is root.
    run_as: Option<(u32, u32)>,
}

impl Programs {
    fn find() -> &'static Self {
        static FOUND: OnceLock<Programs> = OnceLock::new();
        FOUND.get_or_init(|| {
            let folders = || {
                let usual = ["/usr/sbin", "/usr/libexec", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
                std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).chain(usual).collect::<Vec<_>>()
            };
            let find = |program: &str| {
                folders().iter().map(|folder| folder.join(program)).find(|path| path.is_file()).unwrap_or_else(|| {
                    panic!(
                        "No MariaDB server (10.6 or newer) is installed: there is no {program}, and these tests start \
                         their own.\n\
                         Debian, Ubuntu: apt-get install mariadb-server    Fedora: dnf install mariadb-server\n\
                         macOS: brew install mariadb                       Or run tests/run.sh, which installs it on Debian."
                    )
                })
            };
            Self {
                server: find("mariadbd"),
                install: find("mariadb-install-db"),
                client: find("mariadb"),
                run_as: not_root(&["mysql", "nobody"]),
            }
        })
    }

    /// Makes the data folder.
    fn init(&self, folder: &Path, options: &[String]) {
        run(daemon::command(&self.install, self.run_as)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--tmpdir={}", folder.join("tmp").display()))
            .args(options)
            .current_dir(folder));
    }

    /// The server itself. Nothing in its folder needs to outlive the machine, so that nothing waits for the disk. What was
    /// committed must outlive `kill`, though: each commit is handed to the kernel.
    fn server(&self, daemon: &Daemon, options: &[String]) -> Command {
        let mut command = daemon::command(&self.server, self.run_as);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", daemon.folder.join("data").display()))
            .arg(format!("--tmpdir={}", daemon.folder.join("tmp").display()))
            .arg(format!("--socket={}", socket(daemon).display()))
            .arg(format!("--pid-file={}", daemon.folder.join("pid").display()))
            .args(["--bind-address=127.0.0.1", &format!("--port={}", daemon.port)])
            .args(["--skip-name-resolve", "--max-connections=400", "--max-allowed-packet=64M"])
            .args(["--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"])
            .args(["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=OFF", "--innodb-use-native-aio=OFF"])
            .args(options);
        command
    }
}
