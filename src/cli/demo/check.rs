//! Compares what the pool under test answers with what must be, while others write.
//!
//! In: answers. Out: how many were compared, how many differ, and which.
//! It never calls a difference that a write in flight explains, and so never needs to excuse one. Two ways are sound:
//!
//! - **Floors.** Each row counts its writes, and so do the writers here, after a write has returned. A read that began
//!   later must see at least that count; an order that was confirmed must be found, with all its lines. This holds for
//!   every reader at every moment, so every lookup and every order is compared.
//! - **Pauses.** With the writers held back, the answer must equal the database's own, row by row.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use super::mix::{Row, Size};
use super::shop::{Answer, Change, Question, Shop};

/// Differences that are kept to be shown.
const EXAMPLES: usize = 5;

/// What was compared so far.
#[derive(Debug, Default)]
pub struct Comparison {
    checked: AtomicU64,
    mismatches: AtomicU64,
    examples: Mutex<Vec<String>>,
}

impl Comparison {
    pub fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    pub fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// The first differences, as sentences.
    pub fn examples(&self) -> Vec<String> {
        self.examples.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn count(&self, mismatch: Option<String>) {
        self.checked.fetch_add(1, Ordering::Relaxed);
        if let Some(text) = mismatch {
            self.mismatches.fetch_add(1, Ordering::Relaxed);
            let mut examples = self.examples.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if examples.len() < EXAMPLES {
                examples.push(text);
            }
        }
    }

    /// Counts an answer against what was confirmed before it was asked for.
    pub fn against_floor(&self, question: Question, floor: Floor, answer: &Answer) {
        if let Some(holds) = floor.holds(answer) {
            self.count(
                (!holds).then(|| format!("{question:?}: older than a write that had returned before ({floor:?})")),
            );
        }
    }

    /// Asks both and compares row by row. Nobody may write meanwhile.
    pub async fn against_database(
        &self,
        question: Question,
        shop: &impl Shop,
        database: &impl Shop,
    ) -> sqlx::Result<()> {
        let answer = shop.ask(question).await?;
        let truth = database.ask(question).await?;
        self.count((answer != truth).then(|| format!("{question:?}: not what the database says")));
        Ok(())
    }
}

/// What writers know to be committed. Grows only.
#[derive(Debug)]
pub struct Floors {
    customers: Vec<AtomicI32>,
    products: Vec<AtomicI32>,
    stock: Vec<AtomicI32>,
    /// By number of the order, from the first that was not there at the start: its lines.
    orders: Vec<AtomicI32>,
    orders_at_start: i32,
    newest_order: AtomicI32,
    last_order: AtomicI32,
    last_review: AtomicI32,
}

impl Floors {
    /// `writes`: the most there will be.
    pub fn new(size: &Size, writes: usize) -> Self {
        let zeros = |count: usize| (0..=count).map(|_| AtomicI32::new(0)).collect::<Vec<_>>();
        Self {
            customers: zeros(size.customers as usize),
            products: zeros(size.products as usize),
            stock: zeros(size.products as usize),
            orders: zeros(writes),
            orders_at_start: size.orders,
            newest_order: AtomicI32::new(size.orders),
            last_order: AtomicI32::new(size.orders),
            last_review: AtomicI32::new(size.reviews),
        }
    }

    /// The order with the highest number that is known to be committed.
    pub fn newest_order(&self) -> i32 {
        self.newest_order.load(Ordering::Acquire)
    }

    /// A number nobody else uses.
    pub fn new_id(&self, row: Row) -> i32 {
        let last = if row == Row::Order { &self.last_order } else { &self.last_review };
        last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes a change that has returned.
    pub fn confirm(&self, change: &Change) {
        let add = |floors: &[AtomicI32], row: i32, count: i32| {
            floors[row as usize].fetch_add(count, Ordering::Release);
        };
        match change {
            Change::Order { id, lines, .. } => {
                add(&self.orders, id - self.orders_at_start, lines.len() as i32);
                lines.iter().for_each(|line| add(&self.stock, line.product, 1));
                self.newest_order.fetch_max(*id, Ordering::Release);
            }
            Change::Restock { product, .. } => add(&self.stock, *product, 1),
            Change::Price { product, .. } => add(&self.products, *product, 1),
            Change::Move { customer, .. } => add(&self.customers, *customer, 1),
            Change::Review { .. } => {}
        }
    }

    /// To be taken before the question is asked.
    pub fn floor(&self, question: Question) -> Floor {
        let version = |floors: &[AtomicI32], row: i32| Floor::Version(floors[row as usize].load(Ordering::Acquire));
        match question {
            Question::Customer(id) => version(&self.customers, id),
            Question::Product(id) => version(&self.products, id),
            Question::Stock(id) => version(&self.stock, id),
            Question::Order(id) if id <= self.orders_at_start => Floor::Lines(1),
            Question::Order(id) => {
                Floor::Lines(self.orders[(id - self.orders_at_start) as usize].load(Ordering::Acquire))
            }
            _ => Floor::None,
        }
    }
}

/// The least that an answer must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The row, written this often.
    Version(i32),
    /// An order of so many lines; none: it may still be on its way.
    Lines(i32),
    /// Nothing can be said.
    None,
}

impl Floor {
    /// `None` if there was nothing to compare with.
    fn holds(self, answer: &Answer) -> Option<bool> {
        match (self, answer) {
            (Floor::Version(least), Answer::Customer(row)) => {
                Some(row.as_ref().is_some_and(|row| row.version >= least))
            }
            (Floor::Version(least), Answer::Product(row)) => Some(row.as_ref().is_some_and(|row| row.version >= least)),
            (Floor::Version(least), Answer::Stock(row)) => Some(row.as_ref().is_some_and(|row| row.version >= least)),
            (Floor::Lines(least), Answer::Order(lines)) => Some(lines.len() >= least as usize),
            _ => None,
        }
    }
}

/// The comparison must be able to fail: a pool that keeps every answer for ever, as a cache without invalidation would.
#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::cli::demo::fill::batches;
    use crate::cli::demo::ground::{Ground, SqliteGround};
    use crate::cli::demo::run::{Load, run};
    use crate::cli::demo::shop::Line;

    #[derive(Clone)]
    struct Forever<S> {
        shop: S,
        kept: Arc<Mutex<HashMap<Question, Answer>>>,
    }

    impl<S: Shop> Forever<S> {
        fn over(shop: S) -> Self {
            Self { shop, kept: Arc::default() }
        }
    }

    impl<S: Shop> Shop for Forever<S> {
        async fn ask(&self, question: Question) -> sqlx::Result<Answer> {
            if let Some(answer) = self.kept.lock().unwrap().get(&question) {
                return Ok(answer.clone());
            }
            let answer = self.shop.ask(question).await?;
            self.kept.lock().unwrap().insert(question, answer.clone());
            Ok(answer)
        }

        async fn change(&self, change: &Change) -> sqlx::Result<()> {
            self.shop.change(change).await
        }

        async fn close(&self) {
            self.shop.close().await;
        }
    }

    const ROWS: u32 = 1_000;

    async fn small_shop() -> (SqliteGround, sqlx::SqlitePool) {
        let ground = SqliteGround::new().unwrap();
        ground.clear().await.unwrap();
        let pool = ground.straight(4).await.unwrap();
        for batch in batches(Size::of(ROWS), 1) {
            ground.run(&pool, batch.sql).await.unwrap();
        }
        (ground, pool)
    }

    fn an_order(floors: &Floors) -> Change {
        let line = |product| Line { product, quantity: 1, price_cents: 1_000 };
        Change::Order { id: floors.new_id(Row::Order), customer: 1, month: 202612, lines: [line(1), line(2)] }
    }

    /// Counts the comparison of a stock level and of an order, by their floors, after an order was confirmed.
    async fn by_floors(shop: &impl Shop) -> Comparison {
        let comparison = Comparison::default();
        let floors = Floors::new(&Size::of(ROWS), 10);
        let change = an_order(&floors);
        let Change::Order { id, .. } = change else { unreachable!() };
        for round in 0..2 {
            for question in [Question::Stock(1), Question::Order(id), Question::Revenue] {
                let floor = floors.floor(question);
                let answer = shop.ask(question).await.unwrap();
                comparison.against_floor(question, floor, &answer);
            }
            if round == 0 {
                shop.change(&change).await.unwrap();
                floors.confirm(&change);
            }
        }
        comparison
    }

    #[tokio::test]
    async fn an_answer_older_than_a_confirmed_write_is_found() {
        let (_ground, pool) = small_shop().await;
        let sound = by_floors(&pool).await;
        assert_eq!((sound.checked(), sound.mismatches()), (4, 0));

        let (_ground, pool) = small_shop().await;
        let stale = by_floors(&Forever::over(pool)).await;
        assert_eq!((stale.checked(), stale.mismatches()), (4, 2));
        assert!(stale.examples()[0].contains("Stock(1)") && stale.examples()[1].contains("Order("));
    }

    #[tokio::test]
    async fn an_answer_that_differs_from_the_database_is_found() {
        let (_ground, pool) = small_shop().await;
        let forever = Forever::over(pool.clone());
        let floors = Floors::new(&Size::of(ROWS), 10);
        let questions = [Question::Stock(1), Question::Revenue, Question::BestSellers(1), Question::Customer(1)];
        let comparison = Comparison::default();
        for question in questions {
            comparison.against_database(question, &forever, &pool).await.unwrap();
        }
        assert_eq!((comparison.checked(), comparison.mismatches()), (4, 0));
        pool.change(&an_order(&floors)).await.unwrap();
        for question in questions {
            comparison.against_database(question, &forever, &pool).await.unwrap();
        }
        // The customer is the one that the order did not change; the best sellers of a category may or may not.
        assert_eq!(comparison.checked(), 8);
        assert!((2..=3).contains(&comparison.mismatches()), "{:?}", comparison.examples());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_whole_run_finds_them_and_calls_no_sound_answer_wrong() {
        let load = Load {
            size: Size::of(ROWS),
            readers: 4,
            writes_per_second: 200,
            warm_up: Duration::from_millis(100),
            duration: Duration::from_secs(1),
            seed: 1,
        };
        let (_ground, pool) = small_shop().await;
        let comparison = Arc::new(Comparison::default());
        run(pool.clone(), Some(pool), &load, comparison.clone()).await.unwrap();
        assert!(comparison.checked() > 100);
        assert_eq!(comparison.mismatches(), 0, "{:?}", comparison.examples());

        let (_ground, pool) = small_shop().await;
        let comparison = Arc::new(Comparison::default());
        run(Forever::over(pool.clone()), Some(pool), &load, comparison.clone()).await.unwrap();
        assert!(comparison.mismatches() > 10, "{} of {}", comparison.mismatches(), comparison.checked());
    }
}
