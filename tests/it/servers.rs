//! Starts real database servers for tests and benches, private to the process: own port, own data folder, gone when the
//! process is gone, whatever ended it.
//!
//! In: the servers installed on this machine. Out: URLs of fresh databases, and servers that a test may kill or pause.
//! It never uses a server that was already running, never leaves one behind, and never skips: no server, a failed test.
//!
//! It stands alone, so that unit tests and benches can take it too:
//! `#[path = "../tests/it/servers.rs"] mod servers;`
//!
//! A test that only reads and writes takes a database of its own in the shared server:
//!
//! ```ignore
//! let pool = larder::PgPool::connect(&servers::postgres()).await?;
//! ```
//!
//! One that disturbs the server starts its own. The calls block for as long as the server takes.
//!
//! ```ignore
//! let mut server = Postgres::start();
//! let pool = larder::PgPool::connect(&server.fresh()).await?;
//! server.pause();
//! ```

#![allow(dead_code, reason = "each test binary that takes this file uses a part of it")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a server may take to start or to stop. Generous: a loaded CI machine is slow, and a hang must still end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The URL (TCP) of a fresh, empty database in the server that all tests of this process share.
pub fn postgres() -> String {
    Postgres::shared().fresh()
}

/// A private PostgreSQL server. Dropping it stops it and removes its folder.
///
/// What disturbs a server takes `&mut self`, so that nobody does it to the shared one.
pub struct Postgres {
    programs: &'static Programs,
    folder: PathBuf,
    port: u16,
    /// `None` while it is stopped or killed.
    process: Option<Child>,
    watchdog: Watchdog,
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
        let folder = new_folder("larder-pg-");
        // From here on the watchdog removes the folder, also if a line below panics.
        let watchdog = Watchdog::start(&folder, &folder.join("data/postmaster.pid"));
        if let Some((user, group)) = programs.run_as {
            chown(&folder, Some(user), Some(group)).expect("give the folder to the server's user");
        }
        programs.init(&folder);
        let mut server = Self { programs, port: 0, folder, process: None, watchdog };
        // Another process may take a free port before the server does.
        for _ in 0..5 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return server,
                Err(log) if log.contains("could not bind") || log.contains("Address already in use") => {}
                Err(log) => panic!("PostgreSQL did not start; its log:\n{log}"),
            }
        }
        panic!("PostgreSQL found no free port in five attempts; its log:\n{}", server.log());
    }

    /// Creates an empty database and returns its name.
    pub fn create_database(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
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
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The URL of a database, over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.to_str().expect("a temporary folder with a plain name").replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// The TCP port on 127.0.0.1. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data, log and socket are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Runs SQL as a client that knows nothing of Larder, and returns the rows: a line each, values joined by `|`.
    ///
    /// # Panics
    /// If the server refuses it.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.programs.path("psql"))
            .env_clear()
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(&self.folder)
            .args(["-d", database, "-c", sql])
            .stdin(Stdio::null())
            .output()
            .expect("run psql");
        assert!(output.status.success(), "psql: {}\n{sql}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends the server as a power cut would: SIGKILL to all its processes. Clients see their connections break.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let children = children_of(process.id());
        // The parent first: it would restart the server when a child dies.
        process.kill().expect("kill the server");
        process.wait().expect("wait for the killed server");
        // May have ended by themselves since, so that a failure means nothing.
        let _ = signal("KILL", &children);
        self.watchdog.watch(None);
        // The next start refuses to run while one of the old processes still holds the shared memory.
        wait_until("the killed server's processes to end", || !children.iter().any(|&pid| is_running(pid)));
    }

    /// Stops the server in good order: clients are disconnected, data is kept.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        signal("INT", &[process.id()]).expect("stop the server");
        wait_until("the server to stop", || process.try_wait().expect("wait for the server").is_some());
        self.watchdog.watch(None);
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), or stops it and starts it: same port, same data.
    pub fn restart(&mut self) {
        self.stop();
        if let Err(log) = self.launch() {
            panic!("PostgreSQL did not start again; its log:\n{log}");
        }
    }

    /// Freezes the server: connections stay open, connecting still succeeds as far as the kernel goes, nothing answers.
    pub fn pause(&mut self) {
        let parent = self.process.as_ref().expect("a running server").id();
        // The parent first, so that it can start no further child.
        signal("STOP", &[parent]).expect("pause the server");
        let _ = signal("STOP", &children_of(parent));
    }

    /// Lets a paused server go on where it was.
    pub fn resume(&mut self) {
        let parent = self.process.as_ref().expect("a running server").id();
        let _ = signal("CONT", &children_of(parent));
        signal("CONT", &[parent]).expect("resume the server");
    }

    /// Starts the server on the folder and waits until it answers. An error holds the log.
    fn launch(&mut self) -> Result<(), String> {
        let log = fs::File::create(self.folder.join("log")).expect("create the server's log");
        let child = self
            .programs
            .command("postgres")
            .arg("-D")
            .arg(self.folder.join("data"))
            .args(["-p", &self.port.to_string(), "-k"])
            .arg(&self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            // A Ctrl-C in the terminal must reach the tests only: the server ends after them.
            .process_group(0)
            .spawn()
            .expect("start postgres");
        self.watchdog.watch(Some(child.id()));
        let process = self.process.insert(child);

        let own = process.id().to_string();
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The file pg_ctl reads too: line 1 is the process, line 8 its state.
            let state = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
            if state.lines().next() == Some(&own) && state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                return Ok(());
            }
            if process.try_wait().expect("look after the server").is_some() {
                self.process = None;
                self.watchdog.watch(None);
                return Err(self.log());
            }
            if Instant::now() > deadline {
                return Err(format!("not ready after {PATIENCE:?}\n{}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The watchdog does the work, so that there is one way in which a server ends; reaping is left to the parent.
        self.watchdog.release();
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
        self.watchdog.wait();
    }
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
            let run_as = (id("-u", None) == Some(0)).then(|| {
                ["postgres", "nobody"]
                    .iter()
                    .find_map(|user| Some((id("-u", Some(user))?, id("-g", Some(user))?)))
                    .expect("a user `postgres` or `nobody`, since PostgreSQL refuses to run as root")
            });
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

    /// A program of the server, to be run by the user who may, whatever the environment holds.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes the data folder. Nothing in it needs to outlive the machine, so that nothing waits for the disk.
    fn init(&self, folder: &Path) {
        let output = self
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .expect("run initdb");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        let settings = "listen_addresses = '127.0.0.1'\n\
                        fsync = off\n\
                        synchronous_commit = off\n\
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
}

/// A small shell process that ends a server and removes its folder once this process is gone.
///
/// It reads from a pipe whose other end only this process holds. The kernel closes that end even when the process is
/// killed with SIGKILL, where no destructor and no exit handler runs.
struct Watchdog {
    shell: Child,
    /// `None` once released.
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// `$1`: the folder; `$2`: the file that exists while the server runs. Lines on stdin: the server's process, or `-`.
    ///
    /// A server in good health is given ten seconds, since its own limit for its children is five.
    const SCRIPT: &'static str = r#"
        trap '' INT TERM HUP QUIT
        pid=-
        while read -r line; do pid=$line; done
        if [ "$pid" != - ]; then
            kill -s CONT "$pid"; kill -s QUIT "$pid"
            for i in $(seq 200); do [ -e "$2" ] || break; sleep 0.05; done
            kill -s KILL "$pid"
        fi
        rm -rf "$1" || { sleep 1; rm -rf "$1"; }
    "#;

    fn start(folder: &Path, alive: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", Self::SCRIPT, "watchdog"])
            .args([folder, alive])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start a shell");
        let pipe = shell.stdin.take();
        Self { shell, pipe }
    }

    /// Says which process to end; `None` after it ended.
    fn watch(&mut self, process: Option<u32>) {
        let line = process.map_or("-".to_owned(), |pid| pid.to_string());
        let pipe = self.pipe.as_mut().expect("a watchdog not yet released");
        writeln!(pipe, "{line}").expect("tell the watchdog");
    }

    /// Tells it to do its work now.
    fn release(&mut self) {
        self.pipe = None;
    }

    fn wait(&mut self) {
        let _ = self.shell.wait();
    }
}

/// A new folder in the system's temporary one. It is not a `TempDir`: the watchdog removes it, after the server ended.
fn new_folder(prefix: &str) -> PathBuf {
    let usual = std::env::temp_dir();
    // The address of a Unix socket has about 100 bytes, and its name comes on top of the folder's.
    let parent = if usual.as_os_str().len() <= 60 { usual } else { PathBuf::from("/tmp") };
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).expect("create a temporary folder").keep()
}

/// A port that is free on 127.0.0.1 now, below those which the kernel hands to clients: a stopped server finds it free.
fn free_port() -> u16 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_micros());
    let start = clock
        .wrapping_add(std::process::id().wrapping_mul(97))
        .wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed) * 61);
    (0..12_000)
        .map(|step| 20_000 + (start.wrapping_add(step) % 12_000) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// Sends a signal by the shell's own `kill`, which is there even where the program is not.
pub fn signal(name: &str, processes: &[u32]) -> Result<(), String> {
    if processes.is_empty() {
        return Ok(());
    }
    let output = Command::new("sh")
        .args(["-c", r#"signal=$1; shift; kill -s "$signal" "$@""#, "signal", name])
        .args(processes.iter().map(u32::to_string))
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The children of a process. Each is in a group of its own, so that one signal to a group cannot reach them.
fn children_of(parent: u32) -> Vec<u32> {
    processes().into_iter().filter(|process| process.parent == parent).map(|process| process.id).collect()
}

/// Whether a process still runs; one that waits for its parent to take notice of its end does not.
fn is_running(id: u32) -> bool {
    processes().iter().any(|process| process.id == id && process.state != 'Z')
}

struct Process {
    id: u32,
    parent: u32,
    state: char,
}

fn processes() -> Vec<Process> {
    let fields = |id: &str, state: &str, parent: &str| {
        Some(Process { id: id.parse().ok()?, parent: parent.parse().ok()?, state: state.chars().next()? })
    };
    if let Ok(folder) = fs::read_dir("/proc").and_then(|folder| fs::read_to_string("/proc/self/stat").map(|_| folder)) {
        let stat = |name: &OsStr| {
            let text = fs::read_to_string(Path::new("/proc").join(name).join("stat")).ok()?;
            // `123 (a name (with anything)) S 1 ...`
            let (head, tail) = text.rsplit_once(") ")?;
            let mut tail = tail.split(' ');
            fields(head.split(' ').next()?, tail.next()?, tail.next()?)
        };
        return folder.flatten().filter_map(|entry| stat(&entry.file_name())).collect();
    }
    let output = Command::new("ps").args(["-A", "-o", "pid=,stat=,ppid="]).output().expect("run ps");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            fields(words.next()?, words.next()?, words.next()?)
        })
        .collect()
}

/// The number that `id` tells: of a user, or of the one who runs this.
fn id(option: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(option).args(user).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "gave up after {PATIENCE:?} waiting for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
