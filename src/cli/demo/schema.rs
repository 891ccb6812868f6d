//! The shop's tables, its rows as an application would hold them, and every statement it runs.
//!
//! In: nothing. Out: SQL that means the same to Postgres, MySQL and SQLite, and the structs its rows decode into.
//! It holds nothing that would need one of them: no views, no triggers, no cascades, no functions of the clock; money is
//! in cents and a month is a number (`202403`), so that no sum is rounded and no date is cast.

use sqlx::FromRow;

/// Creates the tables, empty.
pub const TABLES: &str = "
    CREATE TABLE customers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE products (
        id INTEGER PRIMARY KEY, category INTEGER NOT NULL, popularity INTEGER NOT NULL, name TEXT NOT NULL,
        description TEXT NOT NULL, price_cents INTEGER NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE stock (
        product_id INTEGER PRIMARY KEY REFERENCES products (id), quantity INTEGER NOT NULL, version INTEGER NOT NULL
    );
    CREATE TABLE orders (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), month INTEGER NOT NULL,
        total_cents INTEGER NOT NULL
    );
    CREATE TABLE order_lines (
        order_id INTEGER NOT NULL REFERENCES orders (id), line INTEGER NOT NULL,
        product_id INTEGER NOT NULL REFERENCES products (id), quantity INTEGER NOT NULL, price_cents INTEGER NOT NULL,
        PRIMARY KEY (order_id, line)
    );
    CREATE TABLE reviews (
        id INTEGER PRIMARY KEY, product_id INTEGER NOT NULL REFERENCES products (id),
        customer_id INTEGER NOT NULL REFERENCES customers (id), stars INTEGER NOT NULL, body TEXT NOT NULL
    );
    CREATE INDEX products_by_category ON products (category, popularity);
    CREATE INDEX order_lines_by_product ON order_lines (product_id, quantity);
    CREATE INDEX reviews_by_product ON reviews (product_id, id);
";

pub const CUSTOMER: &str = "SELECT id, name, email, city, version FROM customers WHERE id = $1";
pub const PRODUCT: &str = "SELECT id, category, name, description, price_cents, version FROM products WHERE id = $1";
pub const STOCK: &str = "SELECT product_id, quantity, version FROM stock WHERE product_id = $1";
pub const ORDER: &str = "
    SELECT o.id, o.customer_id, o.total_cents, l.line, l.quantity, l.price_cents, p.id AS product_id, p.name
    FROM orders o
    JOIN order_lines l ON l.order_id = o.id
    JOIN products p ON p.id = l.product_id
    WHERE o.id = $1
    ORDER BY l.line";
pub const REVIEWS: &str =
    "SELECT id, customer_id, stars, body FROM reviews WHERE product_id = $1 ORDER BY id DESC LIMIT 20";
pub const RELATED: &str = "
    SELECT r.id, r.name, r.price_cents
    FROM products p
    JOIN products r ON r.category = p.category AND r.id <> p.id
    WHERE p.id = $1
    ORDER BY r.popularity
    LIMIT 12";
pub const BEST_SELLERS: &str = "
    SELECT p.id, p.name, SUM(l.quantity) AS sold
    FROM products p
    JOIN order_lines l ON l.product_id = p.id
    WHERE p.category = $1
    GROUP BY p.id, p.name
    ORDER BY sold DESC, p.id
    LIMIT 10";
pub const REVENUE: &str = "
    SELECT month, COUNT(*) AS orders, SUM(total_cents) AS cents
    FROM orders
    GROUP BY month
    ORDER BY month";

pub const ADD_ORDER: &str = "INSERT INTO orders (id, customer_id, month, total_cents) VALUES ($1, $2, $3, $4)";
pub const ADD_LINES: &str = "
    INSERT INTO order_lines (order_id, line, product_id, quantity, price_cents)
    VALUES ($1, 1, $2, $3, $4), ($5, 2, $6, $7, $8)";
pub const TAKE_STOCK: &str = "UPDATE stock SET quantity = quantity - $1, version = version + 1 WHERE product_id = $2";
pub const RESTOCK: &str = "UPDATE stock SET quantity = quantity + $1, version = version + 1 WHERE product_id = $2";
pub const ADD_REVIEW: &str =
    "INSERT INTO reviews (id, product_id, customer_id, stars, body) VALUES ($1, $2, $3, $4, $5)";
pub const SET_PRICE: &str = "UPDATE products SET price_cents = $1, version = version + 1 WHERE id = $2";
pub const SET_CITY: &str = "UPDATE customers SET city = $1, version = version + 1 WHERE id = $2";

/// The same statements for MySQL, whose parameters have no numbers, and whose sums are decimal.
pub mod mysql {
    macro_rules! unnumbered {
        ($($name:ident)+) => {$(
            pub const $name: &str = {
                const BYTES: [u8; super::$name.len()] = unnumber(super::$name.as_bytes());
                match std::str::from_utf8(&BYTES) {
                    Ok(text) => text,
                    Err(_) => panic!("a parameter is written in ASCII"),
                }
            };
        )+};
    }

    unnumbered! {
        CUSTOMER PRODUCT STOCK ORDER REVIEWS RELATED ADD_ORDER ADD_LINES TAKE_STOCK RESTOCK ADD_REVIEW SET_PRICE SET_CITY
    }

    pub const BEST_SELLERS: &str = "
    SELECT p.id, p.name, CAST(SUM(l.quantity) AS SIGNED) AS sold
    FROM products p
    JOIN order_lines l ON l.product_id = p.id
    WHERE p.category = ?
    GROUP BY p.id, p.name
    ORDER BY sold DESC, p.id
    LIMIT 10";
    pub const REVENUE: &str = "
    SELECT month, COUNT(*) AS orders, CAST(SUM(total_cents) AS SIGNED) AS cents
    FROM orders
    GROUP BY month
    ORDER BY month";

    /// Writes `? ` for each `$1`. The numbers must count from one, in order.
    const fn unnumber<const N: usize>(text: &[u8]) -> [u8; N] {
        let mut out = [b' '; N];
        let (mut at, mut count) = (0, b'0');
        while at < N {
            if text[at] == b'$' {
                count += 1;
                assert!(text[at + 1] == count, "the parameters count from one, in order");
                out[at] = b'?';
                at += 2;
            } else {
                out[at] = text[at];
                at += 1;
            }
        }
        out
    }
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Customer {
    pub id: i32,
    pub name: String,
    pub email: String,
    pub city: String,
    /// Counts the writes to this row.
    pub version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Product {
    pub id: i32,
    pub category: i32,
    pub name: String,
    pub description: String,
    pub price_cents: i32,
    /// Counts the writes to this row.
    pub version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Stock {
    pub product_id: i32,
    pub quantity: i32,
    /// Counts the writes to this row.
    pub version: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OrderLine {
    pub id: i32,
    pub customer_id: i32,
    pub total_cents: i32,
    pub line: i32,
    pub quantity: i32,
    pub price_cents: i32,
    pub product_id: i32,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Review {
    pub id: i32,
    pub customer_id: i32,
    pub stars: i32,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Related {
    pub id: i32,
    pub name: String,
    pub price_cents: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct BestSeller {
    pub id: i32,
    pub name: String,
    pub sold: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Revenue {
    pub month: i32,
    pub orders: i64,
    pub cents: i64,
}
