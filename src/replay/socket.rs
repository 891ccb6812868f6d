//! A Unix socket that only this process can connect to.
//!
//! In: a folder for temporary files. Out: the two ends of a connection.
//! It never lets another user or process in.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

/// Who may connect: the user and the process that opened the socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub user: u32,
    pub process: u32,
}

impl Peer {
    fn admits(self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| {
            // Not every system tells the process. The folder keeps other users out in any case.
            peer.uid() == self.user && peer.pid().is_none_or(|pid| u32::try_from(pid) == Ok(self.process))
        })
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

/// Waits for our own client; others are hung up on.
pub(super) async fn accept(listener: &UnixListener, peer: Peer) -> io::Result<UnixStream> {
    loop {
        let (stream, _) = listener.accept().await?;
        if peer.admits(&stream) {
            return Ok(stream);
        }
        tracing::warn!("a foreign process connected to the private replay socket and was refused");
    }
}

/// How much can be written to a Unix socket before anyone reads, with a margin: 8 KiB on macOS, 200 KiB on Linux. It is
/// not measured beyond about `most`.
pub(super) fn room(most: usize) -> io::Result<usize> {
    let (mut near, _far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let mut room = 0;
    loop {
        match near.write(&[0; 4 << 10]) {
            Ok(written) if room < 4 * most => room += written,
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok((room / 2).min(most))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    /// Where the other process of the test below finds the socket.
    const SOCKET: &str = "LARDER_TEST_FOREIGN_SOCKET";

    #[test]
    fn the_folder_is_private_and_goes() {
        let (folder, owner) = private_folder(&std::env::temp_dir()).unwrap();
        let path = folder.path().to_owned();
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o700, owner));
        drop(folder);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn another_user_or_process_is_refused() {
        let (folder, owner) = private_folder(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let process = std::process::id();
        for peer in [Peer { user: owner, process: process + 1 }, Peer { user: owner + 1, process }] {
            let mut stranger = UnixStream::connect(&path).unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(100), accept(&listener, peer)).await;
            assert!(answer.is_err(), "went on with {peer:?}");
            // Hung up on, without a word.
            assert_eq!(stranger.read(&mut [0; 1]).unwrap(), 0);
        }
        let _own = UnixStream::connect(&path).unwrap();
        accept(&listener, Peer { user: owner, process }).await.unwrap();
    }

    /// Starts this test program once more as the stranger.
    #[tokio::test]
    async fn a_foreign_process_is_refused() {
        let (folder, owner) = private_folder(&std::env::temp_dir()).unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut stranger = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "replay::socket::tests::plays_the_foreign_process", "--ignored"])
            .env(SOCKET, &path)
            .spawn()
            .unwrap();
        let peer = Peer { user: owner, process: std::process::id() };
        let mut ended = tokio::task::spawn_blocking(move || stranger.wait().unwrap());
        tokio::select! {
            _ = accept(&listener, peer) => panic!("the foreign process was let in"),
            ended = &mut ended => assert!(ended.unwrap().success(), "the foreign process got an answer"),
        }
    }

    #[test]
    #[ignore = "run by another test, in a process of its own"]
    fn plays_the_foreign_process() {
        let Some(path) = std::env::var_os(SOCKET) else { return };
        let mut socket = UnixStream::connect(path).unwrap();
        assert_eq!(socket.read(&mut [0; 1]).unwrap(), 0);
    }
}
