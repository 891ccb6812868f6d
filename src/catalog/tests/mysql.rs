//! The survey of a real MariaDB.

use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::servers;
use crate::analysis::{self, Dialect};
use crate::catalog::mysql;

#[tokio::test]
async fn functions_that_this_server_does_not_have_are_not_taken_for_built_in() {
    let mut connection = MySqlConnection::connect(&servers::mariadb()).await.unwrap();
    sqlx::raw_sql("CREATE TABLE t (x INT)").execute(&mut connection).await.unwrap();
    let gate = mysql::survey(&mut connection).await.unwrap().gate;
    let mut told = async |name: &str| {
        let sql = format!("SELECT {name}(x) FROM t");
        let facts = analysis::analyze(&sql, Dialect::MySql);
        let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        let unknown = ran.is_err_and(|error| error.to_string().contains("1305"));
        (unknown, facts.cacheable(), gate.reads(&facts).is_ok())
    };
    for name in analysis::not_built_in("10.11.0-MariaDB") {
        assert_eq!(told(name).await, (true, true, false), "{name}");
    }
    for name in analysis::not_built_in("8.4.0").chain(["abs", "st_srid"]) {
        let (unknown, cacheable, passes) = told(name).await;
        assert!(!unknown && passes == cacheable, "{name}");
    }
}
