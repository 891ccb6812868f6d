//! The socket that replay connections run over is ours alone.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use tokio::net::UnixListener;

use super::link::{Link, Peer, private_folder, welcome};

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
async fn an_open_link_leaves_no_folder() {
    let link = Link::open().await.unwrap();
    // Other tests open links at the same time: look at this one's own address.
    let address = link.address();
    assert!(address.ends_with(".s.PGSQL.5432"), "{address:?}");
    assert!(!address.exists() && !address.parent().unwrap().exists());
}

#[tokio::test]
async fn another_user_or_process_is_refused() {
    let (folder, owner) = private_folder(&std::env::temp_dir()).unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    for peer in
        [Peer { user: owner, process: std::process::id() + 1 }, Peer { user: owner + 1, process: std::process::id() }]
    {
        let mut stranger = UnixStream::connect(&path).unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(100), welcome(&listener, peer)).await;
        assert!(answer.is_err(), "went on with {peer:?}");
        // Hung up on, without a word.
        assert_eq!(stranger.read(&mut [0; 1]).unwrap(), 0);
    }
}

/// Starts this test program once more as the stranger.
#[tokio::test]
async fn a_foreign_process_is_refused() {
    let (folder, owner) = private_folder(&std::env::temp_dir()).unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut stranger = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "replay::postgres::tests::sockets::plays_the_foreign_process", "--ignored"])
        .env(SOCKET, &path)
        .spawn()
        .unwrap();
    let peer = Peer { user: owner, process: std::process::id() };
    let mut ended = tokio::task::spawn_blocking(move || stranger.wait().unwrap());
    tokio::select! {
        _ = welcome(&listener, peer) => panic!("the foreign process was let in"),
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
