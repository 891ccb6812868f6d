//! The links of a pool: as many as are needed at once, each used by one reply at a time.
//!
//! In: kept results. Out: rows.
//! It never holds a lock while a link works, and never takes a link back that did not end well.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::cells::{Cells, LENGTH};
use super::link::Link;
use super::protocol::Protocol;
use super::{Replayed, Unfaithful, socket};
use crate::entry::Stored;

/// Replies up to this size are given at once, if the sockets of this system hold as much.
const AT_ONCE: usize = 64 << 10;

pub(super) struct Links<P: Protocol>(Arc<Inner<P>>);

struct Inner<P: Protocol> {
    idle: Mutex<Vec<Link<P>>>,
    most_idle: usize,
    /// Replies up to this size fit into a socket.
    at_once: usize,
    /// When many callers find no link, one opens it and the others find it idle soon after.
    opening: Semaphore,
    runtime: PrivateRuntime,
}

impl<P: Protocol> Links<P> {
    /// Links are opened when they are needed. Whoever starts them should test them first.
    pub fn start() -> Result<Self, Unfaithful> {
        let cores = thread::available_parallelism().map_or(4, usize::from);
        let runtime = PrivateRuntime::new(2 * cores)
            .map_err(|error| Unfaithful::because(format!("the runtime for replay cannot be built: {error}")))?;
        let at_once = socket::room(AT_ONCE)
            .map_err(|error| Unfaithful::because(format!("the room in a Unix socket cannot be measured: {error}")))?;
        Ok(Self(Arc::new(Inner {
            idle: Mutex::new(Vec::new()),
            most_idle: 2 * cores,
            at_once,
            opening: Semaphore::new(1),
            runtime,
        })))
    }

    /// As many of `copies` as fit into a socket together; one, if not even that does.
    pub async fn mint(
        &self,
        stored: &Stored<P::Shape>,
        copies: usize,
    ) -> Result<Vec<Replayed<P::Database>>, Unfaithful> {
        if stored.rows == 0 {
            Cells::check(&stored.bytes, 0, 0)?;
            return Ok((0..copies).map(|_| Replayed { rows: Vec::new(), result: Default::default() }).collect());
        }
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
            replayed
        })
        .await
    }

    /// Runs `work` on a thread that may block.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Unfaithful> + Send + 'static,
    ) -> Result<T, Unfaithful> {
        let task = self.0.runtime.spawn_blocking(work);
        task.await.unwrap_or_else(|_| Err(Unfaithful::because("a replay was cut short")))
    }

    async fn link(&self) -> Result<Link<P>, Unfaithful> {
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

    /// Does `work` with a link of its own.
    #[cfg(feature = "postgres")]
    pub async fn with_new_link<T: Send + 'static>(
        &self,
        work: impl AsyncFnOnce(Link<P>) -> Result<T, Unfaithful> + Send + 'static,
    ) -> Result<T, Unfaithful> {
        let inner = Arc::clone(&self.0);
        self.aside(move || inner.runtime.block_on(async { work(Link::open().await?).await })).await
    }
}

impl<P: Protocol> Inner<P> {
    /// How many copies of a result fit into a socket together.
    fn fit_at_once(&self, stored: &Stored<P::Shape>) -> usize {
        // A stored row has at least one value, so this cannot overflow if the counts are true; if not, it is found later.
        if stored.rows.saturating_mul(LENGTH) > stored.bytes.len() {
            return 0;
        }
        let frames = P::frames(&stored.shape);
        let rows = stored.bytes.len().saturating_add(stored.rows.saturating_mul(frames.row));
        self.at_once.saturating_sub(frames.reply) / rows.saturating_add(frames.copy)
    }

    fn take_idle(&self) -> Option<Link<P>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, link: Link<P>) {
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
