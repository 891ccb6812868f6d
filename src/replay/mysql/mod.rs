//! stub
use super::{Replay, Replayed, Unfaithful};
use crate::entry::Stored;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::{MySql, SqlStr};
use std::sync::Arc;
pub struct MySqlReplay;
#[derive(Debug)]
pub struct Shape;
impl Replay<MySql> for MySqlReplay {
    type Shape = Shape;
    async fn start() -> Result<Self, Unfaithful> {
        Err(Unfaithful::because("stub"))
    }
    fn row_bytes(_: &MySqlRow) -> usize {
        0
    }
    async fn store(
        &self,
        _: &mut MySqlConnection,
        _: &SqlStr,
        _: &str,
        _: &[MySqlRow],
        _: Option<&Arc<Shape>>,
    ) -> Result<Stored<Shape>, Unfaithful> {
        Err(Unfaithful::because("stub"))
    }
    async fn mint(&self, _: &Stored<Shape>, _: usize) -> Result<Vec<Replayed<MySql>>, Unfaithful> {
        Err(Unfaithful::because("stub"))
    }
    fn copy_bytes(_: &Stored<Shape>) -> usize {
        0
    }
}
