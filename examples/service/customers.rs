//! Who buys.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::db::SqlitePool;
use crate::error::{AppError, Faults};
use crate::extract::{Json, Path, Query};
use crate::orders::{self, Summary};
use crate::paging::{Page, Paging};

#[derive(Debug, Serialize, FromRow)]
pub struct Customer {
    id: i64,
    name: String,
    email: String,
}

/// A customer with the latest orders.
#[derive(Debug, Serialize)]
pub struct Detail {
    #[serde(flatten)]
    customer: Customer,
    spent_cents: i64,
    orders: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
pub struct NewCustomer {
    name: String,
    email: String,
}

pub async fn list(
    State(pool): State<SqlitePool>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Page<Customer>>, AppError> {
    paging.check()?;
    let total = sqlx::query_scalar("SELECT count(*) FROM customers").fetch_one(&pool).await?;
    let items = sqlx::query_as("SELECT id, name, email FROM customers ORDER BY name, id LIMIT $1 OFFSET $2")
        .bind(paging.per_page())
        .bind(paging.offset())
        .fetch_all(&pool)
        .await?;
    Ok(Reply(paging.of(items, total)))
}

pub async fn show(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Reply<Detail>, AppError> {
    let customer = sqlx::query_as("SELECT id, name, email FROM customers WHERE id = $1")
        .bind(id)
        .fetch_optional(&pool)
        .await?
        .ok_or(AppError::NotFound("such customer"))?;
    let spent_cents = sqlx::query_scalar(
        "SELECT coalesce(sum(i.quantity * i.price_cents), 0)
         FROM orders o JOIN order_items i ON i.order_id = o.id
         WHERE o.customer_id = $1 AND o.status = 'placed'",
    )
    .bind(id)
    .fetch_one(&pool)
    .await?;
    Ok(Reply(Detail { customer, spent_cents, orders: orders::latest_of(&pool, id).await? }))
}

pub async fn create(
    State(pool): State<SqlitePool>,
    Json(new): Json<NewCustomer>,
) -> Result<impl IntoResponse, AppError> {
    Faults::default()
        .check(!new.name.trim().is_empty(), "name", "must not be empty")
        .check(
            new.email.split_once('@').is_some_and(|(who, at)| !who.is_empty() && at.contains('.')),
            "email",
            "is no address",
        )
        .done()?;
    let customer: Customer =
        sqlx::query_as("INSERT INTO customers (name, email) VALUES ($1, $2) RETURNING id, name, email")
            .bind(&new.name)
            .bind(&new.email)
            .fetch_one(&pool)
            .await
            .map_err(|error| match error.as_database_error() {
                Some(refused) if refused.is_unique_violation() => AppError::conflict("this address has an account"),
                _ => error.into(),
            })?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/customers/{}", customer.id))], Reply(customer)))
}
