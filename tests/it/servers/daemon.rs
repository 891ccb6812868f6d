//! A server process of our own: started on a free port, watched, disturbed, ended.
//!
//! In: what to run. Out: a running server that never outlives this process.
//! It never knows which database the server is.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a server may take to start or to stop. Generous: a loaded CI machine is slow, and a hang must still end.
const PATIENCE: Duration = Duration::from_secs(60);

/// User and group for a server when this process is root: the first of these users that there is.
pub fn not_root(users: &[&str]) -> Option<(u32, u32)> {
    (id("-u", None) == Some(0)).then(|| {
        users
            .iter()
            .find_map(|user| Some((id("-u", Some(user))?, id("-g", Some(user))?)))
            .unwrap_or_else(|| panic!("one of the users {users:?}, since the server refuses to run as root"))
    })
}

/// A program, to be run by the user who may, whatever the environment holds.
pub fn command(program: &Path, run_as: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
    if let Some((user, group)) = run_as {
        command.uid(user).gid(group);
    }
    command
}

/// Runs a program that prepares or asks a server.
///
/// # Panics
/// If it fails.
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("run a program");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// A name for a database that no other test of this process has.
pub fn new_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A server process in a folder of its own. Dropping it ends the process and removes the folder.
pub struct Daemon {
    pub folder: PathBuf,
    pub port: u16,
    /// `None` while it is stopped or killed.
    process: Option<Child>,
    watchdog: Watchdog,
}

impl Daemon {
    /// Makes the folder. `alive` is the file in it that exists while a server runs that has to end its children.
    pub fn new(prefix: &str, run_as: Option<(u32, u32)>, alive: Option<&str>) -> Self {
        let folder = new_folder(prefix);
        // From here on the watchdog removes the folder, also if a line below panics.
        let watchdog = Watchdog::start(&folder, alive.map(|alive| folder.join(alive)).as_deref());
        if let Some((user, group)) = run_as {
            chown(&folder, Some(user), Some(group)).expect("give the folder to the server's user");
        }
        Self { folder, port: 0, process: None, watchdog }
    }

    /// Launches it for the first time, on a port that is free.
    ///
    /// # Panics
    /// If it does not start; the text holds its log.
    pub fn launch_first(&mut self, program: impl Fn(&Self) -> Command, is_ready: impl Fn(&Self) -> bool) {
        // Another process may take a free port before the server does.
        for _ in 0..5 {
            self.port = free_port();
            match self.launch(program(self), &is_ready) {
                Ok(()) => return,
                Err(log)
                    if ["could not bind", "ould not create server TCP", "ddress already in use"]
                        .iter()
                        .any(|sign| log.contains(sign)) => {}
                Err(log) => panic!("the server did not start; its log:\n{log}"),
            }
        }
        panic!("the server found no free port in five attempts; its log:\n{}", self.log());
    }

    /// Launches it and waits until it is ready. An error holds the log.
    pub fn launch(&mut self, mut program: Command, is_ready: impl Fn(&Self) -> bool) -> Result<(), String> {
        let log = fs::File::create(self.folder.join("log")).expect("create the server's log");
        let child = program
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            // A Ctrl-C in the terminal must reach the tests only: the server ends after them.
            .process_group(0)
            .spawn()
            .expect("start the server");
        self.watchdog.watch(Some(child.id()));
        self.process = Some(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if is_ready(self) {
                return Ok(());
            }
            if self.process.as_mut().is_none_or(|process| process.try_wait().expect("look after the server").is_some())
            {
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

    /// The process that was launched.
    ///
    /// # Panics
    /// If none runs.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("a running server").id()
    }

    /// What the server logged since it was launched.
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
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

    /// Stops the server with a signal that it takes for a request to end in good order.
    pub fn stop(&mut self, by: &str) {
        let Some(mut process) = self.process.take() else { return };
        signal(by, &[process.id()]).expect("stop the server");
        wait_until("the server to stop", || process.try_wait().expect("wait for the server").is_some());
        self.watchdog.watch(None);
    }

    /// Freezes the server: connections stay open, connecting still succeeds as far as the kernel goes, nothing answers.
    pub fn pause(&mut self) {
        let parent = self.id();
        // The parent first, so that it can start no further child.
        signal("STOP", &[parent]).expect("pause the server");
        wait_until("a server to stand still", || is_frozen(parent));
        let children = children_of(parent);
        let _ = signal("STOP", &children);
        wait_until("the processes of a server to stand still", || children.iter().all(|child| is_frozen(*child)));
    }

    /// Lets a paused server go on where it was.
    pub fn resume(&mut self) {
        let parent = self.id();
        let _ = signal("CONT", &children_of(parent));
        signal("CONT", &[parent]).expect("resume the server");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The watchdog does the work, so that there is one way in which a server ends; reaping is left to the parent.
        self.watchdog.release();
        if let Some(process) = &mut self.process {
            let _ = process.wait();
        }
        self.watchdog.wait();
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
    /// `$1`: the folder; `$2`: the file that exists while a server runs that has to end its children, or nothing. Lines on
    /// stdin: the server's process, or `-`.
    ///
    /// A server in good health is given ten seconds, since its own limit for its children is five.
    const SCRIPT: &'static str = r#"
        trap '' INT TERM HUP QUIT
        pid=-
        while read -r line; do pid=$line; done
        if [ "$pid" != - ]; then
            if [ -n "$2" ]; then
                kill -s CONT "$pid"; kill -s QUIT "$pid"
                for i in $(seq 200); do [ -e "$2" ] || break; sleep 0.05; done
            fi
            kill -s KILL "$pid"
        fi
        rm -rf "$1" || { sleep 1; rm -rf "$1"; }
    "#;

    fn start(folder: &Path, alive: Option<&Path>) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", Self::SCRIPT, "watchdog"])
            .args([folder, alive.unwrap_or(Path::new(""))])
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
pub fn free_port() -> u16 {
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

/// Whether every thread of a process stands still. On a busy machine that comes some time after the signal.
fn is_frozen(id: u32) -> bool {
    let stands = |state: char| !matches!(state, 'R' | 'S' | 'D');
    match fs::read_dir(format!("/proc/{id}/task")) {
        Ok(threads) => threads.flatten().filter_map(|thread| stat(&thread.path())).all(|thread| stands(thread.state)),
        Err(_) => processes().iter().all(|process| process.id != id || stands(process.state)),
    }
}

struct Process {
    id: u32,
    parent: u32,
    state: char,
}

impl Process {
    fn new(id: &str, state: &str, parent: &str) -> Option<Self> {
        Some(Self { id: id.parse().ok()?, parent: parent.parse().ok()?, state: state.chars().next()? })
    }
}

/// What Linux tells of a process or thread in its folder: `123 (a name (with anything)) S 1 ...`.
fn stat(folder: &Path) -> Option<Process> {
    let text = fs::read_to_string(folder.join("stat")).ok()?;
    let (head, tail) = text.rsplit_once(") ")?;
    let mut tail = tail.split(' ');
    Process::new(head.split(' ').next()?, tail.next()?, tail.next()?)
}

fn processes() -> Vec<Process> {
    if let Ok(folder) = fs::read_dir("/proc").and_then(|folder| fs::read_to_string("/proc/self/stat").map(|_| folder)) {
        return folder.flatten().filter_map(|entry| stat(&entry.path())).collect();
    }
    let output = Command::new("ps").args(["-A", "-o", "pid=,stat=,ppid="]).output().expect("run ps");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Process::new(words.next()?, words.next()?, words.next()?)
        })
        .collect()
}

/// The number that `id` tells: of a user, or of the one who runs this.
pub fn id(option: &str, user: Option<&str>) -> Option<u32> {
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
