//! The rows the shop starts with, skewed as real shops are: a few products, customers and categories have most of it.
//!
//! In: a size and a seed. Out: INSERT statements, a few hundred rows each, made when they are asked for.
//! The values stand in the text: all of them are numbers and words from the lists below, which hold no quote.

use std::fmt::Write;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::Distribution;

use super::mix::{CITIES, MONTHS, Popularity, Size, THIS_MONTH, zipf};

/// Rows made at a time. SQLite parses the text of one statement much slower when it is much longer.
const CHUNK: i32 = 250;

const FIRST_NAMES: &[&str] = &[
    "Ada", "Bruno", "Clara", "Dario", "Edith", "Felix", "Greta", "Hugo", "Iris", "Jonas", "Lena", "Marco", "Nora",
    "Olaf",
];
const LAST_NAMES: &[&str] = &[
    "Almeida", "Berg", "Costa", "Dvorak", "Eriksen", "Fischer", "Garnier", "Hansen", "Ivanova", "Jansen", "Kovacs",
    "Lind",
];
const MATERIALS: &[&str] =
    &["Oak", "Linen", "Copper", "Cotton", "Slate", "Walnut", "Enamel", "Glass", "Cork", "Wool", "Steel", "Clay"];
const THINGS: &[&str] = &[
    "bowl", "lamp", "chair", "kettle", "shelf", "basket", "blanket", "mug", "clock", "tray", "stool", "vase", "board",
];
const OPINIONS: &[&str] = &[
    "Arrived a day late and looks better than in the picture",
    "Solid and well made and worth the wait",
    "The colour is not quite what I expected",
    "Bought a second one for my sister",
    "Does what it should and nothing more",
    "Broke after a month and was replaced without a word",
    "A little smaller than I thought but lovely",
];

/// One statement text, and how many rows it adds.
#[derive(Debug)]
pub struct Batch {
    pub sql: String,
    pub rows: u32,
}

/// Every row, in an order that foreign keys allow.
pub fn batches(size: Size, seed: u64) -> impl Iterator<Item = Batch> {
    type AddRow = fn(&mut Writer, i32);
    let tables: [(i32, AddRow); 4] = [
        (size.customers, Writer::customer),
        (size.products, Writer::product),
        (size.orders, Writer::order),
        (size.reviews, Writer::review),
    ];
    let mut writer = Writer::new(size);
    (0_u64..)
        .zip(tables)
        .flat_map(|(table, (rows, add))| {
            (1..=rows).step_by(CHUNK as usize).map(move |first| (table, first, rows.min(first + CHUNK - 1), add))
        })
        .map(move |(table, first, last, add)| {
            // Each batch has a seed of its own, so that it is the same whatever was made before it.
            writer.rng =
                SmallRng::seed_from_u64(seed ^ (table << 32 | first as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            for number in first..=last {
                add(&mut writer, number);
            }
            writer.take()
        })
}

/// What a product costs at first.
pub fn price_cents(product: i32) -> i32 {
    199 + product.wrapping_mul(7919).rem_euclid(20_000)
}

/// Stars and text of a review; most are kind.
pub fn opinion(rng: &mut impl Rng) -> (i32, String) {
    let stars = 5 - zipf(5, 1.2).sample(rng) as i32 + 1;
    let text = pick(rng, OPINIONS);
    (stars, if rng.random() { text.to_owned() } else { format!("{text}. {}", pick(rng, OPINIONS)) })
}

fn pick(rng: &mut impl Rng, words: &[&'static str]) -> &'static str {
    words[rng.random_range(0..words.len())]
}

/// A statement for each table that the current batch has rows for, as text.
struct Writer {
    rng: SmallRng,
    customers: Popularity,
    products: Popularity,
    categories: Popularity,
    orders: i32,
    /// Table with columns, and its rows so far.
    texts: Vec<(&'static str, String)>,
    rows: u32,
}

impl Writer {
    fn new(size: Size) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(0),
            customers: Popularity::new(size.customers),
            products: Popularity::new(size.products),
            categories: Popularity::new(size.categories),
            orders: size.orders,
            texts: Vec::new(),
            rows: 0,
        }
    }

    fn take(&mut self) -> Batch {
        let mut sql = String::new();
        for (table, rows) in self.texts.drain(..) {
            let _ = writeln!(sql, "INSERT INTO {table} VALUES\n{rows};");
        }
        Batch { sql, rows: std::mem::take(&mut self.rows) }
    }

    fn row(&mut self, table: &'static str, values: std::fmt::Arguments<'_>) {
        self.rows += 1;
        let at = self.texts.iter().position(|(known, _)| *known == table).unwrap_or_else(|| {
            self.texts.push((table, String::new()));
            self.texts.len() - 1
        });
        let text = &mut self.texts[at].1;
        let _ = write!(text, "{}({values})", if text.is_empty() { "" } else { ",\n" });
    }

    fn customer(&mut self, id: i32) {
        let (first, last) = (pick(&mut self.rng, FIRST_NAMES), pick(&mut self.rng, LAST_NAMES));
        let email = format!("{first}.{last}.{id}@example.com").to_lowercase();
        let city = pick(&mut self.rng, CITIES);
        self.row(
            "customers (id, name, email, city, version)",
            format_args!("{id}, '{first} {last}', '{email}', '{city}', 0"),
        );
    }

    /// `rank`: the popularity.
    fn product(&mut self, rank: i32) {
        let id = self.products.row(rank);
        let category = self.categories.pick(&mut self.rng);
        let (material, thing) = (pick(&mut self.rng, MATERIALS), pick(&mut self.rng, THINGS));
        let (other, price) = (pick(&mut self.rng, MATERIALS).to_lowercase(), price_cents(id));
        let quantity = self.rng.random_range(100..1_000);
        self.row(
            "products (id, category, popularity, name, description, price_cents, version)",
            format_args!(
                "{id}, {category}, {rank}, '{material} {thing} {id}', \
                 'A {thing} of {other}, made to order in a small workshop and sent within a week.', {price}, 0"
            ),
        );
        self.row("stock (product_id, quantity, version)", format_args!("{id}, {quantity}, 0"));
    }

    fn order(&mut self, id: i32) {
        let customer = self.customers.pick(&mut self.rng);
        // The shop grows: each month has more orders than the one before.
        let age = (f64::from(MONTHS) * (1.0 - (f64::from(id) / f64::from(self.orders)).sqrt())) as i32;
        let months = THIS_MONTH / 100 * 12 + THIS_MONTH % 100 - 1 - age;
        let month = months / 12 * 100 + months % 12 + 1;
        let mut total = 0;
        // 2.5 lines on average.
        let lines: Vec<[i32; 3]> = (0..self.rng.random_range(1..=4))
            .map(|_| {
                let product = self.products.pick(&mut self.rng);
                let line = [product, self.rng.random_range(1..=3), price_cents(product)];
                total += line[1] * line[2];
                line
            })
            .collect();
        self.row("orders (id, customer_id, month, total_cents)", format_args!("{id}, {customer}, {month}, {total}"));
        for (line, [product, quantity, price]) in (1..).zip(lines) {
            self.row(
                "order_lines (order_id, line, product_id, quantity, price_cents)",
                format_args!("{id}, {line}, {product}, {quantity}, {price}"),
            );
        }
    }

    fn review(&mut self, id: i32) {
        let (product, customer) = (self.products.pick(&mut self.rng), self.customers.pick(&mut self.rng));
        let (stars, body) = opinion(&mut self.rng);
        self.row(
            "reviews (id, product_id, customer_id, stars, body)",
            format_args!("{id}, {product}, {customer}, {stars}, '{body}'"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_shop_of_about_the_size_asked_for() {
        let text = |seed| batches(Size::of(10_000), seed).map(|batch| batch.sql).collect::<String>();
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        let rows: u32 = batches(Size::of(10_000), 1).map(|batch| batch.rows).sum();
        assert!((9_500..10_500).contains(&rows), "{rows}");
    }

    #[test]
    fn orders_spread_over_three_growing_years() {
        let sql: String = batches(Size::of(50_000), 1).map(|batch| batch.sql).collect();
        let count = |month: &str| sql.matches(&format!(", {month}, ")).count();
        assert!(count("202401") > 0 && count("202401") < count("202506") && count("202506") < count("202611"));
        assert_eq!(count("202312") + count("202400") + count("202613"), 0);
    }
}
