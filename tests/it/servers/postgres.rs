//! A private PostgreSQL server.
//!
//! In: the PostgreSQL of this machine. Out: URLs of fresh databases.
//! It never runs as root.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::daemon::{self, Daemon, new_name, not_root, run};

/// A private PostgreSQL server. Dropping it stops it and removes its folder.
///
/// What disturbs a server takes `&mut self`, so that nobody does it to the shared one.
pub struct Postgres {
    programs: &'static Programs,
    daemon: Daemon,
}

impl Postgres {
    /// The server shared by all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server of the caller's own.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start; the text says what to do, or shows the server's log.
    pub fn start() -> Self {
        let programs = Programs::find();
        let mut daemon = Daemon::new("larder-pg-", programs.run_as, Some("data/postmaster.pid"));
        programs.init(&daemon.folder);
        daemon.launch_first(|daemon| programs.server(daemon), is_ready);
        Self { programs, daemon }
    }

    /// Creates an empty database and returns its name.
    pub fn create_database(&self) -> String {
        let name = new_name();
        // template0: nobody is ever connected to it, so that tests can create databases side by side.
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"));
        name
    }

    /// Creates an empty database and returns its URL (TCP).
    pub fn fresh(&self) -> String {
        self.url(&self.create_database())
    }

    /// The URL of a database, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port())
    }

    /// The URL of a database, over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder().to_str().expect("a temporary folder with a plain name").replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port())
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

    /// Runs SQL as a client that knows nothing of Larder, and returns the rows: a line each, values joined by `|`.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        run(Command::new(self.programs.path("psql"))
            .env_clear()
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-p", &self.port().to_string(), "-h"])
            .arg(self.folder())
            .args(["-d", database, "-c", sql]))
    }

    /// Ends the server as a power cut would. Clients see their connections break.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Stops the server in good order: clients are disconnected, data is kept.
    pub fn stop(&mut self) {
        self.daemon.stop("INT");
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), or stops it and starts it: same port, same data.
    pub fn restart(&mut self) {
        self.stop();
        self.launch("ready", &[]);
    }

    /// Starts it again so that it goes on recovering and lets nobody in: to a client it is one that starts up, until
    /// [`restart`](Self::restart).
    pub fn restart_recovering(&mut self) {
        self.stop();
        fs::write(self.folder().join(STANDBY), "").expect("have the server wait for what another one wrote");
        self.launch("standby", &["-c", "hot_standby=off"]);
        fs::remove_file(self.folder().join(STANDBY)).expect("have it be no standby the next time");
    }

    fn launch(&mut self, state: &str, options: &[&str]) {
        let mut program = self.programs.server(&self.daemon);
        program.args(options);
        if let Err(log) = self.daemon.launch(program, |daemon| is_in_state(daemon, state)) {
            panic!("PostgreSQL did not start again; its log:\n{log}");
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

/// While this file is there, the server waits for another one, which there is not.
const STANDBY: &str = "data/standby.signal";

fn is_ready(daemon: &Daemon) -> bool {
    is_in_state(daemon, "ready")
}

/// By the file that pg_ctl reads, too: line 1 is the process, line 8 its state.
fn is_in_state(daemon: &Daemon, expected: &str) -> bool {
    let state = fs::read_to_string(daemon.folder.join("data/postmaster.pid")).unwrap_or_default();
    state.lines().next() == Some(&daemon.id().to_string())
        && state.lines().nth(7).is_some_and(|line| line.trim() == expected)
}

/// Where PostgreSQL is installed, and who may run it.
struct Programs {
    folder: PathBuf,
    /// User and group for the server when this process is root: initdb and postgres refuse to run as root.
    run_as: Option<(u32, u32)>,
}

impl Programs {
    fn find() -> &'static Self {
        static FOUND: OnceLock<Programs> = OnceLock::new();
        FOUND.get_or_init(|| {
            let Some(folder) = Self::folders().into_iter().find(|folder| Self::is_server(folder)) else {
                panic!(
                    "No PostgreSQL server (13 or newer) is installed, and these tests start their own.\n\
                     Debian, Ubuntu: apt-get install postgresql    Fedora: dnf install postgresql-server\n\
                     macOS: brew install postgresql                Or run tests/run.sh, which installs it on Debian."
                );
            };
            let run_as = not_root(&["postgres", "nobody"]);
            Self { folder, run_as }
        })
    }

    /// Folders that may hold it, the best guess first.
    fn folders() -> Vec<PathBuf> {
        let mut folders = Vec::new();
        // Debian keeps the server off the PATH, one folder per version; the newest first.
        for parent in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"] {
            let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(parent)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name().to_str()?.to_owned();
                    let version = ["postgresql@", "pgsql-", ""].iter().find_map(|lead| name.strip_prefix(lead))?;
                    Some((version.parse().ok()?, entry.path().join("bin")))
                })
                .collect();
            versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
            folders.extend(versions.into_iter().map(|(_, folder)| folder));
        }
        folders.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
            folders.insert(0, PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        }
        folders
    }

    fn is_server(folder: &Path) -> bool {
        let complete = ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file());
        complete
            && Command::new(folder.join("postgres")).arg("--version").output().is_ok_and(|output| {
                // `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `postgres (PostgreSQL) 18beta1`
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let version = text.split_whitespace().nth(2).unwrap_or_default();
                let major: String = version.chars().take_while(char::is_ascii_digit).collect();
                major.parse().is_ok_and(|major: u32| major >= 13)
            })
    }

    fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// A program of the server, to be run by the user who may.
    fn command(&self, program: &str) -> Command {
        daemon::command(&self.path(program), self.run_as)
    }

    /// Makes the data folder. Nothing in it needs to outlive the machine, so that nothing waits for the disk. What was
    /// committed must outlive `kill`, though: `synchronous_commit` stays on, which hands each commit to the kernel.
    fn init(&self, folder: &Path) {
        run(self
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(folder.join("data"))
            .current_dir(folder));
        let settings = "listen_addresses = '127.0.0.1'\n\
                        fsync = off\n\
                        full_page_writes = off\n\
                        max_connections = 200\n\
                        max_prepared_transactions = 20\n\
                        timezone = 'UTC'\n\
                        log_timezone = 'UTC'\n\
                        # In the data folder instead of /dev/shm: a killed server leaves nothing behind.\n\
                        dynamic_shared_memory_type = mmap\n";
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(folder.join("data/postgresql.conf"))
            .expect("open postgresql.conf");
        file.write_all(settings.as_bytes()).expect("write postgresql.conf");
    }

    /// The server itself.
    fn server(&self, daemon: &Daemon) -> Command {
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(daemon.folder.join("data"))
            .args(["-p", &daemon.port.to_string(), "-k"])
            .arg(&daemon.folder);
        command
    }
}
