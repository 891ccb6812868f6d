//! The lesson that needs a server, on each kind of server. The others run as they stand.

use crate::servers;

#[allow(dead_code)]
#[path = "../../examples/09_on_a_server.rs"]
mod on_a_server;

#[tokio::test]
async fn on_postgres() {
    on_a_server::run(&servers::postgres()).await.unwrap();
}

#[tokio::test]
async fn on_mysql() {
    // One of its own: what others do to the shared one is seen by all pools of this process.
    let server = tokio::task::spawn_blocking(servers::MariaDb::start).await.unwrap();
    on_a_server::run(&server.fresh()).await.unwrap();
}
