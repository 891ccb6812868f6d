//! One connection of sqlx's whose server is this process.
//!
//! In: a shape and kept bytes. Out: rows.
//! It never answers a peer that is not this process, and is never used again after anything went wrong on it.
//!
//! For a small reply nobody needs to wait: the whole answer is in the socket before the client is asked to read, so every
//! poll of it is ready, on the thread of the caller and without any runtime. Larger replies do not fit into the
//! socket; for those the runtime that the client was connected on is driven until writing and reading have met.

use std::collections::HashSet;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::task::{Context, Poll, Waker};

use futures_util::{Stream, StreamExt, TryStreamExt, future};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgQueryResult, PgRow, PgSslMode, PgStatement};
use sqlx::{ConnectOptions, Connection, Either, Execute, Executor, Postgres, SqlStr};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::{Shape, wire};
use crate::entry::Stored;
use crate::replay::cells::Cells;
use crate::replay::{Replayed, Unfaithful};

/// Statements a client keeps. When they are used up, the client would send a message that no one expects; the link is
/// given up before.
const STATEMENTS: usize = 1024;

/// Replies after which the client's own messages, which nobody needs, are taken out of the socket. The client must never
/// find it full; much rarer, and emptying it shows as a pause.
const UNREAD_REPLIES: u32 = 8;

/// A large reply is written in pieces of about this size.
const PIECE: usize = 64 << 10;

/// The port sqlx makes a file name of.
const PORT: u16 = 5432;

/// Who may connect: the user and the process that opened the socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub user: u32,
    pub process: u32,
}

impl Peer {
    fn admits(self, stream: &tokio::net::UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| {
            // Not every system tells the process. The folder keeps other users out in any case.
            peer.uid() == self.user && peer.pid().is_none_or(|pid| u32::try_from(pid) == Ok(self.process))
        })
    }
}

#[derive(Debug)]
pub(super) struct Link {
    client: PgConnection,
    server: UnixStream,
    /// Shapes this client has prepared.
    prepared: HashSet<u64, foldhash::fast::RandomState>,
    unread_replies: u32,
    scratch: Vec<u8>,
    /// Set while a reply is under way. If it stays set, that reply did not end well.
    busy: bool,
}

impl Link {
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
        let (folder, owner) = private_folder(parent)?;
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{PORT}")))?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(folder.path())
            .port(PORT)
            .username("replay")
            .ssl_mode(PgSslMode::Disable)
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        let peer = Peer { user: owner, process: std::process::id() };
        let (client, server) =
            future::try_join(options.connect(), async { Ok(welcome(&listener, peer).await?) }).await?;
        // The folder goes here: from now on nobody can connect.
        Ok(Self {
            client,
            server: server.into_std()?,
            prepared: HashSet::default(),
            unread_replies: 0,
            scratch: Vec::new(),
            busy: false,
        })
    }

    /// Whether it can serve another reply.
    pub fn is_usable(&self) -> bool {
        !self.busy && self.prepared.len() + 1 < STATEMENTS
    }

    /// Replays a result `copies` times in one reply, which must fit into the socket, without waiting.
    ///
    /// Each copy ends with a completion of its own: sqlx takes any number of them before it is told to be ready, and
    /// makes of each a `PgQueryResult`, which nobody else can make.
    pub fn mint_at_once(
        &mut self,
        stored: &Stored<Shape>,
        copies: usize,
    ) -> Result<Vec<Replayed<Postgres>>, Unfaithful> {
        let (shape, columns) = (&*stored.shape, columns(stored)?);
        self.scratch.clear();
        if !self.prepared.contains(&shape.id) {
            self.scratch.extend_from_slice(wire::PREPARED);
        }
        let first = self.scratch.len();
        let mut cells = Cells::new(&stored.bytes, shape.columns(), stored.rows)?;
        for _ in 0..stored.rows {
            wire::row(&mut self.scratch, &mut cells, columns)?;
        }
        cells.end()?;
        wire::completion(&mut self.scratch, stored.rows)?;
        let first = first..self.scratch.len();
        for _ in 1..copies {
            self.scratch.extend_from_within(first.clone());
        }
        self.scratch.extend_from_slice(wire::READY);

        self.begin(shape)?;
        if self.server.write(&self.scratch).map_err(broken)? != self.scratch.len() {
            return Err(Unfaithful::because("the replay socket takes less than it did"));
        }
        let mut reply = (&mut self.client).fetch_many(Recall(shape));
        let mut context = Context::from_waker(Waker::noop());
        let mut collected = Collected::with_room_for(stored.rows, copies);
        loop {
            match reply.poll_next_unpin(&mut context) {
                Poll::Ready(Some(item)) => collected.take(item.map_err(refused)?),
                Poll::Ready(None) => break,
                Poll::Pending => return Err(Unfaithful::because("the replay connection waits for more than was sent")),
            }
        }
        drop(reply);
        let minted = collected.finish(copies)?;
        self.busy = false;
        Ok(minted)
    }

    /// Replays a result of any size, writing and reading in turns. Must run on the runtime the link was opened on.
    pub async fn replay_in_turns(&mut self, stored: &Stored<Shape>) -> Result<Replayed<Postgres>, Unfaithful> {
        let (shape, columns) = (&*stored.shape, columns(stored)?);
        // Before anything is sent, so that damage costs no link.
        Cells::check(&stored.bytes, shape.columns(), stored.rows)?;

        let fresh = !self.prepared.contains(&shape.id);
        self.begin(shape)?;
        let mut server = tokio::net::UnixStream::from_std(self.server.try_clone().map_err(broken)?).map_err(broken)?;
        let scratch = &mut self.scratch;
        let write = async {
            scratch.clear();
            if fresh {
                scratch.extend_from_slice(wire::PREPARED);
            }
            let mut cells = Cells::new(&stored.bytes, shape.columns(), stored.rows)?;
            for _ in 0..stored.rows {
                wire::row(scratch, &mut cells, columns)?;
                if scratch.len() >= PIECE {
                    server.write_all(scratch).await.map_err(broken)?;
                    scratch.clear();
                }
            }
            wire::completion(scratch, stored.rows)?;
            scratch.extend_from_slice(wire::READY);
            server.write_all(scratch).await.map_err(broken)
        };
        let reply = (&mut self.client).fetch_many(Recall(shape));
        let read = collect(reply, stored.rows);
        let ((), replayed) = future::try_join(write, read).await?;

        // What one very large reply needed should not stay reserved.
        self.scratch.shrink_to(PIECE);
        self.client.shrink_buffers();
        self.busy = false;
        Ok(replayed)
    }

    /// Marks the link as busy with a reply for `shape`.
    fn begin(&mut self, shape: &Shape) -> Result<(), Unfaithful> {
        self.busy = true;
        self.prepared.insert(shape.id);
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

    /// Where the socket was.
    #[cfg(test)]
    pub fn address(&self) -> std::path::PathBuf {
        self.server.local_addr().unwrap().as_pathname().unwrap().to_owned()
    }

    /// Has the client prepare a statement of which the server says `description`.
    pub async fn describe(&mut self, tag: SqlStr, description: &[u8]) -> Result<PgStatement, Unfaithful> {
        self.busy = true;
        self.server.write_all(description).map_err(broken)?;
        let statement = (&mut self.client).prepare(tag).await.map_err(refused)?;
        self.busy = false;
        Ok(statement)
    }
}

/// A new folder that only its owner can enter, and the owner.
pub(super) fn private_folder(parent: &Path) -> io::Result<(TempDir, u32)> {
    let mut builder = tempfile::Builder::new();
    let folder = builder.prefix("larder-").permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
    let metadata = std::fs::symlink_metadata(folder.path())?;
    if metadata.is_dir() && metadata.mode() & 0o777 == 0o700 {
        Ok((folder, metadata.uid()))
    } else {
        Err(io::Error::new(ErrorKind::PermissionDenied, "the folder of the socket is not private"))
    }
}

/// Waits for our own client, and plays the server until the session is open.
pub(super) async fn welcome(listener: &UnixListener, peer: Peer) -> io::Result<tokio::net::UnixStream> {
    let mut stream = loop {
        let (stream, _) = listener.accept().await?;
        if peer.admits(&stream) {
            break stream;
        }
        tracing::warn!("a foreign process connected to the private replay socket and was refused");
    };
    let length = stream.read_u32().await?;
    if !(8..=16 << 10).contains(&length) {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut startup = vec![0; length as usize - 4];
    stream.read_exact(&mut startup).await?;
    stream.write_all(wire::WELCOME).await?;
    Ok(stream)
}

/// Executes a shape on a replay connection: its tag as the text, its statement for the columns.
struct Recall<'a>(&'a Shape);

impl<'q> Execute<'q, Postgres> for Recall<'_> {
    fn sql(self) -> SqlStr {
        self.0.tag.clone()
    }

    fn statement(&self) -> Option<&PgStatement> {
        Some(&self.0.statement)
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(Some(PgArguments::default()))
    }

    fn persistent(&self) -> bool {
        true
    }
}

type Item = Either<PgQueryResult, PgRow>;

/// What came out of the client. A client that lost its place in the stream may end early without an error, hence the
/// counting.
struct Collected {
    copies: Vec<Replayed<Postgres>>,
    /// Those of the copy under way, and how many it must have.
    rows: Vec<PgRow>,
    expected: usize,
    as_expected: bool,
}

impl Collected {
    /// `rows` must have been held against the stored bytes.
    fn with_room_for(rows: usize, copies: usize) -> Self {
        Self { copies: Vec::with_capacity(copies), rows: Vec::new(), expected: rows, as_expected: true }
    }

    fn take(&mut self, item: Item) {
        match item {
            Either::Left(result) => {
                self.as_expected &= self.rows.len() == self.expected && result.rows_affected() == self.expected as u64;
                self.copies.push(Replayed { rows: std::mem::take(&mut self.rows), result });
            }
            Either::Right(row) => {
                if self.rows.is_empty() {
                    self.rows.reserve_exact(self.expected);
                }
                self.rows.push(row);
            }
        }
    }

    fn finish(self, copies: usize) -> Result<Vec<Replayed<Postgres>>, Unfaithful> {
        if self.as_expected && self.rows.is_empty() && self.copies.len() == copies {
            Ok(self.copies)
        } else {
            Err(Unfaithful::because("the replay connection gave another number of rows"))
        }
    }
}

async fn collect(
    mut reply: impl Stream<Item = Result<Item, sqlx::Error>> + Unpin,
    rows: usize,
) -> Result<Replayed<Postgres>, Unfaithful> {
    let mut collected = Collected::with_room_for(rows, 1);
    while let Some(item) = reply.try_next().await.map_err(refused)? {
        collected.take(item);
    }
    collected.finish(1)?.pop().ok_or_else(|| Unfaithful::because("the replay connection gave no rows"))
}

fn columns(stored: &Stored<Shape>) -> Result<u16, Unfaithful> {
    u16::try_from(stored.shape.columns()).map_err(|_| Unfaithful::because("there are too many columns"))
}

fn broken(error: io::Error) -> Unfaithful {
    Unfaithful::because(format!("the replay socket failed: {error}"))
}

fn refused(error: sqlx::Error) -> Unfaithful {
    Unfaithful::because(format!("the replay connection refused its reply: {error}"))
}
