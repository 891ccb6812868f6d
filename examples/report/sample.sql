CREATE TABLE countries (
    code        TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    currency    TEXT NOT NULL,
    vat_percent INTEGER NOT NULL
);
CREATE TABLE rates (
    currency   TEXT NOT NULL,
    day        TEXT NOT NULL,
    -- Euros for a million of it.
    millionths INTEGER NOT NULL,
    PRIMARY KEY (currency, day)
);
CREATE TABLE customers (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    country TEXT NOT NULL REFERENCES countries (code)
);
CREATE TABLE products (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    category TEXT NOT NULL
);
CREATE TABLE orders (
    id          INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    ordered_on  TEXT NOT NULL,
    cancelled   BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX orders_by_day ON orders (ordered_on);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE TABLE order_items (
    order_id    INTEGER NOT NULL REFERENCES orders (id),
    product_id  INTEGER NOT NULL REFERENCES products (id),
    quantity    INTEGER NOT NULL,
    -- In the currency of the customer's country.
    price_cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
CREATE TABLE month_sums (
    month         TEXT NOT NULL,
    country       TEXT NOT NULL REFERENCES countries (code),
    orders        INTEGER NOT NULL,
    revenue_cents INTEGER NOT NULL,
    vat_cents     INTEGER NOT NULL,
    PRIMARY KEY (month, country)
);

INSERT INTO countries VALUES
    ('AT', 'Austria', 'EUR', 20), ('CH', 'Switzerland', 'CHF', 8), ('DE', 'Germany', 'EUR', 19),
    ('GB', 'United Kingdom', 'GBP', 20), ('SE', 'Sweden', 'SEK', 25);
-- Twice a week: the days between go by the rate before.
WITH RECURSIVE steps (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM steps WHERE n < 30)
INSERT INTO rates
SELECT currency, date('2025-12-30', '+' || (3 * n) || ' days'), base + (n * 7919 % 41 - 20) * base / 1000
FROM steps, (SELECT 'CHF' AS currency, 1063000 AS base UNION ALL SELECT 'GBP', 1154000 UNION ALL SELECT 'SEK', 89000);
WITH RECURSIVE steps (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 60)
INSERT INTO customers
SELECT n, CASE n % 7 WHEN 3 THEN 'Tea, Leaf & Co. ' ELSE 'Customer ' END || n,
       CASE n % 5 WHEN 0 THEN 'AT' WHEN 1 THEN 'CH' WHEN 2 THEN 'DE' WHEN 3 THEN 'GB' ELSE 'SE' END
FROM steps;
WITH RECURSIVE steps (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 40)
INSERT INTO products
SELECT n, 'Product ' || n, CASE n % 4 WHEN 0 THEN 'tea' WHEN 1 THEN 'coffee' WHEN 2 THEN 'pots' ELSE 'cups' END FROM steps;
WITH RECURSIVE steps (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 900)
INSERT INTO orders
SELECT n, n * 7919 % 60 + 1, date('2026-01-01', '+' || ((n - 1) / 10) || ' days'), n % 50 = 0 FROM steps;
-- One to four lines each.
WITH RECURSIVE steps (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM steps WHERE n < 3)
INSERT INTO order_items
SELECT o.id, (o.id * 31 + n * 11) % 40 + 1, (o.id + n) % 3 + 1, (o.id * 104729 + n * 7919) % 9000 + 100
FROM orders o, steps WHERE n <= o.id % 4;
