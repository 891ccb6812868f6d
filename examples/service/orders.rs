//! What was bought. An order takes its goods from the stock, all of them or none.

use std::collections::BTreeSet;

use axum::Json as Reply;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, QueryBuilder, SqliteExecutor};

use crate::db::{SqliteConnection, SqlitePool};
use crate::error::{AppError, Faults};
use crate::extract::{Json, Path, Query};
use crate::paging::{Page, Paging};

/// An order as it stands in a list.
#[derive(Debug, Serialize, FromRow)]
pub struct Summary {
    id: i64,
    customer: String,
    status: Status,
    placed_at: String,
    total_cents: i64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(rename_all = "snake_case")]
enum Status {
    Placed,
    Cancelled,
}

#[derive(Debug, Serialize)]
pub struct Order {
    #[serde(flatten)]
    summary: Summary,
    items: Vec<Item>,
}

#[derive(Debug, Serialize, FromRow)]
struct Item {
    product_id: i64,
    product: String,
    quantity: i64,
    price_cents: i64,
}

#[derive(Debug, Deserialize)]
pub struct NewOrder {
    customer_id: i64,
    items: Vec<NewItem>,
}

#[derive(Debug, Deserialize)]
struct NewItem {
    product_id: i64,
    quantity: i64,
}

#[derive(Debug, Deserialize)]
pub struct Filter {
    status: Option<Status>,
}

impl NewOrder {
    fn check(&self) -> Result<(), AppError> {
        let products: BTreeSet<i64> = self.items.iter().map(|item| item.product_id).collect();
        Faults::default()
            .check(!self.items.is_empty(), "items", "must not be empty")
            .check(self.items.len() <= 50, "items", "must not be more than 50")
            .check(products.len() == self.items.len(), "items", "must not name a product twice")
            .check(
                self.items.iter().all(|item| (1..=1000).contains(&item.quantity)),
                "items",
                "go from 1 to 1000 pieces",
            )
            .done()
    }
}

pub async fn list(
    State(pool): State<SqlitePool>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Page<Summary>>, AppError> {
    paging.check()?;
    let total = sqlx::query_scalar("SELECT count(*) FROM orders WHERE $1 IS NULL OR status = $1")
        .bind(filter.status)
        .fetch_one(&pool)
        .await?;
    let mut page = QueryBuilder::new(SUMMARIES);
    if let Some(status) = filter.status {
        page.push(" WHERE o.status = ").push_bind(status);
    }
    page.push(" GROUP BY o.id ORDER BY o.id DESC LIMIT ").push_bind(paging.per_page());
    page.push(" OFFSET ").push_bind(paging.offset());
    Ok(Reply(paging.of(page.build_query_as().fetch_all(&pool).await?, total)))
}

pub async fn show(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Reply<Order>, AppError> {
    find(&pool, id).await.map(Reply)
}

pub async fn place(State(pool): State<SqlitePool>, Json(new): Json<NewOrder>) -> Result<impl IntoResponse, AppError> {
    new.check()?;
    // Writes from its first statement on: begun as a read, it could lose the race for the lock half-way.
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let customer = sqlx::query_scalar::<_, i64>("SELECT id FROM customers WHERE id = $1");
    let known = customer.bind(new.customer_id).fetch_optional(&mut *tx).await?;
    Faults::default().check(known.is_some(), "customer_id", "is no customer").done()?;
    let id = sqlx::query_scalar("INSERT INTO orders (customer_id) VALUES ($1) RETURNING id")
        .bind(new.customer_id)
        .fetch_one(&mut *tx)
        .await?;
    for item in &new.items {
        take_from_stock(&mut tx, id, item).await?;
    }
    tx.commit().await?;
    let order = find(&pool, id).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/orders/{id}"))], Reply(order)))
}

pub async fn cancel(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Reply<Order>, AppError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let cancelled = sqlx::query("UPDATE orders SET status = 'cancelled' WHERE id = $1 AND status = 'placed'")
        .bind(id)
        .execute(&mut *tx)
        .await?;
    if cancelled.rows_affected() == 0 {
        drop(tx);
        find(&pool, id).await?;
        return Err(AppError::conflict("the order is already cancelled"));
    }
    put_back(&mut *tx, id).await?;
    tx.commit().await?;
    find(&pool, id).await.map(Reply)
}

/// The ten latest orders of a customer.
pub async fn latest_of(pool: &SqlitePool, customer: i64) -> Result<Vec<Summary>, sqlx::Error> {
    let mut latest = QueryBuilder::new(SUMMARIES);
    latest.push(" WHERE o.customer_id = ").push_bind(customer);
    latest.push(" GROUP BY o.id ORDER BY o.id DESC LIMIT 10");
    latest.build_query_as().fetch_all(pool).await
}

const SUMMARIES: &str =
    "SELECT o.id, c.name AS customer, o.status, o.placed_at, sum(i.quantity * i.price_cents) AS total_cents
     FROM orders o JOIN customers c ON c.id = o.customer_id JOIN order_items i ON i.order_id = o.id";

async fn find(pool: &SqlitePool, id: i64) -> Result<Order, AppError> {
    let mut order = QueryBuilder::new(SUMMARIES);
    order.push(" WHERE o.id = ").push_bind(id).push(" GROUP BY o.id");
    let summary = order.build_query_as().fetch_optional(pool).await?.ok_or(AppError::NotFound("such order"))?;
    let items = sqlx::query_as(
        "SELECT i.product_id, p.name AS product, i.quantity, i.price_cents
         FROM order_items i JOIN products p ON p.id = i.product_id
         WHERE i.order_id = $1 ORDER BY i.product_id",
    );
    Ok(Order { summary, items: items.bind(id).fetch_all(pool).await? })
}

async fn take_from_stock(connection: &mut SqliteConnection, order: i64, item: &NewItem) -> Result<(), AppError> {
    let taken: Option<i64> = sqlx::query_scalar(
        "UPDATE products SET stock = stock - $1 WHERE id = $2 AND stock >= $1 RETURNING price_cents",
    )
    .bind(item.quantity)
    .bind(item.product_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(price) = taken else {
        let name = sqlx::query_scalar::<_, String>("SELECT name FROM products WHERE id = $1");
        let name = name.bind(item.product_id).fetch_optional(connection).await?;
        Faults::default().check(name.is_some(), "items", "name a product that there is not").done()?;
        return Err(AppError::conflict(format!("too few left: {}", name.unwrap_or_default())));
    };
    sqlx::query("INSERT INTO order_items (order_id, product_id, quantity, price_cents) VALUES ($1, $2, $3, $4)")
        .bind(order)
        .bind(item.product_id)
        .bind(item.quantity)
        .bind(price)
        .execute(connection)
        .await?;
    Ok(())
}

/// Puts the goods of an order back into the stock.
async fn put_back(db: impl SqliteExecutor<'_>, order: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE products SET stock = stock + i.quantity
         FROM order_items i WHERE i.order_id = $1 AND i.product_id = products.id",
    )
    .bind(order)
    .execute(db)
    .await?;
    Ok(())
}
