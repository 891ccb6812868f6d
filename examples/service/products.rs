//! What the shop sells.

use axum::Json as Reply;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteExecutor};

use crate::db::{SqliteConnection, SqlitePool};
use crate::error::{AppError, Faults};
use crate::extract::{Json, Path, Query};
use crate::paging::{Page, Paging};

#[derive(Debug, Serialize, FromRow)]
pub struct Product {
    id: i64,
    sku: String,
    name: String,
    category: String,
    price_cents: i64,
    stock: i64,
}

/// A product, and how it sells.
#[derive(Debug, Serialize, FromRow)]
pub struct Detail {
    #[serde(flatten)]
    #[sqlx(flatten)]
    product: Product,
    units_sold: i64,
    buyers: i64,
}

#[derive(Debug, Serialize, FromRow)]
pub struct Category {
    name: String,
    products: i64,
    in_stock: i64,
    cheapest_cents: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct Filter {
    search: Option<String>,
    category: Option<String>,
    #[serde(default)]
    in_stock: bool,
    #[serde(default)]
    sort: Sort,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Name,
    Cheapest,
    Dearest,
}

/// A product as it is sent in.
#[derive(Debug, Deserialize)]
pub struct NewProduct {
    sku: String,
    name: String,
    category: String,
    price_cents: i64,
    stock: i64,
}

impl NewProduct {
    fn check(&self) -> Result<(), AppError> {
        Faults::default()
            .check(!self.sku.trim().is_empty(), "sku", "must not be empty")
            .check(!self.name.trim().is_empty(), "name", "must not be empty")
            .check(!self.category.trim().is_empty(), "category", "must not be empty")
            .check(self.price_cents >= 0, "price_cents", "must not be negative")
            .check(self.stock >= 0, "stock", "must not be negative")
            .done()
    }
}

impl Filter {
    fn push(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" FROM products p JOIN categories c ON c.id = p.category_id WHERE true");
        if let Some(search) = &self.search {
            sql.push(" AND (p.name LIKE ").push_bind(format!("%{search}%"));
            sql.push(" OR p.sku = ").push_bind(search.clone()).push(")");
        }
        if let Some(category) = &self.category {
            sql.push(" AND c.name = ").push_bind(category.clone());
        }
        if self.in_stock {
            sql.push(" AND p.stock > 0");
        }
    }
}

pub async fn list(
    State(pool): State<SqlitePool>,
    Query(filter): Query<Filter>,
    Query(paging): Query<Paging>,
) -> Result<Reply<Page<Product>>, AppError> {
    paging.check()?;
    let mut count = QueryBuilder::new("SELECT count(*)");
    filter.push(&mut count);
    let total = count.build_query_scalar().fetch_one(&pool).await?;

    let mut page = QueryBuilder::new("SELECT p.id, p.sku, p.name, c.name AS category, p.price_cents, p.stock");
    filter.push(&mut page);
    page.push(match filter.sort {
        Sort::Name => " ORDER BY p.name, p.id",
        Sort::Cheapest => " ORDER BY p.price_cents, p.id",
        Sort::Dearest => " ORDER BY p.price_cents DESC, p.id",
    });
    page.push(" LIMIT ").push_bind(paging.per_page()).push(" OFFSET ").push_bind(paging.offset());
    let items = page.build_query_as().fetch_all(&pool).await?;
    Ok(Reply(paging.of(items, total)))
}

pub async fn show(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<Reply<Detail>, AppError> {
    find(&pool, id).await.map(Reply)
}

pub async fn categories(State(pool): State<SqlitePool>) -> Result<Reply<Vec<Category>>, AppError> {
    let categories = sqlx::query_as(
        "SELECT c.name, count(p.id) AS products, coalesce(sum(p.stock), 0) AS in_stock, min(p.price_cents) AS cheapest_cents
         FROM categories c LEFT JOIN products p ON p.category_id = c.id
         GROUP BY c.id ORDER BY c.name",
    );
    Ok(Reply(categories.fetch_all(&pool).await?))
}

pub async fn create(
    State(pool): State<SqlitePool>,
    Json(new): Json<NewProduct>,
) -> Result<impl IntoResponse, AppError> {
    new.check()?;
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let category = category_id(&mut tx, &new.category).await?;
    let id = sqlx::query_scalar(
        "INSERT INTO products (sku, name, category_id, price_cents, stock) VALUES ($1, $2, $3, $4, $5) RETURNING id",
    )
    .bind(&new.sku)
    .bind(&new.name)
    .bind(category)
    .bind(new.price_cents)
    .bind(new.stock)
    .fetch_one(&mut *tx)
    .await
    .map_err(sku_taken)?;
    let product = find(&mut *tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/products/{id}"))], Reply(product)))
}

pub async fn update(
    State(pool): State<SqlitePool>,
    Path(id): Path<i64>,
    Json(new): Json<NewProduct>,
) -> Result<Reply<Detail>, AppError> {
    new.check()?;
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let category = category_id(&mut tx, &new.category).await?;
    sqlx::query(
        "UPDATE products SET sku = $1, name = $2, category_id = $3, price_cents = $4, stock = $5 WHERE id = $6",
    )
    .bind(&new.sku)
    .bind(&new.name)
    .bind(category)
    .bind(new.price_cents)
    .bind(new.stock)
    .bind(id)
    .execute(&mut *tx)
    .await
    .map_err(sku_taken)?;
    let product = find(&mut *tx, id).await?;
    tx.commit().await?;
    Ok(Reply(product))
}

pub async fn delete(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<StatusCode, AppError> {
    let deleted = sqlx::query("DELETE FROM products WHERE id = $1").bind(id).execute(&pool).await;
    let deleted = deleted.map_err(|error| match error.as_database_error() {
        Some(refused) if refused.is_foreign_key_violation() => AppError::conflict("the product has been ordered"),
        _ => error.into(),
    })?;
    if deleted.rows_affected() == 0 { Err(AppError::NotFound("such product")) } else { Ok(StatusCode::NO_CONTENT) }
}

async fn find(db: impl SqliteExecutor<'_>, id: i64) -> Result<Detail, AppError> {
    let found = sqlx::query_as(
        "SELECT p.id, p.sku, p.name, c.name AS category, p.price_cents, p.stock,
                coalesce(sum(i.quantity), 0) AS units_sold, count(DISTINCT o.customer_id) AS buyers
         FROM products p
         JOIN categories c ON c.id = p.category_id
         LEFT JOIN orders o ON o.status = 'placed' AND o.id IN (SELECT order_id FROM order_items WHERE product_id = p.id)
         LEFT JOIN order_items i ON i.order_id = o.id AND i.product_id = p.id
         WHERE p.id = $1 GROUP BY p.id",
    );
    found.bind(id).fetch_optional(db).await?.ok_or(AppError::NotFound("such product"))
}

/// The category of this name, new if need be.
async fn category_id(connection: &mut SqliteConnection, name: &str) -> Result<i64, sqlx::Error> {
    let known = sqlx::query_scalar("SELECT id FROM categories WHERE name = $1");
    match known.bind(name).fetch_optional(&mut *connection).await? {
        Some(id) => Ok(id),
        None => {
            let new = sqlx::query_scalar("INSERT INTO categories (name) VALUES ($1) RETURNING id");
            new.bind(name).fetch_one(connection).await
        }
    }
}

fn sku_taken(error: sqlx::Error) -> AppError {
    match error.as_database_error() {
        Some(refused) if refused.is_unique_violation() => AppError::conflict("another product has this sku"),
        _ => error.into(),
    }
}
