//! Migrations.
//!
//! In: sqlx's migrator. Out: the same outcome as sqlx's, and a pool that knows the new schema.
//! It never keeps anything that was read before a migration, whether that succeeded or not.

use sqlx::migrate::{MigrateError, Migrator};

use crate::backend::Backend;
use crate::pool::CachedPool;

impl<DB: Backend> CachedPool<DB> {
    /// Runs the migrations that are to be run, as [`Migrator::run`] does, on a connection of its own. Everything is
    /// invalidated, also if a migration fails half way, and the schema is looked at anew.
    ///
    /// A migrator that is run on [`CachedPool::inner`] instead is not seen: call [`CachedPool::clear`] after it.
    ///
    /// ```no_run
    /// # async fn f(pool: larder::PgPool) -> Result<(), Box<dyn std::error::Error>> {
    /// pool.migrate(&sqlx::migrate::Migrator::new(std::path::Path::new("migrations")).await?).await?;
    /// # Ok(()) }
    /// ```
    /// or, with the files in the program, `pool.migrate(&sqlx::migrate!()).await?`.
    ///
    /// # Errors
    /// Those of [`Migrator::run`].
    pub async fn migrate(&self, migrator: &Migrator) -> Result<(), MigrateError> {
        // Lent raw: everything is in flight from here until the connection was given back, whatever becomes of this future.
        let mut connection = self.acquire().await?;
        // Where it stops half way, sqlx leaves its lock behind, and the next migrator would wait for it.
        connection.parts().1.unfinished = DB::outlives_connections(&self.connect_options());
        let migrated = DB::migrate(&mut connection, migrator).await;
        connection.parts().1.unfinished &= migrated.is_err();
        connection.give_back().await;
        self.look_again().await;
        migrated
    }
}
