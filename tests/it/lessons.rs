//! The lesson that needs a server, on each kind of server. The others run as they stand.

use crate::servers;

#[allow(dead_code)]
#[path = "../../examples/09_on_a_server.rs"]
mod on_a_server;

#[tokio::test]
async fn on_postgres() {
    on_a_server::run(&servers::postgres()).await.unwrap();
}

#[test]
fn on_mysql() {
    crate::support::alone(async { on_a_server::run(&servers::mariadb()).await.unwrap() });
}
