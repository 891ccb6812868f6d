//! Lesson 9: the same on a server. What differs between PostgreSQL and MySQL (or MariaDB) is what differs in sqlx: how
//! parameters are written, and how the database tells the id of a new row.
//!
//! `DATABASE_URL=mysql://root@localhost/test cargo run --example 09_on_a_server`
//! `DATABASE_URL=postgres://postgres@localhost/postgres cargo run --example 09_on_a_server`
//!
//! It makes a table called larder_lesson_books there, and drops it.

use larder::{MySqlPool, PgPool};
use sqlx::Row;

#[tokio::main]
async fn main() -> Result<(), sqlx::Error> {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        eprintln!("Set DATABASE_URL to a server you have, as the first lines of this lesson show.");
        std::process::exit(2);
    };
    run(&url).await
}

pub async fn run(url: &str) -> Result<(), sqlx::Error> {
    match url.split(':').next() {
        Some("mysql" | "mariadb") => on_mysql(&MySqlPool::connect(url).await?).await,
        _ => on_postgres(&PgPool::connect(url).await?).await,
    }
}

async fn on_mysql(pool: &MySqlPool) -> Result<(), sqlx::Error> {
    let books = "CREATE TABLE larder_lesson_books (id INT AUTO_INCREMENT PRIMARY KEY, title VARCHAR(100) NOT NULL)";
    sqlx::query(books).execute(pool).await?;

    // The id comes with the result of the statement, as with sqlx alone.
    let added = sqlx::query("INSERT INTO larder_lesson_books (title) VALUES (?)").bind("Emma").execute(pool).await?;
    assert_eq!((added.last_insert_id(), added.rows_affected()), (1, 1));

    let title = || sqlx::query_scalar::<_, String>("SELECT title FROM larder_lesson_books WHERE id = ?").bind(1);
    assert_eq!(title().fetch_one(pool).await?, "Emma");
    assert_eq!(title().fetch_one(pool).await?, "Emma");
    assert_eq!(pool.stats().hits, 1);

    // Two writes in one: MySQL counts the row that was there twice.
    let put = "INSERT INTO larder_lesson_books (id, title) VALUES (?, ?) ON DUPLICATE KEY UPDATE title = VALUES(title)";
    let put = sqlx::query(put).bind(1).bind("Persuasion").execute(pool).await?;
    assert_eq!(put.rows_affected(), 2);
    assert_eq!(title().fetch_one(pool).await?, "Persuasion");

    // The clock, a variable and a lock are no answers to keep.
    for sql in ["SELECT title, NOW() FROM larder_lesson_books", "SELECT title FROM larder_lesson_books FOR UPDATE"] {
        let bypasses = pool.stats().bypasses;
        sqlx::query(sql).fetch_all(pool).await?;
        assert_eq!(pool.stats().bypasses, bypasses + 1);
    }
    println!("MySQL:\n{}", pool.stats());
    sqlx::query("DROP TABLE larder_lesson_books").execute(pool).await?;
    Ok(())
}

async fn on_postgres(pool: &PgPool) -> Result<(), sqlx::Error> {
    let books =
        "CREATE TABLE larder_lesson_books (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title TEXT NOT NULL)";
    sqlx::query(books).execute(pool).await?;

    // The id is a row of the answer.
    let added = sqlx::query("INSERT INTO larder_lesson_books (title) VALUES ($1) RETURNING id").bind("Emma");
    assert_eq!(added.fetch_one(pool).await?.get::<i32, _>(0), 1);

    let title = || sqlx::query_scalar::<_, String>("SELECT title FROM larder_lesson_books WHERE id = $1").bind(1);
    assert_eq!(title().fetch_one(pool).await?, "Emma");
    assert_eq!(title().fetch_one(pool).await?, "Emma");
    assert_eq!(pool.stats().hits, 1);

    sqlx::query("UPDATE larder_lesson_books SET title = $1").bind("Persuasion").execute(pool).await?;
    assert_eq!(title().fetch_one(pool).await?, "Persuasion");
    println!("PostgreSQL:\n{}", pool.stats());
    sqlx::query("DROP TABLE larder_lesson_books").execute(pool).await?;
    Ok(())
}
