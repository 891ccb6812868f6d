//! The servers that tests start can be disturbed as promised, and never outlive the process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, MySqlConnection, PgConnection};

use crate::servers::{self, MariaDb, Postgres};

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    for _ in 0..2 {
        let mut connection = PgConnection::connect(&servers::postgres()).await.unwrap();
        connection.execute("CREATE TABLE t (a int)").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_can_be_paused_killed_stopped_and_restarted() {
    let mut server = Postgres::start();
    let database = server.create_database();
    let mut connection = PgConnection::connect(&server.socket_url(&database)).await.unwrap();
    connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (7)").await.unwrap();

    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(300), connection.execute("SELECT a FROM t")).await;
    assert!(answer.is_err(), "a paused server answers nothing");
    server.resume();
    let mut connection = PgConnection::connect(&server.url(&database)).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), 7);

    // No time for the server to write it out later: a test that kills it relies on what was confirmed.
    connection.execute("UPDATE t SET a = 8").await.unwrap();
    server.kill();
    assert!(read(&mut connection).await.is_err());
    assert!(PgConnection::connect(&server.url(&database)).await.is_err());
    server.restart();
    let mut connection = PgConnection::connect(&server.url(&database)).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), 8, "what was committed just before is still there");

    server.stop();
    assert!(read(&mut connection).await.is_err());
    server.restart();
    assert_eq!(server.psql(&database, "SELECT 1"), "1");
}

async fn read(connection: &mut PgConnection) -> sqlx::Result<i32> {
    sqlx::query_scalar("SELECT a FROM t").fetch_one(connection).await
}

#[tokio::test]
async fn mariadb_can_be_paused_killed_stopped_and_restarted() {
    async fn read(connection: &mut MySqlConnection) -> sqlx::Result<i32> {
        sqlx::query_scalar("SELECT a FROM t").fetch_one(connection).await
    }

    let mut server = MariaDb::start();
    let database = server.create_database();
    let mut connection = MySqlConnection::connect(&server.socket_url(&database)).await.unwrap();
    connection.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (7)").await.unwrap();

    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(300), connection.execute("SELECT a FROM t")).await;
    assert!(answer.is_err(), "a paused server answers nothing");
    server.resume();
    let mut connection = MySqlConnection::connect(&server.url(&database)).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), 7);

    connection.execute("UPDATE t SET a = 8").await.unwrap();
    server.kill();
    assert!(read(&mut connection).await.is_err());
    assert!(MySqlConnection::connect(&server.url(&database)).await.is_err());
    server.restart();
    let mut connection = MySqlConnection::connect(&server.url(&database)).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), 8, "what was committed just before is still there");

    server.stop();
    assert!(read(&mut connection).await.is_err());
    server.restart();
    assert_eq!(server.mysql(&database, "SELECT a FROM t"), "8");
}

/// A process starts a server and is killed with SIGKILL, where none of its own code can tidy up.
#[test]
fn a_server_ends_with_its_process() {
    let program = std::env::current_exe().unwrap();
    let mut victim = Command::new(program)
        .args(["--exact", "servers_come_and_go::victim", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(victim.stdout.take().unwrap());
    let mut words = std::io::BufRead::lines(lines).map_while(Result::ok).filter_map(|line| {
        // The test harness may have written the name of the test before it on the same line.
        ["folder ", "port "].iter().find_map(|lead| Some(line.split_once(lead)?.1.to_owned()))
    });
    let servers: Vec<(String, u16)> = (0..2)
        .map(|_| {
            let folder = words.next().expect("the other process tells its server's folder");
            (folder, words.next().expect("... and port").parse().unwrap())
        })
        .collect();
    let answers = |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok();
    assert!(servers.iter().all(|(_, port)| answers(port)));
    victim.kill().unwrap();
    victim.wait().unwrap();
    let start = Instant::now();
    while servers.iter().any(|(folder, port)| answers(port) || Path::new(folder).exists()) {
        assert!(start.elapsed() < Duration::from_secs(20), "a server or its folder is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "not a test: the process that a_server_ends_with_its_process kills"]
fn victim() {
    let (postgres, mariadb) = (Postgres::start(), MariaDb::start());
    for (folder, port) in [(postgres.folder(), postgres.port()), (mariadb.folder(), mariadb.port())] {
        println!("folder {}", folder.display());
        println!("port {port}");
    }
    std::thread::sleep(Duration::from_secs(60));
}
