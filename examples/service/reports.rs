//! What was sold.

use axum::Json as Reply;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::chrono::NaiveDate;

use crate::db::SqlitePool;
use crate::error::{AppError, Faults};
use crate::extract::Query;

/// Days such as `2026-02-28`, both included.
#[derive(Debug, Deserialize)]
pub struct Period {
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Sales {
    #[serde(flatten)]
    totals: Totals,
    by_category: Vec<CategorySales>,
    best_customers: Vec<CustomerSales>,
}

#[derive(Debug, Serialize, FromRow)]
struct Totals {
    orders: i64,
    units: i64,
    revenue_cents: i64,
}

#[derive(Debug, Serialize, FromRow)]
struct CategorySales {
    category: String,
    units: i64,
    revenue_cents: i64,
}

#[derive(Debug, Serialize, FromRow)]
struct CustomerSales {
    customer_id: i64,
    name: String,
    orders: i64,
    revenue_cents: i64,
}

pub async fn sales(State(pool): State<SqlitePool>, Query(period): Query<Period>) -> Result<Reply<Sales>, AppError> {
    let (from, to) = (day(&period.from, NaiveDate::MIN), day(&period.to, NaiveDate::MAX));
    Faults::default()
        .check(from.is_some(), "from", "is no day such as 2026-02-28")
        .check(to.is_some(), "to", "is no day such as 2026-02-28")
        .check(from.zip(to).is_none_or(|(from, to)| from <= to), "to", "is before from")
        .done()?;
    // Moments are texts in the order of time: those of the last day are before the day after it.
    let from = from.filter(|day| *day > NaiveDate::MIN).map(|day| day.to_string()).unwrap_or_default();
    let before = to.and_then(|day| day.succ_opt()).map_or("~".to_owned(), |day| day.to_string());

    let totals = sqlx::query_as(
        "SELECT count(DISTINCT o.id) AS orders, coalesce(sum(i.quantity), 0) AS units,
                coalesce(sum(i.quantity * i.price_cents), 0) AS revenue_cents
         FROM orders o JOIN order_items i ON i.order_id = o.id
         WHERE o.status = 'placed' AND o.placed_at >= $1 AND o.placed_at < $2",
    );
    let by_category = sqlx::query_as(
        "SELECT c.name AS category, sum(i.quantity) AS units, sum(i.quantity * i.price_cents) AS revenue_cents
         FROM orders o
         JOIN order_items i ON i.order_id = o.id
         JOIN products p ON p.id = i.product_id
         JOIN categories c ON c.id = p.category_id
         WHERE o.status = 'placed' AND o.placed_at >= $1 AND o.placed_at < $2
         GROUP BY c.id ORDER BY revenue_cents DESC, c.name",
    );
    let best_customers = sqlx::query_as(
        "WITH sums AS (
             SELECT o.customer_id, count(DISTINCT o.id) AS orders, sum(i.quantity * i.price_cents) AS revenue_cents
             FROM orders o JOIN order_items i ON i.order_id = o.id
             WHERE o.status = 'placed' AND o.placed_at >= $1 AND o.placed_at < $2
             GROUP BY o.customer_id
         )
         SELECT sums.customer_id, c.name, sums.orders, sums.revenue_cents
         FROM sums JOIN customers c ON c.id = sums.customer_id
         ORDER BY sums.revenue_cents DESC, c.name LIMIT 5",
    );
    Ok(Reply(Sales {
        totals: totals.bind(&from).bind(&before).fetch_one(&pool).await?,
        by_category: by_category.bind(&from).bind(&before).fetch_all(&pool).await?,
        best_customers: best_customers.bind(&from).bind(&before).fetch_all(&pool).await?,
    }))
}

fn day(text: &Option<String>, otherwise: NaiveDate) -> Option<NaiveDate> {
    match text {
        Some(text) => text.parse().ok(),
        None => Some(otherwise),
    }
}
