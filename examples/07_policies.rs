//! Lesson 7: how long results live, which of them are replaced while nobody waits, and how to drop a whole page at once.
//!
//! `cargo run --example 07_policies`

use std::time::Duration;

use larder::{Policy, Reason, SqlitePool};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let pool = SqlitePool::connect("sqlite::memory:").await?;
    sqlx::raw_sql("CREATE TABLE news (title TEXT); INSERT INTO news VALUES ('old')").execute(&pool).await?;
    let title = || sqlx::query_scalar::<_, String>("SELECT title FROM news");
    // What another program writes: nobody tells this one, so that only time helps.
    let elsewhere = |sql: &'static str| sqlx::query(sql).execute(pool.inner());

    // A pool with a policy is the same pool, looked at in another way. What it leaves open stays as it was.
    let brief = pool.with(Policy::ttl(1000 * MS));
    assert_eq!(title().fetch_one(&brief).await?, "old");
    elsewhere("UPDATE news SET title = 'new'").await?;
    assert_eq!(title().fetch_one(&brief).await?, "old");
    sleep(1000 * MS).await;
    println!("ttl: at the end of its time the result is asked for anew: {}", title().fetch_one(&brief).await?);
    assert_eq!(title().fetch_one(&brief).await?, "new");
    assert_eq!(pool.stats().misses_by_reason[&Reason::Expired], 1);

    // After its soft end a result is still given out, but the first who asks has it replaced in the background.
    let soft = pool.with(Policy::ttl(60_000 * MS).soft_ttl(50 * MS));
    elsewhere("UPDATE news SET title = 'newer'").await?;
    sleep(100 * MS).await;
    let misses = pool.stats().misses;
    assert_eq!(title().fetch_one(&soft).await?, "new");
    while title().fetch_one(&soft).await? == "new" {
        sleep(MS).await;
    }
    println!("soft_ttl: nobody waited for what came in the background:  {}", title().fetch_one(&soft).await?);
    assert_eq!(pool.stats().misses, misses);

    // A tag is a name for what belongs together, whatever tables it rests on.
    let home = pool.with(Policy::default().tag("home"));
    assert_eq!(title().fetch_one(&home).await?, "newer");
    elsewhere("UPDATE news SET title = 'newest'").await?;
    pool.invalidate_tags(["home"]);
    println!("tags: what was kept as home is gone at once:              {}", title().fetch_one(&home).await?);
    assert_eq!((title().fetch_one(&home).await?, title().fetch_one(&soft).await?), ("newest".into(), "newer".into()));

    // Some things are not to be kept at all.
    let never = pool.with(Policy::never());
    println!("never: the database is asked, and nothing is kept:        {}", title().fetch_one(&never).await?);
    assert_eq!(title().fetch_one(&never).await?, "newest");
    assert_eq!(pool.stats().bypasses_by_reason[&Reason::NeverCache], 2);
    Ok(())
}
