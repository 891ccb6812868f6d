//! One connection of sqlx's whose server is this process.
//!
//! In: a shape and kept bytes. Out: rows.
//! It never answers a peer that is not this process, and is never used again after anything went wrong on it.
//!
//! For a small reply nobody needs to wait: the whole answer is in the socket before the client is asked to read, so every
//! poll of it is ready, on the thread of the caller and without any runtime. Larger replies do not fit into the
//! socket; for those the runtime that the client was connected on is driven until writing and reading have met.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::task::{Context, Poll, Waker};

use futures_util::{StreamExt, TryStreamExt, future};
use sqlx::{Connection as _, Either};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use super::cells::Cells;
use super::protocol::{Connection, Item, Protocol, Row};
use super::socket::{self, Peer};
use super::{Replayed, Unfaithful};
use crate::entry::Stored;

/// Replies after which the client's own messages, which nobody needs, are taken out of the socket. The client must never
/// find it full; much rarer, and emptying it shows as a pause.
const UNREAD_REPLIES: u32 = 8;

/// A large reply is written in pieces of about this size.
const PIECE: usize = 64 << 10;

pub(super) struct Link<P: Protocol> {
    protocol: P,
    client: Connection<P>,
    server: UnixStream,
    unread_replies: u32,
    scratch: Vec<u8>,
    /// Set while a reply is under way. If it stays set, that reply did not end well.
    busy: bool,
}

impl<P: Protocol> Link<P> {
    /// Connects to ourselves. Must run on the runtime that large replies will be driven on.
    pub async fn open() -> Result<Self, Unfaithful> {
        let system = std::env::temp_dir();
        match Self::open_in(&system).await {
            Ok(link) => Ok(link),
            // A folder for temporary files may be too deep for the name of a socket (104 bytes on macOS).
            Err(_) if system != Path::new("/tmp") => Self::open_in(Path::new("/tmp")).await,
            Err(error) => Err(error),
        }
        .map_err(|error| Unfaithful::because(format!("the private socket for replay cannot be opened: {error}")))
    }

    async fn open_in(parent: &Path) -> Result<Self, sqlx::Error> {
        let (folder, owner) = socket::private_folder(parent)?;
        let listener = UnixListener::bind(folder.path().join(P::SOCKET))?;
        let peer = Peer { user: owner, process: std::process::id() };
        let welcome = async {
            let mut server = socket::accept(&listener, peer).await?;
            P::welcome(&mut server).await?;
            Ok(server)
        };
        let (client, server) = future::try_join(P::connect(folder.path()), welcome).await?;
        // The folder goes here: from now on nobody can connect.
        Ok(Self {
            protocol: P::default(),
            client,
            server: server.into_std()?,
            unread_replies: 0,
            scratch: Vec::new(),
            busy: false,
        })
    }

    /// Whether it can serve another reply.
    pub fn is_usable(&self) -> bool {
        !self.busy && self.protocol.is_usable()
    }

    /// Replays a result `copies` times in one reply, which must fit into the socket, without waiting.
    pub fn mint_at_once(
        &mut self,
        stored: &Stored<P::Shape>,
        copies: usize,
    ) -> Result<Vec<Replayed<P::Database>>, Unfaithful> {
        let shape = &*stored.shape;
        self.scratch.clear();
        self.protocol.head(shape, &mut self.scratch);
        let first = self.scratch.len();
        let mut cells = Cells::new(&stored.bytes, P::columns(shape), stored.rows)?;
        for _ in 0..stored.rows {
            P::row(shape, &mut cells, &mut self.scratch)?;
        }
        cells.end()?;
        P::end_copy(stored.rows, &mut self.scratch)?;
        let first = first..self.scratch.len();
        for _ in 1..copies {
            self.scratch.extend_from_within(first.clone());
        }
        P::end(&mut self.scratch);

        self.begin(shape)?;
        if self.server.write(&self.scratch).map_err(broken)? != self.scratch.len() {
            return Err(Unfaithful::because("the replay socket takes less than it did"));
        }
        let mut reply = P::fetch(&mut self.client, shape);
        let mut context = Context::from_waker(Waker::noop());
        let mut collected = Collected::<P>::with_room_for(stored.rows, copies);
        loop {
            match reply.poll_next_unpin(&mut context) {
                Poll::Ready(Some(item)) => collected.take(item.map_err(refused)?),
                Poll::Ready(None) => break,
                Poll::Pending => return Err(Unfaithful::because("the replay connection waits for more than was sent")),
            }
        }
        drop(reply);
        let minted = collected.finish()?;
        self.busy = false;
        Ok(minted)
    }

    /// Replays a result of any size, writing and reading in turns. Must run on the runtime the link was opened on.
    pub async fn replay_in_turns(
        &mut self,
        stored: &Stored<P::Shape>,
    ) -> Result<Vec<Replayed<P::Database>>, Unfaithful> {
        let shape = &*stored.shape;
        // Before anything is sent, so that damage costs no link.
        Cells::check(&stored.bytes, P::columns(shape), stored.rows)?;

        self.scratch.clear();
        self.protocol.head(shape, &mut self.scratch);
        self.begin(shape)?;
        let mut server = tokio::net::UnixStream::from_std(self.server.try_clone().map_err(broken)?).map_err(broken)?;
        let scratch = &mut self.scratch;
        let write = async {
            let mut cells = Cells::new(&stored.bytes, P::columns(shape), stored.rows)?;
            for _ in 0..stored.rows {
                P::row(shape, &mut cells, scratch)?;
                if scratch.len() >= PIECE {
                    server.write_all(scratch).await.map_err(broken)?;
                    scratch.clear();
                }
            }
            P::end_copy(stored.rows, scratch)?;
            P::end(scratch);
            server.write_all(scratch).await.map_err(broken)
        };
        let mut reply = P::fetch(&mut self.client, shape);
        let read = async {
            let mut collected = Collected::<P>::with_room_for(stored.rows, 1);
            while let Some(item) = reply.try_next().await.map_err(refused)? {
                collected.take(item);
            }
            collected.finish()
        };
        let ((), replayed) = future::try_join(write, read).await?;
        drop(reply);

        // What one very large reply needed should not stay reserved.
        self.scratch.shrink_to(PIECE);
        self.client.shrink_buffers();
        self.busy = false;
        Ok(replayed)
    }

    /// Marks the link as busy with a reply for `shape`.
    fn begin(&mut self, shape: &P::Shape) -> Result<(), Unfaithful> {
        self.busy = true;
        self.protocol.begins(shape);
        self.unread_replies += 1;
        if self.unread_replies >= UNREAD_REPLIES {
            self.unread_replies = 0;
            self.discard_requests().map_err(broken)?;
        }
        Ok(())
    }

    fn discard_requests(&mut self) -> io::Result<()> {
        let mut unread = [0; 4096];
        loop {
            match self.server.read(&mut unread) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) if read < unread.len() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends an answer to what the client will ask next, and lends the client to ask. The link serves nothing after that.
    #[cfg(feature = "postgres")]
    pub fn answer(&mut self, answer: &[u8]) -> Result<&mut Connection<P>, Unfaithful> {
        self.busy = true;
        self.server.write_all(answer).map_err(broken)?;
        Ok(&mut self.client)
    }

    /// Where the socket was.
    #[cfg(test)]
    pub fn address(&self) -> std::path::PathBuf {
        self.server.local_addr().unwrap().as_pathname().unwrap().to_owned()
    }
}

/// What came out of the client. A client that lost its place in the stream may end early without an error, hence the
/// counting.
struct Collected<P: Protocol> {
    copies: Vec<Replayed<P::Database>>,
    /// Those of the copy under way.
    rows: Vec<Row<P>>,
    completions: usize,
    /// How many rows each copy must have, and how many copies there must be.
    expected: (usize, usize),
    as_expected: bool,
}

impl<P: Protocol> Collected<P> {
    /// `rows` must be at least one, and have been held against the stored bytes.
    fn with_room_for(rows: usize, copies: usize) -> Self {
        Self {
            copies: Vec::with_capacity(copies),
            rows: Vec::new(),
            completions: 0,
            expected: (rows, copies),
            as_expected: true,
        }
    }

    fn take(&mut self, item: Item<P>) {
        let (rows, copies) = self.expected;
        match item {
            Either::Left(result) => {
                self.completions += 1;
                let complete = if P::COMPLETES_EACH { self.completions } else { copies };
                self.as_expected &=
                    self.rows.is_empty() && self.copies.len() == complete && P::completes(&result, rows);
                if let Some(last) = self.copies.last_mut() {
                    last.result = result;
                }
            }
            Either::Right(row) => {
                if self.rows.is_empty() {
                    self.rows.reserve_exact(rows);
                }
                self.rows.push(row);
                if self.rows.len() == rows {
                    let result = Default::default();
                    self.copies.push(Replayed { rows: std::mem::take(&mut self.rows), result });
                }
            }
        }
    }

    fn finish(self) -> Result<Vec<Replayed<P::Database>>, Unfaithful> {
        let (_, copies) = self.expected;
        let completions = if P::COMPLETES_EACH { copies } else { 1 };
        if self.as_expected && self.rows.is_empty() && self.copies.len() == copies && self.completions == completions {
            Ok(self.copies)
        } else {
            Err(Unfaithful::because("the replay connection gave another number of rows"))
        }
    }
}

fn broken(error: io::Error) -> Unfaithful {
    Unfaithful::because(format!("the replay socket failed: {error}"))
}

fn refused(error: sqlx::Error) -> Unfaithful {
    Unfaithful::because(format!("the replay connection refused its reply: {error}"))
}
