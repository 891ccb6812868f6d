//! Who asks what: the fixed mix of reads, the mix of writes, and how popular each row is.
//!
//! In: a generator of random numbers. Out: questions and changes.
//! It never looks at a clock or a database: the same seed gives the same shop and the same load.

use std::fmt;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Zipf};

use super::shop::{Change, Line, Question};

/// The last month that orders are made in, and the one that new orders get.
pub const THIS_MONTH: i32 = 202612;
/// Months of orders that the shop starts with.
pub const MONTHS: i32 = 36;

pub const CITIES: &[&str] =
    &["Lisbon", "Turin", "Ghent", "Malmo", "Krakow", "Leipzig", "Porto", "Utrecht", "Cork", "Graz", "Brno", "Nantes"];

/// How the reads are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Lookup,
    Join,
    List,
    Aggregate,
    Report,
}

impl Class {
    /// In the order they are shown, with their share of 1000 reads.
    pub const ALL: [(Class, u32); 5] =
        [(Class::Lookup, 700), (Class::Join, 150), (Class::List, 120), (Class::Aggregate, 25), (Class::Report, 5)];

    pub fn label(self) -> &'static str {
        match self {
            Class::Lookup => "lookup",
            Class::Join => "join",
            Class::List => "list",
            Class::Aggregate => "aggregate",
            Class::Report => "report",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl Question {
    pub fn class(self) -> Class {
        match self {
            Question::Customer(_) | Question::Product(_) | Question::Stock(_) => Class::Lookup,
            Question::Order(_) => Class::Join,
            Question::Reviews(_) | Question::Related(_) => Class::List,
            Question::BestSellers(_) => Class::Aggregate,
            Question::Revenue => Class::Report,
        }
    }
}

/// How many rows the shop starts with.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub customers: i32,
    pub products: i32,
    pub categories: i32,
    pub orders: i32,
    pub reviews: i32,
}

impl Size {
    /// Divides about `rows` rows among the tables: half of them lines of orders.
    pub fn of(rows: u32) -> Self {
        let share = |per_mille: u64, least: u64| {
            i32::try_from((u64::from(rows) * per_mille / 1000).max(least)).expect("at most a tenth of 2^31 rows")
        };
        let products = share(25, 40);
        Self {
            customers: share(100, 20),
            products,
            categories: (products / 200).clamp(4, 24),
            orders: share(200, 50),
            reviews: share(150, 20),
        }
    }
}

/// The exponent of Zipf's law: the best 1 % of the products get about half of the reads.
const SKEW: f64 = 1.1;

/// Numbers 1 to n by popularity, the popular ones spread over all of them: rank 1 is not row 1.
#[derive(Debug, Clone)]
pub struct Popularity {
    n: i64,
    step: i64,
    ranks: Zipf<f64>,
}

impl Popularity {
    pub fn new(n: i32) -> Self {
        let n = i64::from(n);
        // Any step that shares no divisor with n visits every row once; this one leaves no visible pattern.
        let step = (n * 61_803 / 100_000..).find(|step| *step > 0 && gcd(*step, n) == 1).expect("a step coprime to n");
        Self { n, step, ranks: zipf(n, SKEW) }
    }

    pub fn row(&self, rank: i32) -> i32 {
        ((i64::from(rank) - 1) * self.step % self.n) as i32 + 1
    }

    pub fn pick(&self, rng: &mut impl Rng) -> i32 {
        self.row(self.ranks.sample(rng) as i32)
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

pub fn zipf(n: i64, exponent: f64) -> Zipf<f64> {
    Zipf::new(n as f64, exponent).expect("at least one element and a finite exponent")
}

/// Draws questions and changes.
#[derive(Debug, Clone)]
pub struct Mix {
    customers: Popularity,
    products: Popularity,
    categories: Popularity,
    /// By age: the newest order is looked at most.
    orders: Zipf<f64>,
}

impl Mix {
    pub fn new(size: &Size) -> Self {
        Self {
            customers: Popularity::new(size.customers),
            products: Popularity::new(size.products),
            categories: Popularity::new(size.categories),
            orders: zipf(size.orders.into(), SKEW),
        }
    }

    /// A read, by the shares of [`Class::ALL`]. `newest`: the order last made.
    pub fn question(&self, rng: &mut impl Rng, newest: i32) -> Question {
        let mut ticket = rng.random_range(0..1000);
        let class = Class::ALL.iter().find(|(_, share)| {
            let found = ticket < *share;
            ticket = ticket.wrapping_sub(*share);
            found
        });
        self.question_of(class.map_or(Class::Lookup, |(class, _)| *class), rng, newest)
    }

    pub fn question_of(&self, class: Class, rng: &mut impl Rng, newest: i32) -> Question {
        match class {
            Class::Lookup if rng.random_range(0..3) < 2 => Question::Product(self.products.pick(rng)),
            Class::Lookup => Question::Customer(self.customers.pick(rng)),
            Class::Join => Question::Order((newest - self.orders.sample(rng) as i32 + 1).max(1)),
            Class::List if rng.random() => Question::Reviews(self.products.pick(rng)),
            Class::List => Question::Related(self.products.pick(rng)),
            Class::Aggregate => Question::BestSellers(self.categories.pick(rng)),
            Class::Report => Question::Revenue,
        }
    }

    /// A level of stock. Shoppers do not ask for it, but it changes with every order.
    pub fn stock(&self, rng: &mut impl Rng) -> Question {
        Question::Stock(self.products.pick(rng))
    }

    /// A write: of 1000, 250 orders, 546 deliveries of stock, 200 reviews, 2 prices, 2 customers who move. The last two
    /// are rare in a shop, but without them nothing would ever change a product or a customer. `new_id` numbers orders
    /// and reviews.
    pub fn change(&self, rng: &mut impl Rng, mut new_id: impl FnMut(Row) -> i32) -> Change {
        let product = self.products.pick(rng);
        let customer = self.customers.pick(rng);
        let other = match self.products.pick(rng) {
            same if same == product => same % self.products.n as i32 + 1,
            other => other,
        };
        match rng.random_range(0..1000) {
            0..250 => {
                let mut line = |product| Line {
                    product,
                    quantity: rng.random_range(1..=3),
                    price_cents: super::fill::price_cents(product),
                };
                // The lower number first: two orders that lock the same two rows never wait for each other in a circle.
                let lines = [line(product.min(other)), line(product.max(other))];
                Change::Order { id: new_id(Row::Order), customer, month: THIS_MONTH, lines }
            }
            250..796 => Change::Restock { product, quantity: rng.random_range(5..50) },
            796..996 => {
                let (stars, body) = super::fill::opinion(rng);
                Change::Review { id: new_id(Row::Review), product, customer, stars, body }
            }
            996..998 => Change::Price { product, price_cents: rng.random_range(199..20_000) },
            _ => Change::Move { customer, city: CITIES[rng.random_range(0..CITIES.len())] },
        }
    }
}

/// What gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Order,
    Review,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn every_row_has_one_rank() {
        for n in [1, 2, 40, 100, 2500] {
            let popularity = Popularity::new(n);
            let mut rows: Vec<i32> = (1..=n).map(|rank| popularity.row(rank)).collect();
            rows.sort_unstable();
            assert_eq!(rows, (1..=n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_a_thousand_reads_each_class_gets_its_share() {
        let mix = Mix::new(&Size::of(100_000));
        let mut rng = SmallRng::seed_from_u64(1);
        let mut counts = [0_u32; 5];
        for _ in 0..100_000 {
            counts[mix.question(&mut rng, 20_000).class() as usize] += 1;
        }
        for ((class, share), count) in Class::ALL.iter().zip(counts) {
            let expected = share * 100;
            assert!(count.abs_diff(expected) < expected / 5, "{class}: {count}, expected about {expected}");
        }
    }

    #[test]
    fn a_few_products_get_most_of_the_reads() {
        let popularity = Popularity::new(2500);
        let mut rng = SmallRng::seed_from_u64(1);
        let best: Vec<i32> = (1..=25).map(|rank| popularity.row(rank)).collect();
        let hits = (0..10_000).filter(|_| best.contains(&popularity.pick(&mut rng))).count();
        assert!((5_000..6_500).contains(&hits), "the best 1 % got {hits} of 10000");
    }
}
