//! The Redis servers of a soak: a primary and its replica.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cli::Failure;

/// In one line, since it is sent as one.
const MOVE_CLOCK: &str = "for _, key in ipairs(redis.call('KEYS', 'larder:*:v')) do \
    local all = redis.call('HGETALL', key) \
    for i = 1, #all, 2 do \
        local field, value = all[i], all[i + 1] \
        if field == 'quarantine' and value ~= '0' then \
            redis.call('HSET', key, field, string.format('%.0f', value - ARGV[1])) \
        elseif string.sub(field, 1, 2) == 't:' then \
            local number, marks = string.match(value, '^(%d+) (.+)$') \
            if number then \
                local moved = string.gsub(marks, '(%S+) (%d+)', function(writer, deadline) \
                    return writer .. ' ' .. string.format('%.0f', deadline - ARGV[1]) end) \
                redis.call('HSET', key, field, number .. ' ' .. moved) \
            end \
        end \
    end \
end";

pub(super) struct Servers {
    program: PathBuf,
    folder: tempfile::TempDir,
    ports: [u16; 2],
    running: [Option<Child>; 2],
    primary: usize,
}

impl Servers {
    pub fn start() -> Result<Self, Failure> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Debian's redis-tools bring the server under the last of these names.
        let program = ["redis-server", "valkey-server", "redis-check-rdb"]
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)).collect::<Vec<_>>())
            .find(|file| file.is_file())
            .ok_or_else(|| {
                Failure::failed("redis-server is not on this machine: install it, as by apt-get install redis-server")
            })?;
        let failed = |error: std::io::Error| Failure::failed(format!("redis-server cannot be started: {error}"));
        let folder = tempfile::tempdir().map_err(failed)?;
        let mut ports = [0; 2];
        for port in &mut ports {
            let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
            *port = listener.local_addr().map_err(failed)?.port();
        }
        let mut servers = Self { program, folder, ports, running: [None, None], primary: 0 };
        servers.launch(0, None)?;
        servers.launch(1, Some(0))?;
        Ok(servers)
    }

    /// The port of the primary.
    pub fn primary(&self) -> u16 {
        self.ports[self.primary]
    }

    fn launch(&mut self, at: usize, replica_of: Option<usize>) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::failed(format!("redis-server cannot be started: {error}"));
        let mut command = Command::new(&self.program);
        std::os::unix::process::CommandExt::arg0(&mut command, "redis-server");
        command.args([
            "--port",
            &self.ports[at].to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command.args(["--repl-diskless-sync-delay", "0"]).arg("--dir").arg(self.folder.path());
        if let Some(other) = replica_of {
            command.args(["--replicaof", "127.0.0.1", &self.ports[other].to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.running[at] = Some(command.spawn().map_err(failed)?);
        let begun = Instant::now();
        while !self.ask(at, "PING").is_some_and(|answer| answer.starts_with("+PONG")) {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err(Failure::failed("redis-server does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills the primary, and starts it again as it was, without its data.
    pub fn restart(&mut self) -> Result<(), Failure> {
        let at = self.primary;
        self.kill(at);
        self.launch(at, None)
    }

    /// Makes a primary of the replica, and a new replica of the primary.
    pub fn fail_over(&mut self) -> Result<(), Failure> {
        let (old, new) = (self.primary, 1 - self.primary);
        self.kill(old);
        let _ = self.ask(new, "REPLICAOF NO ONE");
        self.primary = new;
        self.launch(old, Some(new))
    }

    pub fn flush(&self) {
        let _ = self.ask(self.primary, "FLUSHALL");
    }

    /// Puts the clock ahead by so many seconds, or back, as far as the protocol looks at it: by all deadlines that it left.
    /// The server itself cannot be run under another clock.
    pub fn move_clock(&self, seconds: i64) {
        let _ = self.ask(self.primary, &format!("EVAL \"{MOVE_CLOCK}\" 0 {}", seconds * 1_000));
    }

    /// Ends all connections, those that hear what is pushed included.
    pub fn disconnect(&self, kind: &str) {
        let _ = self.ask(self.primary, &format!("CLIENT KILL TYPE {kind}"));
    }

    /// No script is taken any more that may take memory; `false`: again.
    pub fn fill(&self, full: bool) {
        let most = if full { "1" } else { "0" };
        let _ = self.ask(self.primary, &format!("CONFIG SET maxmemory {most}"));
    }

    pub fn pause(&self, paused: bool) {
        if let Some(server) = &self.running[self.primary] {
            let signal = if paused { "STOP" } else { "CONT" };
            let _ = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", server.id())]).status();
        }
    }

    fn kill(&mut self, at: usize) {
        if let Some(mut server) = self.running[at].take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn ask(&self, at: usize, command: &str) -> Option<String> {
        use std::io::{Read, Write};
        let mut server = std::net::TcpStream::connect(("127.0.0.1", self.ports[at])).ok()?;
        server.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        server.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut bytes = [0; 128];
        let length = server.read(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.pause(false);
        self.kill(0);
        self.kill(1);
    }
}
