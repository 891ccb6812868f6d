//! What was sold in a month. It goes from order to order and looks up what belongs to it, one small query after another.

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::Failure;
use crate::database::SqlitePool;
use crate::month::Month;

/// All money is in cents of a euro.
#[derive(Debug)]
pub struct Sales {
    pub month: Month,
    pub countries: Vec<CountrySales>,
    pub categories: Vec<CategorySales>,
    pub customers: Vec<CustomerSales>,
    pub days: Vec<DaySales>,
}

#[derive(Debug)]
pub struct CountrySales {
    pub code: String,
    pub name: String,
    pub orders: i64,
    pub revenue: i64,
    pub vat: i64,
    /// Revenue of the month before.
    pub before: i64,
}

#[derive(Debug)]
pub struct CategorySales {
    pub name: String,
    pub units: i64,
    pub revenue: i64,
}

#[derive(Debug)]
pub struct CustomerSales {
    pub name: String,
    pub country: String,
    pub revenue: i64,
    /// Orders of all times.
    pub orders: i64,
    pub since: String,
}

#[derive(Debug)]
pub struct DaySales {
    pub day: String,
    pub orders: i64,
    pub revenue: i64,
}

#[derive(FromRow)]
struct Order {
    id: i64,
    customer_id: i64,
    ordered_on: String,
}

#[derive(FromRow)]
struct Line {
    product_id: i64,
    quantity: i64,
    price_cents: i64,
}

#[derive(FromRow)]
struct Customer {
    name: String,
    country: String,
}

#[derive(FromRow)]
struct Country {
    name: String,
    currency: String,
    vat_percent: i64,
}

/// Customers that are named.
const BEST: usize = 10;

/// The month of the latest order.
pub async fn latest_month(pool: &SqlitePool) -> Result<Option<Month>, sqlx::Error> {
    let latest: Option<String> = sqlx::query_scalar("SELECT max(ordered_on) FROM orders").fetch_one(pool).await?;
    Ok(latest.and_then(|day| Month::of(&day)))
}

/// Goes through the orders of a month. `progress` is told how many are done, of how many.
pub async fn of(
    pool: &SqlitePool,
    month: Month,
    progress: &mut (dyn FnMut(usize, usize) + Send),
) -> Result<Sales, Failure> {
    let mut countries = BTreeMap::new();
    let codes: Vec<String> = sqlx::query_scalar("SELECT code FROM countries").fetch_all(pool).await?;
    for code in codes {
        let name = country(pool, &code).await?.name;
        countries.insert(code.clone(), CountrySales { code, name, orders: 0, revenue: 0, vat: 0, before: 0 });
    }
    let (mut categories, mut customers, mut days) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());

    let (orders, before) = (orders(pool, month).await?, orders(pool, month.previous()).await?);
    let all = orders.len() + before.len();
    for (done, order) in orders.iter().enumerate() {
        progress(done, all);
        let customer = customer(pool, order.customer_id).await?;
        let country = country(pool, &customer.country).await?;
        let mut revenue = 0;
        for line in lines(pool, order.id).await? {
            let paid = in_euros(pool, &country.currency, &order.ordered_on, line.quantity * line.price_cents).await?;
            let name = category(pool, line.product_id).await?;
            let sales = categories.entry(name.clone()).or_insert(CategorySales { name, units: 0, revenue: 0 });
            sales.units += line.quantity;
            sales.revenue += paid;
            revenue += paid;
        }
        if let Some(sales) = countries.get_mut(&customer.country) {
            sales.orders += 1;
            sales.revenue += revenue;
            sales.vat += revenue * country.vat_percent / (100 + country.vat_percent);
        }
        *customers.entry(order.customer_id).or_insert(0) += revenue;
        let day = order.ordered_on.clone();
        let sales = days.entry(day.clone()).or_insert(DaySales { day, orders: 0, revenue: 0 });
        sales.orders += 1;
        sales.revenue += revenue;
    }
    for (done, order) in before.iter().enumerate() {
        progress(orders.len() + done, all);
        let customer = customer(pool, order.customer_id).await?;
        let currency = country(pool, &customer.country).await?.currency;
        for line in lines(pool, order.id).await? {
            let paid = in_euros(pool, &currency, &order.ordered_on, line.quantity * line.price_cents).await?;
            countries.entry(customer.country.clone()).and_modify(|sales| sales.before += paid);
        }
    }
    progress(all, all);

    let mut best: Vec<(i64, i64)> = customers.into_iter().collect();
    best.sort_by_key(|(id, revenue)| (-revenue, *id));
    let mut customers = Vec::new();
    for (id, revenue) in best.into_iter().take(BEST) {
        let Customer { name, country } = customer(pool, id).await?;
        let history = sqlx::query_as("SELECT count(*), min(ordered_on) FROM orders WHERE customer_id = $1");
        let (orders, since) = history.bind(id).fetch_one(pool).await?;
        customers.push(CustomerSales { name, country, revenue, orders, since });
    }
    Ok(Sales {
        month,
        countries: countries.into_values().collect(),
        categories: categories.into_values().collect(),
        customers,
        days: days.into_values().collect(),
    })
}

/// Puts the sums of the month into the database, in place of those of an earlier report.
pub async fn keep(pool: &SqlitePool, sales: &Sales) -> Result<(), sqlx::Error> {
    let month = sales.month.to_string();
    let mut tx = pool.begin().await?;
    sqlx::query("DELETE FROM month_sums WHERE month = $1").bind(&month).execute(&mut *tx).await?;
    for country in &sales.countries {
        sqlx::query(
            "INSERT INTO month_sums (month, country, orders, revenue_cents, vat_cents) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&month)
        .bind(&country.code)
        .bind(country.orders)
        .bind(country.revenue)
        .bind(country.vat)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await
}

async fn orders(pool: &SqlitePool, month: Month) -> Result<Vec<Order>, sqlx::Error> {
    sqlx::query_as(
        "SELECT id, customer_id, ordered_on FROM orders
         WHERE ordered_on >= $1 AND ordered_on < $2 AND NOT cancelled ORDER BY id",
    )
    .bind(month.first_day())
    .bind(month.next().first_day())
    .fetch_all(pool)
    .await
}

async fn lines(pool: &SqlitePool, order: i64) -> Result<Vec<Line>, sqlx::Error> {
    sqlx::query_as("SELECT product_id, quantity, price_cents FROM order_items WHERE order_id = $1 ORDER BY product_id")
        .bind(order)
        .fetch_all(pool)
        .await
}

async fn customer(pool: &SqlitePool, id: i64) -> Result<Customer, sqlx::Error> {
    sqlx::query_as("SELECT name, country FROM customers WHERE id = $1").bind(id).fetch_one(pool).await
}

async fn country(pool: &SqlitePool, code: &str) -> Result<Country, sqlx::Error> {
    sqlx::query_as("SELECT name, currency, vat_percent FROM countries WHERE code = $1").bind(code).fetch_one(pool).await
}

async fn category(pool: &SqlitePool, product: i64) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT category FROM products WHERE id = $1").bind(product).fetch_one(pool).await
}

/// Changes money at the latest rate there was on that day, rounded to the nearest cent.
async fn in_euros(pool: &SqlitePool, currency: &str, day: &str, cents: i64) -> Result<i64, Failure> {
    if currency == "EUR" {
        return Ok(cents);
    }
    let rate: Option<i64> =
        sqlx::query_scalar("SELECT millionths FROM rates WHERE currency = $1 AND day <= $2 ORDER BY day DESC LIMIT 1")
            .bind(currency)
            .bind(day)
            .fetch_optional(pool)
            .await?;
    let rate = rate.ok_or_else(|| Failure::Rate { currency: currency.to_owned(), day: day.to_owned() })?;
    Ok((cents * rate + 500_000) / 1_000_000)
}
