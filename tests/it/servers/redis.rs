//! A private Redis server, alone, with a replica and Sentinels, or as a cluster.
//!
//! In: the Redis of this machine. Out: URLs, and servers that a test may kill, pause or promote.
//! It keeps nothing on disk unless it is asked to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::daemon::{self, Daemon, run};

/// A private Redis server. Dropping it stops it and removes its folder.
pub struct Redis {
    programs: &'static Programs,
    options: Vec<String>,
    password: Option<String>,
    daemon: Daemon,
}

impl Redis {
    /// The server shared by all tests of this process, started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts a server of the caller's own.
    ///
    /// # Panics
    /// If Redis is not installed or does not start; the text says what to do, or shows the server's log.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server of the caller's own with options such as `--appendonly yes`, one after the other.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn start_with(options: &[&str]) -> Self {
        let programs = Programs::find();
        let options: Vec<String> = options.iter().map(|&option| option.into()).collect();
        let password = options.iter().position(|option| option == "--requirepass").map(|at| options[at + 1].clone());
        let mut redis = Self { programs, options, password, daemon: Daemon::new("larder-redis-", None, None) };
        let (options, password) = (redis.options.clone(), redis.password.clone());
        redis.daemon.launch_first(
            |daemon| programs.server(daemon, &options),
            |daemon| programs.answers(daemon.port, password.as_deref()),
        );
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}/", self.port()),
            None => format!("redis://127.0.0.1:{}/", self.port()),
        }
    }

    /// The TCP port on 127.0.0.1. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.daemon.port
    }

    /// Where its data and log are.
    pub fn folder(&self) -> &Path {
        &self.daemon.folder
    }

    /// Runs a command as a client that knows nothing of Larder, and returns the answer.
    ///
    /// # Panics
    /// If the server cannot be asked.
    pub fn cli(&self, words: &[&str]) -> String {
        run(self.programs.client(self.port(), self.password.as_deref()).args(words))
    }

    /// Ends the server as a power cut would. Clients see their connections break.
    pub fn kill(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again after [`kill`](Self::kill), or kills it and starts it: same port, same folder.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let program = self.programs.server(&self.daemon, &self.options);
        let (programs, password) = (self.programs, self.password.clone());
        let launched = self.daemon.launch(program, |daemon| programs.answers(daemon.port, password.as_deref()));
        launched.unwrap_or_else(|log| panic!("the server did not start again; its log:\n{log}"));
    }

    /// Freezes it: connections stay open, nothing answers.
    pub fn pause(&mut self) {
        self.daemon.pause();
    }

    /// Lets it go on where it was.
    pub fn resume(&mut self) {
        self.daemon.resume();
    }
}

/// A primary, a replica of it, and three Sentinels that promote the replica when the primary is gone.
pub struct Replicated {
    /// The first is the primary in the beginning.
    pub servers: [Redis; 2],
    sentinels: Vec<Redis>,
}

impl Replicated {
    /// What the Sentinels call the primary.
    pub const MASTER: &'static str = "larder";

    /// Starts all five, and waits until they know each other.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn start() -> Self {
        let primary = Redis::start();
        let port = primary.port().to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
        let sentinels: Vec<Redis> = (0..3).map(|_| Redis::sentinel()).collect();
        for sentinel in &sentinels {
            sentinel.cli(&["SENTINEL", "MONITOR", Self::MASTER, "127.0.0.1", &port, "2"]);
            for (option, value) in [("down-after-milliseconds", "500"), ("failover-timeout", "2000")] {
                sentinel.cli(&["SENTINEL", "SET", Self::MASTER, option, value]);
            }
        }
        let all = Self { servers: [primary, replica], sentinels };
        wait_until("the Sentinels to know all servers", || {
            all.sentinels.iter().all(|sentinel| {
                let told = sentinel.cli(&["SENTINEL", "MASTER", Self::MASTER]);
                let is = |name: &str, value: &str| {
                    told.lines().skip_while(|line| *line != name).nth(1).is_some_and(|now| now == value)
                };
                is("num-slaves", "1") && is("num-other-sentinels", "2")
            })
        });
        wait_until("the replica to follow", || all.servers[1].cli(&["INFO", "replication"]).contains("link_status:up"));
        all
    }

    /// The URLs of the Sentinels.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// Kills the primary, and waits until the replica was promoted.
    pub fn fail_over(&mut self) {
        self.servers[0].kill();
        wait_until("the replica to be promoted", || self.servers[1].cli(&["ROLE"]).starts_with("master"));
    }
}

/// Six servers of a cluster: three primaries with a replica each.
pub struct Cluster {
    pub servers: Vec<Redis>,
}

impl Cluster {
    /// Starts all six, and waits until they agree.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn start() -> Self {
        let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port"];
        let server = || {
            // The usual one is among those which the kernel hands to clients: a restarted server would find it taken.
            let port = daemon::free_port().to_string();
            Redis::start_with(&[&options[..], &[&port]].concat())
        };
        let servers: Vec<Redis> = (0..6).map(|_| server()).collect();
        let mut create = servers[0].programs.client(servers[0].port(), None);
        create.args(["--cluster", "create"]);
        create.args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port())));
        run(create.args(["--cluster-replicas", "1", "--cluster-yes"]));
        let all = Self { servers };
        wait_until("the cluster to agree", || {
            all.servers.iter().all(|server| server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
        all
    }

    /// The URLs of all of them.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }
}

impl Redis {
    fn sentinel() -> Self {
        let programs = Programs::find();
        let mut daemon = Daemon::new("larder-sentinel-", None, None);
        daemon.launch_first(
            |daemon| {
                let file = daemon.folder.join("sentinel.conf");
                std::fs::write(&file, format!("port {}\nbind 127.0.0.1\n", daemon.port))
                    .expect("write a configuration");
                let mut command = programs.command();
                command.arg(file).arg("--sentinel");
                command
            },
            |daemon| programs.answers(daemon.port, None),
        );
        Self { programs, options: Vec::new(), password: None, daemon }
    }
}

/// Where Redis is on this machine.
struct Programs {
    server: PathBuf,
    client: PathBuf,
}

impl Programs {
    fn find() -> &'static Self {
        static PROGRAMS: OnceLock<Programs> = OnceLock::new();
        PROGRAMS.get_or_init(|| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let find = |names: &[&str]| {
                let mut places = names.iter().flat_map(|name| {
                    std::env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>()
                });
                places.find(|file| file.is_file()).unwrap_or_else(|| {
                    panic!("none of {names:?} is installed: run tests/run.sh, or apt-get install redis-tools")
                })
            };
            // Debian's redis-tools bring the server under this name, which it goes by.
            Programs {
                server: find(&["redis-server", "valkey-server", "redis-check-rdb"]),
                client: find(&["redis-cli", "valkey-cli"]),
            }
        })
    }

    fn command(&self) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = daemon::command(&self.server, None);
        command.arg0("redis-server");
        command
    }

    fn server(&self, daemon: &Daemon, options: &[String]) -> Command {
        let mut command = self.command();
        command.args(["--port", &daemon.port.to_string(), "--bind", "127.0.0.1"]).arg("--dir").arg(&daemon.folder);
        command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        command.args(options);
        command
    }

    fn client(&self, port: u16, password: Option<&str>) -> Command {
        let mut command = daemon::command(&self.client, None);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        if let Some(password) = password {
            command.args(["--no-auth-warning", "-a", password]);
        }
        command
    }

    fn answers(&self, port: u16, password: Option<&str>) -> bool {
        let output = self.client(port, password).arg("PING").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "PONG")
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
