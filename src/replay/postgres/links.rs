//! The links: as many as are needed at once, each used by one reply at a time.
//!
//! In: kept results. Out: rows.
//! It never holds a lock while a link works, and never takes a link back that did not end well.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sqlx::Postgres;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::link::Link;
use super::{Shape, self_test, wire};
use crate::entry::Stored;
use crate::replay::cells::LENGTH;
use crate::replay::{Replayed, Unfaithful};

/// Replies up to this size are given at once, if the sockets of this system hold as much.
const AT_ONCE: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Links(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    idle: Mutex<Vec<Link>>,
    most_idle: usize,
    /// Replies up to this size fit into a socket.
    at_once: usize,
    /// When many callers find no link, one opens it and the others find it idle soon after.
    opening: Semaphore,
    runtime: PrivateRuntime,
}

impl Links {
    /// Opens a first link and tests it.
    pub async fn start() -> Result<Self, Unfaithful> {
        let cores = thread::available_parallelism().map_or(4, usize::from);
        let runtime = PrivateRuntime::new(2 * cores)
            .map_err(|error| Unfaithful::because(format!("the runtime for replay cannot be built: {error}")))?;
        let at_once = socket_room()
            .map_err(|error| Unfaithful::because(format!("the room in a Unix socket cannot be measured: {error}")))?;
        let links = Self(Arc::new(Inner {
            idle: Mutex::new(Vec::new()),
            most_idle: 2 * cores,
            at_once: at_once.min(AT_ONCE),
            opening: Semaphore::new(1),
            runtime,
        }));
        self_test::run(&links).await?;
        Ok(links)
    }

    /// As many of `copies` as fit into a socket together; one, if not even that does.
    pub async fn mint(&self, stored: &Stored<Shape>, copies: usize) -> Result<Vec<Replayed<Postgres>>, Unfaithful> {
        let fit = self.0.fit_at_once(stored);
        if fit > 0 {
            let mut link = self.link().await?;
            let minted = link.mint_at_once(stored, copies.min(fit));
            self.0.give_back(link);
            return minted;
        }
        // A task of its own: a caller that goes away leaves it to end, and the link stays whole.
        let (inner, stored) = (Arc::clone(&self.0), stored.clone());
        self.aside(move || {
            let mut link = match inner.take_idle() {
                Some(link) => link,
                None => inner.runtime.block_on(Link::open())?,
            };
            let replayed = inner.runtime.block_on(link.replay_in_turns(&stored));
            inner.give_back(link);
            replayed.map(|replayed| vec![replayed])
        })
        .await
    }

    /// Runs `work` on a thread that may block.
    pub async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Unfaithful> + Send + 'static,
    ) -> Result<T, Unfaithful> {
        let task = self.0.runtime.spawn_blocking(work);
        task.await.unwrap_or_else(|_| Err(Unfaithful::because("a replay was cut short")))
    }

    async fn link(&self) -> Result<Link, Unfaithful> {
        if let Some(link) = self.0.take_idle() {
            return Ok(link);
        }
        let _turn = self.0.opening.acquire().await;
        if let Some(link) = self.0.take_idle() {
            return Ok(link);
        }
        let inner = Arc::clone(&self.0);
        self.aside(move || inner.runtime.block_on(Link::open())).await
    }

    /// A link to describe statements on, for the self-test.
    pub async fn describe(
        &self,
        tag: sqlx::SqlStr,
        description: Vec<u8>,
    ) -> Result<sqlx::postgres::PgStatement, Unfaithful> {
        let inner = Arc::clone(&self.0);
        self.aside(move || {
            inner.runtime.block_on(async {
                let mut link = Link::open().await?;
                link.describe(tag, &description).await
            })
        })
        .await
    }
}

impl Inner {
    /// How many copies of a result fit into a socket together.
    fn fit_at_once(&self, stored: &Stored<Shape>) -> usize {
        // A stored row has at least one value, so this cannot overflow if the counts are true; if not, it is found later.
        if stored.rows.saturating_mul(LENGTH) > stored.bytes.len() {
            return 0;
        }
        let frames = stored.rows.saturating_mul(wire::ROW_HEADER);
        let copy = stored.bytes.len().saturating_add(frames).saturating_add(wire::COMPLETION);
        self.at_once.saturating_sub(wire::PREPARED.len() + wire::READY.len()) / copy
    }

    fn take_idle(&self) -> Option<Link> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, link: Link) {
        if !link.is_usable() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = if idle.len() < self.most_idle {
            idle.push(link);
            None
        } else {
            Some(link)
        };
        // Closing a socket is a system call: not under the lock.
        drop(idle);
        drop(surplus);
    }
}

/// How much can be written to a Unix socket before anyone reads, with a margin: 8 KiB on macOS, 200 KiB on Linux.
fn socket_room() -> std::io::Result<usize> {
    use std::io::{ErrorKind, Write};
    let (mut near, _far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let mut room = 0;
    loop {
        match near.write(&[0; 4 << 10]) {
            Ok(written) if room < 4 * AT_ONCE => room += written,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(room / 2)
}

/// The runtime whose reactor knows the sockets. Only large replies drive it; small ones need it merely to exist.
#[derive(Debug)]
struct PrivateRuntime(Option<Runtime>);

impl PrivateRuntime {
    fn new(threads: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .max_blocking_threads(threads)
            .thread_name("larder-replay")
            .build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Deref for PrivateRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        self.0.as_ref().expect("the runtime is there until it is dropped")
    }
}

impl Drop for PrivateRuntime {
    fn drop(&mut self) {
        // A plain drop would panic when a pool is dropped in async code.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
